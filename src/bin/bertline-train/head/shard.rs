//! The network of a training cut into shards, one a thread: tensor parallelism (Shoeybi et al., Megatron-LM, 2019).
//!
//! A shard has some of the hidden units, with the weights that lead to them and those that lead on to the scores. Its core
//! keeps weights, gradients and moments to itself, and all that threads exchange at a step are the scores. libtorch's own
//! threads take turns at other parts of the same tensors at each call: two of them were slower than one.

use bertline::head::{Dense, Head, Recipe};
use tch::{Device, Tensor};

use super::adamw::AdamW;
use super::all_reduce::{AllReduce, Peer};
use super::device::device;
use super::libtorch::{Torch, torch};
use super::network::Network;
use super::side::Rows;
use super::{Error, Result, THREADS};

/// Hidden units that are worth a thread.
const FEWEST_UNITS: usize = 64;

/// Some hidden units while they are trained, or the whole network.
struct Shard {
    network: Network,
    optimizer: AdamW,
}

/// What one thread works with: a shard, the rows, and the way to the other shards.
pub(super) struct Worker<'a> {
    pub network: &'a mut Network,
    pub optimizer: &'a mut AdamW,
    pub rows: Rows,
    pub peer: Peer<'a>,
}

/// All shards of a network.
pub(super) struct Shards {
    shards: Vec<Shard>,
    /// A thread for each but the first, which has the caller's.
    others: Option<rayon::ThreadPool>,
    /// libtorch's own threads at a step.
    threads: usize,
}

impl Shards {
    /// Cuts a network into up to so many shards: one with several hidden layers, or with few units, stays whole.
    pub(super) fn of(network: Network, recipe: &Recipe, most: usize) -> Result<Self> {
        let count = match recipe.hidden[..] {
            // A GPU needs no threads.
            [units] if device() == Device::Cpu => (units / FEWEST_UNITS).clamp(1, most),
            _ => 1,
        };
        let networks = if count == 1 { vec![network] } else { cut(&network, count, recipe)? };
        let [rate, decay] = [recipe.learning_rate, recipe.weight_decay].map(|value| Tensor::from(value as f32));
        let shard = |network: Network| {
            let optimizer = AdamW::new(std::iter::once(&network.parameters), &rate, &decay)?;
            Ok(Shard { network, optimizer })
        };
        let shards = networks.into_iter().map(shard).collect::<Torch<_>>().map_err(torch("set up AdamW"))?;
        // They are worth it for a network that stays whole only where products are most of a step.
        let threads = if recipe.hidden.len() > 1 { most } else { 1 };
        Ok(Self { shards, others: (count > 1).then(|| threads_of_one(count - 1)).transpose()?, threads })
    }

    /// Has every shard do its part on the same rows, all at a time; what came of the first one. `on_rows` hears from that
    /// alone. `None` is the answer of a worker that was let down by another, which failed.
    pub(super) fn each<T: Send>(
        &mut self,
        rows: &Rows,
        on_rows: &mut dyn FnMut(usize),
        work: impl Fn(Worker<'_>, &mut dyn FnMut(usize)) -> Torch<Option<T>> + Sync,
    ) -> Torch<T> {
        let all = AllReduce::new(self.shards.len());
        let mut workers = self.shards.iter_mut().zip(all.peers()).map(|(Shard { network, optimizer }, peer)| Worker {
            network,
            optimizer,
            rows: rows.shallow_clone(),
            peer,
        });
        let first = workers.next().expect("a network has a shard, else this is a bug");
        let rest: Vec<_> = workers.collect();
        let mut failures: Vec<Torch<()>> = rest.iter().map(|_| Ok(())).collect();
        tch::set_num_threads(self.threads as i32);
        let answer = match &self.others {
            None => work(first, on_rows),
            Some(others) => others.in_place_scope(|scope| {
                for (worker, failure) in rest.into_iter().zip(&mut failures) {
                    let work = &work;
                    scope.spawn(move |_| *failure = work(worker, &mut |_| {}).map(|_| ()));
                }
                work(first, on_rows)
            }),
        };
        tch::set_num_threads(THREADS as i32);
        failures.into_iter().collect::<Torch<()>>()?;
        Ok(answer?.expect("a worker is let down only by one that failed, else this is a bug"))
    }

    /// The whole head.
    pub(super) fn to_head(&self) -> Result<Head> {
        Ok(joined(self.shards.iter().map(|shard| shard.network.to_head()).collect::<Result<Vec<_>>>()?))
    }
}

/// Threads in which libtorch has none of its own.
fn threads_of_one(count: usize) -> Result<rayon::ThreadPool> {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(count).start_handler(|_| tch::set_num_threads(1));
    threads.build().map_err(|source| Error::Threads(Box::new(source)))
}

/// A network with one hidden layer in parts.
fn cut(network: &Network, count: usize, recipe: &Recipe) -> Result<Vec<Network>> {
    let mut random = fastrand::Rng::with_seed(recipe.seed);
    // Generators with seeds that are neighbours draw much alike; forked ones do not.
    let randoms: Vec<fastrand::Rng> = (0..count).map(|_| random.fork()).collect();
    let parts = parts(&network.to_head()?, count).into_iter().zip(randoms).enumerate();
    let part = |(rank, (part, random)): (usize, (Head, _))| Network::part(&part, rank == 0, random, recipe);
    parts.map(part).collect::<Torch<_>>().map_err(torch("cut the head's layers"))
}

/// A head with one hidden layer cut into heads with some of its units each, whose scores add up to its own.
fn parts(head: &Head, count: usize) -> Vec<Head> {
    let [hidden, output] = &head.layers[..] else { return vec![head.clone()] };
    let part = |rank: usize| {
        let (first, end) = (rank * hidden.outputs / count, (rank + 1) * hidden.outputs / count);
        let towards = Dense {
            weight: hidden.weight[first * hidden.inputs..end * hidden.inputs].to_vec(),
            bias: hidden.bias[first..end].to_vec(),
            inputs: hidden.inputs,
            outputs: end - first,
        };
        let on = output.weight.chunks_exact(output.inputs).flat_map(|weights| &weights[first..end]).copied();
        let bias = if rank == 0 { output.bias.clone() } else { vec![0.0; output.outputs] };
        let on = Dense { weight: on.collect(), bias, inputs: end - first, outputs: output.outputs };
        Head { layers: vec![towards, on] }
    };
    (0..count).map(part).collect()
}

/// The head that such parts are of.
fn joined(mut parts: Vec<Head>) -> Head {
    let mut whole = parts.remove(0);
    for part in parts {
        let ([hidden, output], [more, on]) = (&mut whole.layers[..], &part.layers[..]) else { return whole };
        hidden.weight.extend(&more.weight);
        hidden.bias.extend(&more.bias);
        hidden.outputs += more.outputs;
        let rows = output.weight.chunks_exact(output.inputs).zip(on.weight.chunks_exact(on.inputs));
        output.weight = rows.flat_map(|(weights, more)| weights.iter().chain(more)).copied().collect();
        output.inputs += on.inputs;
    }
    whole
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::noise::{noise, random_head};

    const FLOATS: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn whole(sizes: &[usize], recipe: &Recipe) -> Network {
        Network::part(&random_head(sizes), true, fastrand::Rng::with_seed(recipe.seed), recipe).unwrap()
    }

    /// A head after ten steps on the same rows, without dropout, in up to so many shards.
    fn trained(most: usize, recipe: &Recipe) -> (Vec<f64>, Head) {
        let (rows, width, labels) = (12, 6, [0, 1, 2, 1, 0, 2, 1, 1, 0, 2, 2, 0]);
        let start = whole(&[width, recipe.hidden[0], 3], recipe);
        let mut shards = Shards::of(start, recipe, most).unwrap();
        assert_eq!(shards.shards.len(), most);
        let features = Tensor::from_slice(&noise(rows * width, 8)).view([rows as i64, width as i64]);
        let rows = Rows { features, labels: Tensor::from_slice(&labels) };
        let losses = shards.each(&rows, &mut |_| {}, |worker, _| {
            let Worker { network, optimizer, rows, mut peer } = worker;
            let mut losses = Vec::new();
            for _ in 0..10 {
                let loss = network.differentiate(&rows.features, &labels, &mut |scores| peer.sum(scores))?;
                optimizer.step(&[&network.gradients])?;
                losses.extend(loss);
            }
            Ok(Some(losses))
        });
        (losses.unwrap(), shards.to_head().unwrap())
    }

    #[test]
    fn a_network_in_shards_learns_what_the_whole_learns() {
        let recipe = Recipe { hidden: vec![200], dropout: 0.0, learning_rate: 1e-2, ..Recipe::article() };
        let (losses, whole) = trained(1, &recipe);
        assert!(losses.len() == 10 && losses[9] < 0.7 * losses[0], "{losses:?}");
        for count in [2, 3] {
            let (in_shards, joined) = trained(count, &recipe);
            for (ours, whole) in in_shards.iter().zip(&losses) {
                assert!((ours - whole).abs() < 1e-4, "{in_shards:?} are not {losses:?}");
            }
            for (ours, whole) in joined.layers.iter().zip(&whole.layers) {
                let values = ours.weight.iter().chain(&ours.bias).zip(whole.weight.iter().chain(&whole.bias));
                assert!(values.into_iter().all(|(ours, whole)| (ours - whole).abs() < 1e-3));
            }
        }
    }

    #[test]
    fn shards_drop_units_independently_of_one_another() {
        let recipe = Recipe { hidden: vec![2048], dropout: 0.5, ..Recipe::article() };
        let mut shards = cut(&whole(&[3, 2048, 2], &recipe), 3, &recipe).unwrap();
        let mut masks = shards.iter_mut().map(|shard| shard.dropped(Tensor::ones([256, 1024], FLOATS)).unwrap() - 1.0);
        let [one, other, third] = std::array::from_fn(|_| masks.next().unwrap());
        for (one, other) in [(&one, &other), (&other, &third), (&one, &third)] {
            // Each is 1 or -1: the mean of 262,144 products deviates by 0.002.
            let correlation = (one * other).mean(Kind::Float).double_value(&[]);
            assert!(correlation.abs() < 0.01, "{correlation}");
        }
    }

    #[test]
    fn a_shard_that_fails_ends_the_others_and_is_told_of() {
        let recipe = Recipe { hidden: vec![256], ..Recipe::article() };
        for failing in 0..2 {
            let start = whole(&[4, 256, 2], &recipe);
            let mut shards = Shards::of(start, &recipe, 2).unwrap();
            let rows = Rows { features: Tensor::from(0.0), labels: Tensor::from(0) };
            let answers = shards.each(&rows, &mut |_| {}, |mut worker, _| {
                if worker.peer.rank == failing {
                    return Err(tch::TchError::Kind("forced".to_owned()));
                }
                Ok(worker.peer.sum(&mut [0.0]).then_some(()))
            });
            assert!(answers.unwrap_err().to_string().contains("forced"), "{failing}");
        }
    }

    #[test]
    fn parts_add_up_to_the_head_and_join_to_it() {
        for (sizes, count) in [([7, 128, 3], 2), ([5, 67, 2], 3), ([4, 3, 2], 3)] {
            let head = random_head(&sizes);
            let parts = parts(&head, count);
            assert_eq!(parts.len(), count);
            let features = noise(9 * sizes[0], 4);
            let mut sums = vec![0.0; 9 * sizes[2]];
            for part in &parts {
                sums.iter_mut().zip(part.logits(&features)).for_each(|(sum, score)| *sum += score);
            }
            for (sum, score) in sums.iter().zip(head.logits(&features)) {
                assert!((sum - score).abs() < 1e-5, "{sizes:?}: {sum} is not {score}");
            }
            assert_eq!(joined(parts), head);
        }
    }
}
