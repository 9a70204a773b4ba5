//! Micro-batches to vectors by the real encoder: the largest usual shape, and a mix as reviews make it.
//!
//! bf16 runs where the CPU computes in it, and is left out elsewhere.

use bertline::encode::{self, Encoder, EncoderOptions, MicroBatch, PrecisionChoice, Wanted};
use bertline::ingest::Clean;
use divan::Bencher;
use divan::counter::ItemsCount;

use super::{model, reviews};

const MAX_LENGTH: u32 = 250;
/// Reviews of the mixed shape: some twelve micro-batches.
const MIXED: usize = 96;

fn precisions() -> Vec<PrecisionChoice> {
    let all = [PrecisionChoice::Fp32, PrecisionChoice::Bf16];
    all.into_iter().filter(|precision| *precision == PrecisionChoice::Fp32 || encode::cpu_has_bf16()).collect()
}

#[divan::bench(args = precisions(), sample_count = 10, sample_size = 1)]
fn full_8x250(bencher: Bencher, precision: PrecisionChoice) {
    run(bencher, precision, &[MAX_LENGTH; 8]);
}

#[divan::bench(args = precisions(), sample_count = 5, sample_size = 1)]
fn mixed(bencher: Bencher, precision: PrecisionChoice) {
    run(bencher, precision, &reviews::lengths(MIXED, MAX_LENGTH));
}

/// Encodes texts of these lengths, micro-batch after micro-batch; the first pass pays for the provider's preparations and
/// is not measured.
fn run(bencher: Bencher, precision: PrecisionChoice, lengths: &[u32]) {
    let Some(model_dir) = model("encoder") else { return };
    let graphs = tempfile::tempdir().unwrap();
    let encoder = Encoder::open(&EncoderOptions {
        model_dir,
        graph_cache: graphs.path().to_owned(),
        window: (MAX_LENGTH as usize).into(),
        readout: encode::Readout::default(),
        chosen: encode::choose(&Wanted { precision, ..Wanted::default() }, None).unwrap(),
        calibration: None,
        clean: Clean::None,
    })
    .unwrap();
    let mut random = reviews::Random::new(11);
    // Ids of whole words in BERT's vocabularies.
    let ids: Vec<Vec<u32>> =
        lengths.iter().map(|&length| (0..length).map(|_| 1996 + random.below(20_000) as u32).collect()).collect();
    let batches: Vec<MicroBatch> =
        encoder.micro_batches(lengths).iter().map(|plan| MicroBatch::gather(plan, 0, |row| &ids[row])).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let encode = || {
        for batch in &batches {
            divan::black_box(runtime.block_on(encoder.encode(batch.clone())).unwrap());
        }
    };
    encode();
    bencher.counter(ItemsCount::new(lengths.len())).bench_local(encode);
}
