//! The network of a training cut into shards, one a thread: tensor parallelism (Shoeybi et al., Megatron-LM, 2019).
//!
//! A shard has some of the hidden units, with the weights that lead to them and those that lead on to the scores. Its core
//! keeps weights, gradients and moments to itself, and all that threads exchange at a step are the scores. libtorch's own
//! threads take turns at other parts of the same tensors at each call: two of them were slower than one.

use bertline::head::{Dense, Head, Recipe};
use tch::{Device, Tensor};

use super::adamw::AdamW;
use super::all_reduce::{AllReduce, Member};
use super::device::device;
use super::network::{Network, Torch, torch};
use super::side::Rows;
use super::{Error, Result};

/// Hidden units that are worth a thread.
const FEWEST_UNITS: usize = 64;

/// Some hidden units while they are trained, or the whole network.
struct Shard {
    network: Network,
    optimizer: AdamW,
}

/// What one thread works with: a shard, the rows, and the way to the other shards.
pub(super) struct Part<'a> {
    pub network: &'a mut Network,
    pub optimizer: &'a mut AdamW,
    pub rows: Rows,
    pub member: Member<'a>,
}

/// All shards of a network, with a thread for each but the first, which has the caller's.
pub(super) struct Shards {
    shards: Vec<Shard>,
    others: rayon::ThreadPool,
}

impl Shards {
    /// Cuts a network into up to so many shards: one with several hidden layers, or with few units, stays whole.
    pub(super) fn of(network: Network, recipe: &Recipe, most: usize) -> Result<Self> {
        let count = match recipe.hidden[..] {
            // A GPU needs no threads.
            [units] if device() == Device::Cpu => (units / FEWEST_UNITS).clamp(1, most),
            _ => 1,
        };
        let networks = match count {
            1 => vec![network],
            _ => parts(&network.to_head()?, count)
                .iter()
                .zip(0..)
                .map(|(part, rank)| Network::part(part, rank, recipe))
                .collect::<Torch<_>>()
                .map_err(torch("cut the head's layers"))?,
        };
        let [rate, decay] = [recipe.learning_rate, recipe.weight_decay].map(|value| Tensor::from(value as f32));
        let shard = |network: Network| {
            let optimizer = AdamW::new(std::iter::once(&network.parameters), &rate, &decay)?;
            Ok(Shard { network, optimizer })
        };
        let shards = networks.into_iter().map(shard).collect::<Torch<_>>().map_err(torch("set up AdamW"))?;
        // libtorch's own threads are worth it for a network that stays whole only where products are most of a step.
        tch::set_num_threads(if recipe.hidden.len() > 1 { most as i32 } else { 1 });
        // A pool of none would be one of all cores.
        let others = rayon::ThreadPoolBuilder::new()
            .num_threads((count - 1).max(1))
            .start_handler(|_| tch::set_num_threads(1))
            .build();
        Ok(Self { shards, others: others.map_err(|source| Error::Threads(Box::new(source)))? })
    }

    /// Has every shard do its part on the same rows, all at a time; what came of it, by rank. `on_rows` hears from the
    /// first one alone. `None` is the answer of a part that was let down by another, which failed.
    pub(super) fn each<T: Send>(
        &mut self,
        rows: &Rows,
        on_rows: &mut dyn FnMut(usize),
        work: impl Fn(Part<'_>, &mut dyn FnMut(usize)) -> Torch<Option<T>> + Sync,
    ) -> Torch<Vec<T>> {
        let all = AllReduce::new(self.shards.len());
        let mut parts = self.shards.iter_mut().zip(all.members()).map(|(Shard { network, optimizer }, member)| Part {
            network,
            optimizer,
            rows: rows.shallow_clone(),
            member,
        });
        let first = parts.next().expect("a network has a shard, else this is a bug");
        let rest: Vec<_> = parts.collect();
        let mut answers: Vec<Torch<Option<T>>> = rest.iter().map(|_| Ok(None)).collect();
        let answer = self.others.in_place_scope(|scope| {
            for (part, answer) in rest.into_iter().zip(&mut answers) {
                let work = &work;
                scope.spawn(move |_| *answer = work(part, &mut |_| {}));
            }
            work(first, on_rows)
        });
        let answers: Vec<Option<T>> = std::iter::once(answer).chain(answers).collect::<Torch<_>>()?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// The whole head.
    pub(super) fn to_head(&self) -> Result<Head> {
        Ok(joined(self.shards.iter().map(|shard| shard.network.to_head()).collect::<Result<Vec<_>>>()?))
    }
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
    use super::super::noise::{noise, random_head};
    use super::*;

    /// A head after ten steps on the same rows, without dropout, in up to so many shards.
    fn trained(most: usize, recipe: &Recipe) -> (Vec<f64>, Head) {
        let (rows, width, labels) = (12, 6, [0, 1, 2, 1, 0, 2, 1, 1, 0, 2, 2, 0]);
        let start = Network::part(&random_head(&[width, recipe.hidden[0], 3]), 0, recipe).unwrap();
        let mut shards = Shards::of(start, recipe, most).unwrap();
        assert_eq!(shards.shards.len(), most);
        let features = Tensor::from_slice(&noise(rows * width, 8)).view([rows as i64, width as i64]);
        let rows = Rows { features, labels: Tensor::from_slice(&labels) };
        let losses = shards.each(&rows, &mut |_| {}, |part, _| {
            let Part { network, optimizer, rows, mut member } = part;
            let mut losses = Vec::new();
            for _ in 0..10 {
                let loss = network.differentiate(&rows.features, &labels, &mut |scores| member.sum(scores))?;
                optimizer.step(&[&network.gradients])?;
                losses.extend(loss);
            }
            Ok(Some(losses))
        });
        let losses = losses.unwrap();
        assert!(losses.len() == most && losses.iter().all(|of_part| *of_part == losses[0]));
        (losses[0].clone(), shards.to_head().unwrap())
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
                assert!(ours.bias.iter().zip(&whole.bias).all(|(ours, whole)| (ours - whole).abs() < 1e-3));
            }
        }
    }

    #[test]
    fn a_shard_that_fails_ends_the_others_and_is_told_of() {
        let recipe = Recipe { hidden: vec![256], ..Recipe::article() };
        for failing in 0..2 {
            let start = Network::part(&random_head(&[4, 256, 2]), 0, &recipe).unwrap();
            let mut shards = Shards::of(start, &recipe, 2).unwrap();
            let rows = Rows { features: Tensor::from(0.0), labels: Tensor::from(0) };
            let answers = shards.each(&rows, &mut |_| {}, |mut part, _| {
                if part.member.rank == failing {
                    return Err(tch::TchError::Kind("forced".to_owned()));
                }
                Ok(part.member.sum(&mut [0.0]).then_some(()))
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
