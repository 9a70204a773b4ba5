//! Packs texts into micro-batches.
//!
//! A micro-batch is a rectangle as wide as its longest text, and every cell of padding costs as much as a token: texts
//! of like length go together. Small rectangles win on a CPU, where activations stay in the cache. The provider keeps
//! memory for every shape that it has seen, so widths come in steps and batch sizes from a short list. A graph that takes
//! tokens without padding has none of these reasons, and is given texts by their tokens.

/// Widths are multiples of this.
pub(super) const WIDTH_STEP: usize = 8;
/// The numbers of rows that a micro-batch may have; larger ones are multiples of the last.
const ROWS: [usize; 11] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64];

/// Where no padding is computed, its places are still told: so many for each token of the budget, at most.
const MOST_PADDED: usize = 4;

/// Which texts of a unit make one micro-batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlan {
    /// The indices of the texts in the unit.
    pub rows: Vec<usize>,
    /// The tokens that each row is padded to: a multiple of 8 or the most that any text may have.
    pub width: usize,
}

/// The token ids of a few texts, padded to one width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MicroBatch {
    /// The tokens of every row, padding included.
    pub width: usize,
    /// The tokens of each row without padding.
    pub lengths: Vec<u32>,
    /// The ids, row-major [rows, width].
    pub ids: Vec<i32>,
}

impl BatchPlan {
    /// The same texts in two micro-batches, each as wide as it must be; `None` where there is one text only.
    ///
    /// Halves of numbers of rows on the list are on it too, so that a retry needs no new shapes.
    pub(super) fn halves(&self, lengths: &[u32]) -> Option<[BatchPlan; 2]> {
        let middle = round_down(self.rows.len().div_ceil(2));
        let half = |rows: &[usize]| {
            let longest = rows.iter().map(|&row| lengths[row]).max().unwrap_or(0);
            BatchPlan { rows: rows.to_vec(), width: width_of(longest).min(self.width) }
        };
        let (front, back) = self.rows.split_at_checked(middle).filter(|(_, back)| !back.is_empty())?;
        Some([half(front), half(back)])
    }
}

impl MicroBatch {
    /// Gathers the texts of a plan: `ids` gives a text's ids by its index in the unit, `pad` fills the rows up.
    pub fn gather<'ids>(plan: &BatchPlan, pad: u32, ids: impl Fn(usize) -> &'ids [u32]) -> MicroBatch {
        let mut batch = MicroBatch {
            width: plan.width,
            lengths: Vec::with_capacity(plan.rows.len()),
            ids: Vec::with_capacity(plan.rows.len() * plan.width),
        };
        for &row in &plan.rows {
            let row = ids(row);
            batch.lengths.push(row.len() as u32);
            batch.ids.extend(row.iter().map(|&id| id as i32));
            batch.ids.extend(std::iter::repeat_n(pad as i32, plan.width - row.len()));
        }
        batch
    }

    /// How many texts there are.
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// The tokens of all rows without padding.
    pub fn tokens(&self) -> u64 {
        self.lengths.iter().map(|&length| u64::from(length)).sum()
    }

    /// The values of all tokens, one text behind the other, out of padded rows.
    pub(super) fn packed<T: Copy>(&self, padded: &[T]) -> Vec<T> {
        let rows = padded.chunks_exact(self.width).zip(&self.lengths);
        rows.flat_map(|(row, &length)| &row[..length as usize]).copied().collect()
    }

    /// Where each text begins among packed tokens, and where the last one ends: [rows + 1].
    pub(super) fn bounds(&self) -> Vec<i32> {
        let ends = self.lengths.iter().scan(0, |end, &length| {
            *end += length as i32;
            Some(*end)
        });
        std::iter::once(0).chain(ends).collect()
    }

    /// Where each packed token stands among padded rows, then where the padding does: [rows, width].
    pub(super) fn offsets(&self) -> Vec<i32> {
        let places: Vec<i32> = (0..self.padded_tokens() as i32).collect();
        let padding = places.chunks_exact(self.width).zip(&self.lengths);
        let padding = padding.flat_map(|(row, &length)| &row[length as usize..]);
        self.packed(&places).into_iter().chain(padding.copied()).collect()
    }

    /// The tokens that are paid for: rows times width.
    pub fn padded_tokens(&self) -> u64 {
        (self.rows() * self.width) as u64
    }

    /// What is wrong with the batch, if anything: an id or a length out of range would read beyond a table.
    pub(super) fn fault(&self, vocabulary: usize, positions: usize) -> Option<String> {
        let (rows, width) = (self.rows(), self.width);
        if rows == 0 || width == 0 || self.ids.len() != rows * width {
            return Some(format!("{} ids for {rows} rows, {width} wide", self.ids.len()));
        }
        if width > positions.next_multiple_of(WIDTH_STEP) {
            return Some(format!("{width} tokens wide, and the model has {positions} positions"));
        }
        let longest = width.min(positions) as u32;
        if let Some(length) = self.lengths.iter().find(|&&length| length == 0 || length > longest) {
            return Some(format!("a row of {length} tokens, {width} wide"));
        }
        let known = 0..vocabulary as i64;
        self.ids.iter().find(|&&id| !known.contains(&i64::from(id))).map(|id| format!("unknown id {id}"))
    }
}

/// Cuts texts of these lengths (specials included, truncated) into micro-batches of at most `token_budget` tokens,
/// padding included; a single text may be longer than that. None is wider than `widest`, unless a text is longer: those
/// that were cut at one length are many, and it matters how they are padded.
///
/// Every text is in exactly one batch. The cut depends on the arguments alone; longest texts come first, so that the
/// largest memory is asked for at once.
pub fn plan_micro_batches(lengths: &[u32], token_budget: usize, widest: usize) -> Vec<BatchPlan> {
    let width_of = |row: usize| width_of(lengths[row]).min(widest.max(lengths[row] as usize));
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| (std::cmp::Reverse(lengths[row]), row));
    let mut plans = Vec::new();
    let mut rest = order.as_slice();
    while let Some(&longest) = rest.first() {
        let width = width_of(longest);
        // Beyond a quarter of padding a row is cheaper in a batch of its own kind.
        let like = rest.partition_point(|&row| width_of(row) * 4 >= width * 3);
        let rows = round_down(like.min(token_budget / width));
        let (batch, others) = rest.split_at(rows);
        plans.push(BatchPlan { rows: batch.to_vec(), width });
        rest = others;
    }
    plans
}

/// The same for a graph that computes no padding: the tokens alone count, so texts of any lengths go together, and the
/// micro-batches are of like size, since a small one leaves a GPU idle. The product of a micro-batch's texts and tokens is
/// at most `matrix`, which bounds what is made for each pair of them.
pub(super) fn plan_packed(lengths: &[u32], token_budget: usize, matrix: usize, widest: usize) -> Vec<BatchPlan> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| (std::cmp::Reverse(lengths[row]), row));
    let mut tokens: usize = lengths.iter().map(|&length| length as usize).sum();
    let mut plans: Vec<BatchPlan> = Vec::new();
    let (mut held, mut fair) = (usize::MAX, 0);
    for row in order {
        let length = lengths[row] as usize;
        let fits = |plan: &BatchPlan| {
            let rows = plan.rows.len() + 1;
            held + length <= token_budget
                && rows * (held + length) <= matrix
                && rows * plan.width <= token_budget * MOST_PADDED
        };
        match plans.last_mut().filter(|plan| held < fair && fits(plan)) {
            Some(plan) => plan.rows.push(row),
            None => {
                plans.push(BatchPlan { rows: vec![row], width: width_of(lengths[row]).min(widest.max(length)) });
                (held, fair) = (0, tokens.div_ceil(tokens.div_ceil(token_budget)));
            }
        }
        held += length;
        tokens -= length;
    }
    plans
}

/// The width of a micro-batch whose longest text has `length` tokens.
fn width_of(length: u32) -> usize {
    (length.max(1) as usize).next_multiple_of(WIDTH_STEP)
}

/// The largest number of rows on the list that is at most `rows`, and at least one.
fn round_down(rows: usize) -> usize {
    let step = ROWS[ROWS.len() - 1];
    if rows >= step {
        return rows / step * step;
    }
    ROWS.into_iter().rev().find(|&size| size <= rows).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn padding_ratio(lengths: &[u32], plans: &[BatchPlan]) -> f64 {
        let padded: usize = plans.iter().map(|plan| plan.rows.len() * plan.width).sum();
        padded as f64 / lengths.iter().map(|&length| f64::from(length)).sum::<f64>()
    }

    proptest! {
        #[test]
        fn every_text_is_in_one_batch_within_the_budget(
            lengths in prop::collection::vec(1u32..=512, 0..400),
            token_budget in 1usize..5000,
            longest in 1u32..=520,
        ) {
            let lengths: Vec<u32> = lengths.into_iter().map(|length| length.min(longest)).collect();
            let plans = plan_micro_batches(&lengths, token_budget, longest as usize);
            let mut rows: Vec<usize> = plans.iter().flat_map(|plan| plan.rows.clone()).collect();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..lengths.len()).collect::<Vec<_>>());
            for plan in &plans {
                prop_assert!(!plan.rows.is_empty());
                prop_assert!(plan.width % WIDTH_STEP == 0 || plan.width == longest as usize);
                prop_assert!(plan.width <= longest as usize);
                prop_assert!(plan.rows.iter().all(|&row| lengths[row] as usize <= plan.width));
                prop_assert!(plan.rows.len() == 1 || plan.rows.len() * plan.width <= token_budget);
                prop_assert!(ROWS.contains(&plan.rows.len()) || plan.rows.len() % 64 == 0);
            }
            prop_assert_eq!(&plans, &plan_micro_batches(&lengths, token_budget, longest as usize));
        }

        #[test]
        fn halves_hold_the_texts_once_in_shapes_that_are_known(
            lengths in prop::collection::vec(1u32..=512, 1..400),
            token_budget in 1usize..9000,
        ) {
            let longest = *lengths.iter().max().unwrap() as usize;
            let mut plans = plan_micro_batches(&lengths, token_budget, longest);
            while let Some(plan) = plans.pop() {
                let Some(halves) = plan.halves(&lengths) else {
                    prop_assert_eq!(plan.rows.len(), 1);
                    continue;
                };
                prop_assert_eq!(halves.iter().flat_map(|half| half.rows.clone()).collect::<Vec<_>>(), plan.rows);
                for half in halves {
                    prop_assert!(ROWS.contains(&half.rows.len()) || half.rows.len() % 64 == 0);
                    prop_assert!(half.rows.iter().all(|&row| lengths[row] as usize <= half.width));
                    prop_assert!(half.width % WIDTH_STEP == 0 || half.width == longest);
                    prop_assert!(half.width <= plan.width);
                    plans.push(half);
                }
            }
        }

        #[test]
        fn packed_texts_are_in_one_batch_within_all_bounds(
            lengths in prop::collection::vec(1u32..=512, 0..400),
            token_budget in 1usize..5000,
            matrix in 1usize..100_000,
        ) {
            let plans = plan_packed(&lengths, token_budget, matrix, 512);
            let mut rows: Vec<usize> = plans.iter().flat_map(|plan| plan.rows.clone()).collect();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..lengths.len()).collect::<Vec<_>>());
            for plan in &plans {
                let tokens: usize = plan.rows.iter().map(|&row| lengths[row] as usize).sum();
                prop_assert!(plan.rows.iter().all(|&row| lengths[row] as usize <= plan.width));
                prop_assert!(plan.rows.len() == 1 || tokens <= token_budget);
                prop_assert!(plan.rows.len() == 1 || plan.rows.len() * tokens <= matrix);
                prop_assert!(plan.rows.len() == 1 || plan.rows.len() * plan.width <= token_budget * MOST_PADDED);
            }
        }

        #[test]
        fn packing_keeps_every_token_and_offsets_lead_back(lengths in prop::collection::vec(1u32..=61, 1..50)) {
            let texts: Vec<Vec<u32>> = (0u32..).zip(&lengths).map(|(text, &length)| vec![text + 1; length as usize]).collect();
            for plan in plan_micro_batches(&lengths, 256, 61) {
                let batch = MicroBatch::gather(&plan, 0, |row| &texts[row]);
                let (packed, bounds, offsets) = (batch.packed(&batch.ids), batch.bounds(), batch.offsets());
                prop_assert_eq!(packed.len() as u64, batch.tokens());
                prop_assert_eq!((bounds.len(), bounds[0]), (batch.rows() + 1, 0));
                for (row, ends) in bounds.windows(2).enumerate() {
                    let text = &packed[ends[0] as usize..ends[1] as usize];
                    prop_assert_eq!(text.len(), batch.lengths[row] as usize);
                    prop_assert!(text.iter().all(|&id| id == plan.rows[row] as i32 + 1));
                }
                // Every place of the padded rows once, tokens first.
                let mut places = offsets.clone();
                places.sort_unstable();
                prop_assert_eq!(places, (0..batch.padded_tokens() as i32).collect::<Vec<_>>());
                let mut restored = vec![0; batch.ids.len()];
                packed.iter().zip(&offsets).for_each(|(id, place)| restored[*place as usize] = *id);
                prop_assert_eq!(&restored, &batch.ids);
            }
        }

        #[test]
        fn a_gathered_batch_has_the_texts_ids_and_no_fault(lengths in prop::collection::vec(1u32..=61, 1..50)) {
            let texts: Vec<Vec<u32>> = lengths.iter().map(|&length| (1..=length).collect()).collect();
            for plan in plan_micro_batches(&lengths, 256, 61) {
                let batch = MicroBatch::gather(&plan, 0, |row| &texts[row]);
                prop_assert_eq!(batch.fault(65, 64), None);
                prop_assert_eq!(batch.tokens(), plan.rows.iter().map(|&row| u64::from(lengths[row])).sum::<u64>());
                for (position, &row) in plan.rows.iter().enumerate() {
                    let ids = &batch.ids[position * batch.width..][..batch.width];
                    prop_assert!(ids[..texts[row].len()].iter().zip(&texts[row]).all(|(&id, &due)| id == due as i32));
                    prop_assert!(ids[texts[row].len()..].iter().all(|&id| id == 0));
                }
            }
        }
    }

    /// Log-normal with IMDB's median of 230 tokens, cut at 250: the unit of 2 MiB that is worked on at a time.
    fn like_imdb() -> Vec<u32> {
        let uniform = |index: u64, salt: u64| ((index * 7919 + salt * 104_729) % 100_003) as f64 / 100_003.0;
        let normal = |index: u64| (0..12).map(|salt| uniform(index, salt)).sum::<f64>() - 6.0;
        (0..1600).map(|index| ((230.0 * (0.6 * normal(index)).exp()) as u32).clamp(12, 250)).collect()
    }

    #[test]
    fn packed_micro_batches_are_few_and_of_like_size() {
        let lengths = like_imdb();
        let all: u32 = lengths.iter().sum();
        let plans = plan_packed(&lengths, 65_536, usize::MAX, 250);
        assert_eq!(plans.len(), all.div_ceil(65_536) as usize);
        let tokens = plans.iter().map(|plan| plan.rows.iter().map(|&row| lengths[row]).sum::<u32>());
        let (least, most) = (tokens.clone().min().unwrap(), tokens.max().unwrap());
        assert!(least * 20 >= most * 19, "{least} to {most} tokens");
    }

    #[test]
    fn lengths_like_imdbs_waste_little_on_padding_and_few_shapes() {
        let lengths = like_imdb();
        let plans = plan_micro_batches(&lengths, 2048, 250);
        let ratio = padding_ratio(&lengths, &plans);
        let shapes: HashSet<(usize, usize)> = plans.iter().map(|plan| (plan.rows.len(), plan.width)).collect();
        assert!(ratio <= 1.03, "padding ratio {ratio}");
        assert!(shapes.len() <= 60, "{} shapes", shapes.len());
    }

    #[test]
    fn a_malformed_batch_is_told() {
        let batch = MicroBatch { width: 8, lengths: vec![3], ids: vec![1; 8] };
        let fault = |change: fn(&mut MicroBatch)| {
            let mut changed = batch.clone();
            change(&mut changed);
            changed.fault(100, 16).unwrap()
        };
        assert_eq!(batch.fault(100, 16), None);
        assert_eq!(fault(|batch| batch.ids[2] = 100), "unknown id 100");
        assert_eq!(fault(|batch| batch.ids[2] = -1), "unknown id -1");
        assert!(fault(|batch| batch.lengths[0] = 9).contains("a row of 9 tokens"));
        assert!(fault(|batch| batch.ids.truncate(7)).contains("7 ids for 1 rows"));
        assert!(fault(|batch| *batch = MicroBatch { width: 24, lengths: vec![3], ids: vec![1; 24] }).contains("24"));
    }
}
