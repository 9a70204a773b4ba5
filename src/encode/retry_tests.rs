//! Splitting and retrying against a provider that is made to fail.

use std::cell::Cell;

use proptest::prelude::*;

use super::super::plan_micro_batches;
use super::*;

const PAD: u32 = 0;

/// Texts of a few lengths; every token of a text is its number, from 1.
fn texts(count: u32) -> Tokenized {
    let mut texts = Tokenized::default();
    for text in 1..=count {
        let length = 1 + text % 30;
        texts.push(std::iter::repeat_n(text, length as usize), length);
    }
    texts
}

fn failure(batch: &MicroBatch) -> Error {
    Error::provider(batch, "cannot compute,\n  they say")
}

fn no_memory(batch: &MicroBatch) -> Error {
    Error::provider(batch, "Failed to allocate memory for requested buffer of size 7")
}

/// Encodes all texts to vectors of one value, their number, with a provider that fails where `fails` says so; returns
/// how often it was asked, too.
fn encode(texts: &Tokenized, fails: impl Fn(&MicroBatch) -> Option<Error>) -> (Result<Vectors>, usize) {
    let asked = Cell::new(0);
    let provider = |batch: MicroBatch| {
        asked.set(asked.get() + 1);
        let firsts = batch.ids.chunks_exact(batch.width).map(|row| row[0] as f32).collect();
        std::future::ready(fails(&batch).map_or(Ok(firsts), Err))
    };
    let plans = plan_micro_batches(&texts.lengths(), 2048, 512);
    let allowance = Allowance::default();
    let texts = Texts {
        texts,
        lengths: texts.lengths(),
        pad: PAD,
        width: 1,
        in_flight: 2,
        allowance: &allowance,
        packed: false,
    };
    let threads = tokio::runtime::Builder::new_current_thread().build().unwrap();
    (threads.block_on(texts.encode(plans, provider)), asked.get())
}

fn holding(poison: &[u32]) -> impl Fn(&MicroBatch) -> Option<Error> {
    move |batch| batch.ids.iter().any(|&id| poison.contains(&(id as u32))).then(|| failure(batch))
}

/// The vectors, checked: every text has its own, but for those that failed.
fn checked(texts: &Tokenized, vectors: &Vectors) -> Vec<u32> {
    let mut failed: Vec<u32> = vectors.failed.iter().map(|failed| failed.text as u32 + 1).collect();
    failed.sort_unstable();
    for (text, value) in vectors.values.iter().enumerate() {
        let number = text as u32 + 1;
        let due = if failed.binary_search(&number).is_ok() { 0.0 } else { number as f32 };
        assert_eq!(*value, due, "text {number} of {}", texts.len());
    }
    failed
}

proptest! {
    #[test]
    fn exactly_the_texts_at_fault_fail(count in 1u32..400, poison in prop::collection::btree_set(1u32..400, 0..6)) {
        let texts = texts(count);
        let poison: Vec<u32> = poison.into_iter().filter(|&text| text <= count).collect();
        let (vectors, asked) = encode(&texts, holding(&poison));
        let vectors = vectors.unwrap();
        prop_assert_eq!(checked(&texts, &vectors), poison.clone());
        // A poison text costs the way down to it, not its whole unit one by one.
        prop_assert!(asked <= count as usize / 8 + 20 + 24 * poison.len(), "asked {} times", asked);
        let clean: u64 = (1..=count).filter(|text| !poison.contains(text)).map(|text| u64::from(1 + text % 30)).sum();
        prop_assert_eq!(vectors.tokens, clean);
    }

    #[test]
    fn too_little_memory_costs_no_text(count in 1u32..300, rows in 1usize..20) {
        let texts = texts(count);
        let (vectors, _) = encode(&texts, |batch| (batch.rows() > rows).then(|| no_memory(batch)));
        prop_assert!(checked(&texts, &vectors.unwrap()).is_empty());
    }
}

#[test]
fn what_was_too_large_once_is_not_tried_again_and_again() {
    let texts = texts(6000);
    for rows in [2, 10] {
        let failed = Cell::new(0);
        let (vectors, asked) = encode(&texts, |batch| {
            let fails = batch.padded_tokens() > 40 * rows;
            failed.set(failed.get() + usize::from(fails));
            fails.then(|| no_memory(batch))
        });
        assert!(checked(&texts, &vectors.unwrap()).is_empty());
        // On the way down, with two in flight, and now and then when the limit has been raised.
        assert!(failed.get() <= 16 + asked / 32, "{} of {asked} failed", failed.get());
    }
}

#[test]
fn a_reason_is_one_short_line_in_the_providers_words() {
    let (vectors, _) = encode(&texts(20), holding(&[3]));
    assert_eq!(vectors.unwrap().failed, [Failed { text: 2, reason: "cannot compute, they say".to_owned() }]);
    let batch = MicroBatch { width: 8, lengths: vec![1], ids: vec![0; 8] };
    let long = reason(&Error::provider(&batch, &format!("here: {} no memory", "é ".repeat(500))));
    assert!(long.starts_with("here: é") && long.ends_with("é no memory") && long.contains("..."), "{long}");
    assert_eq!(long.chars().count(), REASON.iter().sum::<usize>() + 3);
    assert!(reason(&Error::OutputNotFinite { rows: 1, width: 8 }).contains("not a number"));
}

#[test]
fn a_broken_provider_is_an_error_after_few_attempts() {
    for count in [1, 2, 7, 8, 1000] {
        let (vectors, asked) = encode(&texts(count), |batch| Some(failure(batch)));
        assert!(matches!(vectors, Err(Error::Run { .. })), "{count}");
        assert!(asked <= 40, "{count} texts: asked {asked} times");
    }
}

#[test]
fn a_provider_that_breaks_on_the_way_is_an_error_not_a_pile_of_failed_texts() {
    let asked = Cell::new(0);
    let (vectors, _) = encode(&texts(1000), |batch| {
        asked.set(asked.get() + 1);
        (asked.get() > 3).then(|| failure(batch))
    });
    assert!(matches!(vectors, Err(Error::Run { .. })) && asked.get() < 60, "{}", asked.get());
}

#[test]
fn poison_texts_side_by_side_are_no_broken_provider() {
    // All of one length, hence neighbours; the others succeed.
    let poison: Vec<u32> = (0..20).map(|at| 30 * at + 17).collect();
    let texts = texts(600);
    let (vectors, _) = encode(&texts, holding(&poison));
    assert_eq!(checked(&texts, &vectors.unwrap()), poison);
}

#[test]
fn a_few_texts_that_all_fail_are_at_fault_themselves_but_not_many() {
    let all = |count: u32| encode(&texts(count), holding(&(1..=count).collect::<Vec<_>>())).0;
    assert_eq!(all(1).unwrap().failed.len(), 1);
    assert_eq!(all(7).unwrap().failed.len(), 7);
    assert!(matches!(all(8), Err(Error::Run { .. })));
}

#[test]
fn what_is_not_of_the_batch_ends_it_at_once() {
    let (vectors, asked) = encode(&texts(300), |_| Some(Error::Stopped));
    assert!(matches!(vectors, Err(Error::Stopped)));
    assert!(asked <= 2, "{asked}");
    let (vectors, _) = encode(&texts(300), |_| Some(Error::Batch { reason: "a bug".to_owned() }));
    assert!(matches!(vectors, Err(Error::Batch { .. })));
}

#[test]
fn no_texts_ask_nobody() {
    let (vectors, asked) = encode(&texts(0), |batch| Some(failure(batch)));
    assert!(vectors.unwrap().values.is_empty() && asked == 0);
}
