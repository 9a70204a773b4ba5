//! Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017): one number that the logits are
//! divided by, so that a probability of 0.8 is right in 80 % of the cases. Which class is the likeliest stays.

use super::Judged;

/// What is looked through, as logarithms: from an eighth to eight times.
const RANGE: f64 = 2.08;
/// Steps of the golden section: the interval shrinks to 1e-9 of its length.
const STEPS: usize = 44;

/// The temperature at which the log loss of the rows is least; 1 where there are none.
pub(crate) fn fit_temperature(judged: &Judged<'_>) -> f64 {
    if judged.labels.is_empty() {
        return 1.0;
    }
    // The loss is convex in the inverse temperature, hence has one minimum in its logarithm.
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let loss = |log: f64| loss_at(judged, log.exp());
    let (mut low, mut high) = (-RANGE, RANGE);
    let (mut left, mut right) = (high - golden * (high - low), low + golden * (high - low));
    let (mut at_left, mut at_right) = (loss(left), loss(right));
    for _ in 0..STEPS {
        if at_left < at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - golden * (high - low);
            at_left = loss(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + golden * (high - low);
            at_right = loss(right);
        }
    }
    ((low + high) / 2.0).exp()
}

/// Probabilities, row-major `[rows, classes]`, as they are with the logits divided by `temperature`.
pub(crate) fn cool(probabilities: &mut [f32], classes: usize, temperature: f64) {
    for row in probabilities.chunks_exact_mut(classes) {
        let powers: Vec<f64> =
            row.iter().map(|value| (f64::from(value.max(f32::MIN_POSITIVE)).ln() / temperature).exp()).collect();
        let sum: f64 = powers.iter().sum();
        row.iter_mut().zip(powers).for_each(|(value, power)| *value = (power / sum) as f32);
    }
}

/// The mean log loss of the rows, their logits divided by `temperature`. A logarithm of a probability is a logit.
fn loss_at(judged: &Judged<'_>, temperature: f64) -> f64 {
    let loss = |(row, label): (usize, &u32)| {
        let scaled = |probability: &f32| f64::from(probability.max(f32::MIN_POSITIVE)).ln() / temperature;
        let logits = judged.row(row);
        let sum: f64 = logits.iter().map(|probability| scaled(probability).exp()).sum();
        sum.ln() - scaled(&logits[*label as usize])
    };
    judged.labels.iter().enumerate().map(loss).sum::<f64>() / judged.labels.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overconfident_head_is_cooled_to_the_temperature_that_it_was_heated_by() {
        // Of 1,000 rows with a probability of 0.8 (in truth), told as if the logits were three times as large.
        let odds = (0.8f64 / 0.2).powi(3);
        let told = (odds / (1.0 + odds)) as f32;
        let probabilities: Vec<f32> = (0..1000).flat_map(|_| [1.0 - told, told]).collect();
        let labels: Vec<u32> = (0..1000).map(|row| u32::from(row % 5 != 0)).collect();
        let judged = Judged { probabilities: &probabilities, labels: &labels, classes: 2 };
        assert!((fit_temperature(&judged) - 3.0).abs() < 1e-3, "{}", fit_temperature(&judged));
        assert_eq!(fit_temperature(&Judged { probabilities: &[], labels: &[], classes: 2 }), 1.0);
    }
}
