//! The article's head and its training written out by hand: what PyTorch computes, without PyTorch.
//!
//! The black-box test of the recipe needs losses of the same features from something that shares no code with the
//! program: Linear - ReLU - dropout - Linear with PyTorch's default initialisation, cross-entropy, AdamW with its default
//! betas and a weight decay of 0.01. Losses depend on the seed a little, so they are compared with a tolerance.

/// Training settings.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub hidden: usize,
    pub dropout: f32,
    pub learning_rate: f32,
    pub batch: usize,
    pub epochs: usize,
    pub seed: u64,
}

/// Vectors with their class.
pub(crate) type Examples<'a> = [(&'a [f32], usize)];

/// Mean train loss (dropout on, as PyTorch loops report it) and validation loss of each epoch.
pub(crate) fn losses(
    train: &Examples<'_>,
    validation: &Examples<'_>,
    classes: usize,
    settings: Settings,
) -> Vec<(f64, f64)> {
    let mut random = Random(settings.seed);
    let mut net = Perceptron::new(train[0].0.len(), settings.hidden, classes, &mut random);
    let mut order: Vec<usize> = (0..train.len()).collect();
    let mut epochs = Vec::new();
    for _ in 0..settings.epochs {
        for last in (1..order.len()).rev() {
            order.swap(last, (random.uniform() * (last + 1) as f32) as usize);
        }
        let mut total = 0.0;
        let steps = order.chunks(settings.batch);
        let n_steps = steps.len() as f64;
        for step in steps {
            let batch: Vec<(&[f32], usize)> = step.iter().map(|&row| train[row]).collect();
            total += net.step(&batch, settings, &mut random);
        }
        let validated: f64 = validation.iter().map(|(vector, class)| net.loss(vector, *class)).sum();
        epochs.push((total / n_steps, validated / validation.len() as f64));
    }
    epochs
}

struct Random(u64);

impl Random {
    /// From 0 (inside) to 1 (outside), 24 bits: splitmix64.
    fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 40) as f32 / (1 << 24) as f32
    }
}

/// One parameter tensor with its gradient and AdamW's moments.
struct Parameter {
    values: Vec<f32>,
    gradient: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Parameter {
    /// Uniform within 1 / sqrt(inputs), PyTorch's default for weights and biases of a linear layer.
    fn new(length: usize, inputs: usize, random: &mut Random) -> Parameter {
        let bound = 1.0 / (inputs as f32).sqrt();
        let values = (0..length).map(|_| (2.0 * random.uniform() - 1.0) * bound).collect();
        let zeros = vec![0.0; length];
        Parameter { values, gradient: zeros.clone(), first: zeros.clone(), second: zeros }
    }

    fn update(&mut self, step: i32, learning_rate: f32) {
        let (correct_first, correct_second) = (1.0 - 0.9_f32.powi(step), 1.0 - 0.999_f32.powi(step));
        for at in 0..self.values.len() {
            let gradient = std::mem::take(&mut self.gradient[at]);
            self.first[at] = 0.9 * self.first[at] + 0.1 * gradient;
            self.second[at] = 0.999 * self.second[at] + 0.001 * gradient * gradient;
            let adam = (self.first[at] / correct_first) / ((self.second[at] / correct_second).sqrt() + 1e-8);
            self.values[at] -= learning_rate * (0.01 * self.values[at] + adam);
        }
    }
}

struct Perceptron {
    width: usize,
    steps: i32,
    /// Row by row: hidden x width, hidden, classes x hidden, classes.
    parameters: [Parameter; 4],
}

impl Perceptron {
    fn new(width: usize, hidden: usize, classes: usize, random: &mut Random) -> Perceptron {
        let parameters = [
            Parameter::new(hidden * width, width, random),
            Parameter::new(hidden, width, random),
            Parameter::new(classes * hidden, hidden, random),
            Parameter::new(classes, hidden, random),
        ];
        Perceptron { width, steps: 0, parameters }
    }

    fn hidden(&self, vector: &[f32]) -> Vec<f32> {
        let [weights, bias, ..] = &self.parameters;
        let rows = weights.values.chunks_exact(self.width).zip(&bias.values);
        rows.map(|(row, bias)| (dot(row, vector) + bias).max(0.0)).collect()
    }

    fn probabilities(&self, hidden: &[f32]) -> Vec<f64> {
        let [.., weights, bias] = &self.parameters;
        let rows = weights.values.chunks_exact(hidden.len()).zip(&bias.values);
        let scores: Vec<f64> = rows.map(|(row, bias)| f64::from(dot(row, hidden) + bias)).collect();
        let total: f64 = scores.iter().map(|score| score.exp()).sum();
        scores.iter().map(|score| score.exp() / total).collect()
    }

    fn loss(&self, vector: &[f32], class: usize) -> f64 {
        -self.probabilities(&self.hidden(vector))[class].ln()
    }

    /// One AdamW step; the mean loss before it.
    fn step(&mut self, batch: &Examples<'_>, settings: Settings, random: &mut Random) -> f64 {
        let mut total = 0.0;
        let keep = 1.0 - settings.dropout;
        for (vector, class) in batch {
            let dropped: Vec<f32> = self
                .hidden(vector)
                .into_iter()
                .map(|value| if random.uniform() < keep { value / keep } else { 0.0 })
                .collect();
            let mut scores = self.probabilities(&dropped);
            total -= scores[*class].ln();
            scores[*class] -= 1.0;
            let gradients: Vec<f32> = scores.iter().map(|score| *score as f32 / batch.len() as f32).collect();
            self.backward(vector, &dropped, &gradients, keep);
        }
        self.steps += 1;
        self.parameters.iter_mut().for_each(|parameter| parameter.update(self.steps, settings.learning_rate));
        total / batch.len() as f64
    }

    fn backward(&mut self, vector: &[f32], dropped: &[f32], scores: &[f32], keep: f32) {
        let [weights_in, bias_in, weights_out, bias_out] = &mut self.parameters;
        let n_hidden = dropped.len();
        let mut hidden = vec![0.0; n_hidden];
        for (class, score) in scores.iter().enumerate() {
            bias_out.gradient[class] += score;
            let row = class * n_hidden..(class + 1) * n_hidden;
            axpy(*score, dropped, &mut weights_out.gradient[row.clone()]);
            axpy(*score, &weights_out.values[row], &mut hidden);
        }
        // Zero is either a ReLU that did not fire or a dropped unit: no gradient both ways.
        for (unit, _) in dropped.iter().enumerate().filter(|(_, value)| **value > 0.0) {
            let gradient = hidden[unit] / keep;
            bias_in.gradient[unit] += gradient;
            axpy(gradient, vector, &mut weights_in.gradient[unit * vector.len()..][..vector.len()]);
        }
    }
}

/// A dot product in eight lanes, so that the compiler can use vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest = a.len() / 8 * 8;
    lanes.iter().sum::<f32>() + a[rest..].iter().zip(&b[rest..]).map(|(a, b)| a * b).sum::<f32>()
}

fn axpy(factor: f32, values: &[f32], sum: &mut [f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
}
