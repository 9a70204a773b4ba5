//! The encoder against PyTorch's vectors, against itself, and against broken files.

use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::{Float32Type, Int32Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::super::{Fidelity, PrecisionChoice, ProviderChoice, Wanted, choose};
use super::*;

struct Reference {
    ids: Vec<Vec<u32>>,
    cls: Vec<Vec<f32>>,
}

fn reference() -> Option<Reference> {
    let path = crate::testing::shared("reference/minilm-cls-250.parquet")?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap().build().unwrap();
    let mut reference = Reference { ids: Vec::new(), cls: Vec::new() };
    for batch in reader {
        let batch = batch.unwrap();
        let (ids, cls) = (batch["input_ids"].as_list::<i32>(), batch["cls"].as_fixed_size_list());
        for row in 0..batch.num_rows() {
            let row_ids = ids.value(row);
            reference.ids.push(row_ids.as_primitive::<Int32Type>().values().iter().map(|&id| id as u32).collect());
            reference.cls.push(cls.value(row).as_primitive::<Float32Type>().values().to_vec());
        }
    }
    Some(reference)
}

fn chosen(precision: PrecisionChoice, provider: ProviderChoice) -> Chosen {
    choose(&Wanted { precision, provider, threads: Some(2), ..Wanted::default() }, None).unwrap()
}

fn options(model_dir: &Path, precision: PrecisionChoice) -> EncoderOptions {
    EncoderOptions {
        model_dir: model_dir.to_owned(),
        graph_cache: std::env::temp_dir().join("bertline-test-graphs"),
        window: 250.into(),
        readout: Readout::default(),
        chosen: chosen(precision, ProviderChoice::Auto),
        calibration: None,
        clean: Clean::None,
    }
}

/// The default model's encoder, or `None` after saying why the test skips.
fn open(precision: PrecisionChoice) -> Option<Encoder> {
    let model_dir = crate::testing::model_dir()?;
    if crate::native::find("onnxruntime/libonnxruntime.so").is_none() {
        eprintln!("skipped: no ONNX Runtime (`make deps` gets it)");
        return None;
    }
    Some(Encoder::open(&options(&model_dir, precision)).unwrap())
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The vectors of texts, in their order, by these plans.
fn encode(encoder: &Encoder, ids: &[Vec<u32>], plans: &[BatchPlan]) -> Vec<Vec<f32>> {
    let mut vectors = vec![Vec::new(); ids.len()];
    for plan in plans {
        let batch = MicroBatch::gather(plan, encoder.tokenizer().pad_id(), |row| &ids[row]);
        let rows = block_on(encoder.encode(batch)).unwrap();
        for (&row, vector) in plan.rows.iter().zip(rows.chunks_exact(encoder.width())) {
            vectors[row] = vector.to_vec();
        }
    }
    vectors
}

fn planned(encoder: &Encoder, ids: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let lengths: Vec<u32> = ids.iter().map(|ids| ids.len() as u32).collect();
    encode(encoder, ids, &plan_micro_batches(&lengths, 2048, 250))
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The worst cosine and the largest difference over all vectors.
fn worst(vectors: &[Vec<f32>], due: &[Vec<f32>]) -> (f64, f32) {
    assert_eq!(vectors.len(), due.len());
    vectors.iter().zip(due).fold((1.0, 0.0), |(least, most), (a, b)| {
        assert_eq!(a.len(), b.len());
        (least.min(cosine(a, b)), most.max(difference(a, b)))
    })
}

#[test]
fn fp32_vectors_equal_pytorchs() {
    let (Some(encoder), Some(reference)) = (open(PrecisionChoice::Fp32), reference()) else { return };
    let (cosine, difference) = worst(&planned(&encoder, &reference.ids), &reference.cls);
    assert!(cosine >= 0.99999 && difference <= 1e-3, "worst cosine {cosine}, largest difference {difference}");
    assert!(["fp32/openvino-cpu", "fp32/mlas-cpu"].contains(&encoder.numerics().to_string().as_str()));
    let usage = encoder.usage();
    assert_eq!(usage.rows as usize, reference.ids.len());
    assert_eq!(usage.tokens as usize, reference.ids.iter().map(Vec::len).sum::<usize>());
    assert!(usage.padding_ratio() <= 1.10, "padding ratio {}", usage.padding_ratio());
    assert!(usage.busy_seconds <= usage.wall_seconds + 1e-6);
}

#[test]
fn bf16_vectors_are_close_to_pytorchs() {
    let Some(reference) = reference() else { return };
    if !library::cpu_has_bf16() {
        // What a CPU without bf16 must do is refuse, not compute in another precision.
        let wanted = Wanted { precision: PrecisionChoice::Bf16, ..Wanted::default() };
        assert!(matches!(choose(&wanted, None), Err(super::Error::NoBf16)));
        return;
    }
    let Some(encoder) = open(PrecisionChoice::Bf16) else { return };
    let vectors = planned(&encoder, &reference.ids);
    let (cosine, difference) = worst(&vectors, &reference.cls);
    // Rounding must show: equal vectors would mean that fp32 ran under bf16's name.
    assert!(cosine >= 0.9995 && difference > 1e-3, "worst cosine {cosine}, largest difference {difference}");
}

#[test]
fn a_review_alone_equals_the_same_review_in_a_batch() {
    let (Some(encoder), Some(reference)) = (open(PrecisionChoice::Fp32), reference()) else { return };
    let ids = &reference.ids[..48];
    let together = planned(&encoder, ids);
    let width = |row: usize, step: usize| ids[row].len().next_multiple_of(step);
    let alone = |step: usize, more: usize| -> Vec<BatchPlan> {
        (0..ids.len()).map(|row| BatchPlan { rows: vec![row], width: (width(row, step) + more).min(512) }).collect()
    };
    for (case, plans) in [("exact width", alone(1, 0)), ("next step", alone(8, 0)), ("64 wider", alone(8, 64))] {
        let (_, difference) = worst(&encode(&encoder, ids, &plans), &together);
        assert!(difference <= 1e-4, "{case}: largest difference {difference}");
    }
}

/// Calibrated on half of the reference texts, int8 keeps its promise on the other half, and on the same calibration
/// gives the same vector whatever is beside a text.
#[test]
fn int8_vectors_keep_the_cosine_that_is_promised() {
    let (Some(model_dir), Some(mut reference)) = (crate::testing::model_dir(), reference()) else { return };
    let Some(exact) = open(PrecisionChoice::Fp32) else { return };
    // Short texts, so that calibrating takes seconds.
    reference.ids.truncate(96);
    reference.ids.iter_mut().for_each(|ids| ids.truncate(64));
    let cache = tempfile::tempdir().unwrap();
    let options = EncoderOptions { graph_cache: cache.path().to_owned(), ..options(&model_dir, PrecisionChoice::Int8) };
    assert!(matches!(Encoder::open(&options), Err(super::Error::NotCalibrated)));
    let texts: Vec<String> = (0..48).map(text_of).collect();
    let made = calibrate(&EncoderOptions { window: 64.into(), ..options.clone() }, &texts, &mut |_| {}).unwrap();
    assert!(made.products() >= 12, "{} products", made.products());
    assert_eq!(kept_calibration(cache.path(), exact.identity(), &options.chosen).unwrap(), Some(made.clone()));
    let digest = made.digest();
    let mut foreign = serde_json::to_value(&made).unwrap();
    foreign["encoder"] = "another".into();
    let foreign = Some(Arc::new(serde_json::from_value(foreign).unwrap()));
    let refused = Encoder::open(&EncoderOptions { calibration: foreign, ..options.clone() });
    assert!(matches!(refused, Err(super::Error::OtherCalibration { .. })));
    let encoder = Encoder::open(&EncoderOptions { calibration: Some(Arc::new(made)), ..options }).unwrap();
    assert!(encoder.numerics().to_string().ends_with(&digest));
    let (vectors, due) = (planned(&encoder, &reference.ids), planned(&exact, &reference.ids));
    let fidelity = Fidelity::of(&vectors.concat(), &due.concat(), encoder.width());
    assert!(fidelity.mean_cosine >= 0.998 && fidelity.worst_cosine >= 0.99, "{fidelity:?}");
    // Rounding must show: equal vectors would mean that nothing was quantised.
    assert!(fidelity.mean_cosine < 0.99999, "{fidelity:?}");
    let alone: Vec<BatchPlan> =
        (0..24).map(|row| BatchPlan { rows: vec![row], width: reference.ids[row].len() }).collect();
    let alone = encode(&encoder, &reference.ids[..24], &alone);
    let (cosine, _) = worst(&alone, &vectors[..24]);
    assert!(cosine >= 0.9999, "worst cosine alone {cosine}");
}

/// A text of the reference.
fn text_of(index: usize) -> String {
    let path = crate::testing::shared("reference/minilm-cls-250.parquet").unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap().build().unwrap();
    let batches: Vec<_> = reader.map(|batch| batch.unwrap()).collect();
    let texts = arrow::compute::cast(&batches[0]["text"], &arrow::datatypes::DataType::Utf8).unwrap();
    texts.as_string::<i32>().value(index).to_owned()
}

#[test]
fn several_sessions_give_the_vectors_of_one() {
    let (Some(model_dir), Some(reference)) = (crate::testing::model_dir(), reference()) else { return };
    let Some(one) = open(PrecisionChoice::Fp32) else { return };
    let mut two = options(&model_dir, PrecisionChoice::Fp32);
    two.chosen.plan = Plan { sessions: 2, threads: 1, token_budget: 512 };
    let two = Encoder::open(&two).unwrap();
    let mut texts = crate::tokenize::Tokenized::default();
    reference.ids.iter().for_each(|ids| texts.push(ids.iter().copied(), ids.len() as u32));
    let vectors = |encoder: &Encoder| {
        let plans = encoder.micro_batches(&texts.lengths());
        block_on(encoder.encode_texts(&texts, plans)).unwrap().values
    };
    let fidelity = Fidelity::of(&vectors(&two), &vectors(&one), one.width());
    assert!(fidelity.max_difference <= 1e-4, "{fidelity:?}");
    let usage = two.usage();
    assert!(usage.busy_seconds <= usage.wall_seconds + 1e-6, "{usage:?}");
}

#[test]
fn a_malformed_batch_is_an_error_and_the_encoder_lives_on() {
    let Some(encoder) = open(PrecisionChoice::Fp32) else { return };
    let good = MicroBatch { width: 8, lengths: vec![3], ids: vec![101, 2023, 102, 0, 0, 0, 0, 0] };
    let bad = MicroBatch { ids: vec![1_000_000; 8], ..good.clone() };
    assert!(block_on(encoder.encode(bad)).unwrap_err().to_string().contains("unknown id 1000000"));
    assert_eq!(block_on(encoder.encode(good)).unwrap().len(), encoder.width());
}

#[test]
fn what_is_not_built_or_does_not_fit_is_a_usage_error() {
    let Some(model_dir) = crate::testing::model_dir() else { return };
    let base = options(&model_dir, PrecisionChoice::Auto);
    for wrong in [
        options(&model_dir, PrecisionChoice::Int8),
        EncoderOptions { window: 513.into(), ..base.clone() },
        EncoderOptions { window: 1.into(), ..base },
    ] {
        let error = Encoder::open(&wrong).err().unwrap();
        assert!(error.is_usage(), "{error}");
    }
}

#[test]
fn damaged_model_files_are_refused_by_name() {
    let Some(model_dir) = crate::testing::model_dir() else { return };
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str| std::fs::copy(model_dir.join(name), folder.path().join(name)).unwrap();
    let names = ["config.json", "tokenizer.json", "model.safetensors"];
    for name in names {
        names.iter().for_each(|name| {
            copy(name);
        });
        let path = folder.path().join(name);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() * 2 / 3]).unwrap();
        let cache = tempfile::tempdir().unwrap();
        let options =
            EncoderOptions { graph_cache: cache.path().to_owned(), ..options(folder.path(), PrecisionChoice::Auto) };
        let error = Encoder::open(&options).err().unwrap();
        let chain = format!("{error} {:?}", std::error::Error::source(&error));
        assert!(chain.contains(name), "{chain}");
        assert!(!error.is_usage());
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0, "a graph was left behind");
    }
}

#[test]
fn a_damaged_saved_graph_is_built_again() {
    let Some(encoder) = open(PrecisionChoice::Fp32) else { return };
    let model_dir = crate::testing::model_dir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    let options = EncoderOptions { graph_cache: cache.path().to_owned(), ..options(&model_dir, PrecisionChoice::Fp32) };
    let again = Encoder::open(&options).unwrap();
    assert_eq!(again.identity(), encoder.identity());
    let graph = std::fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().path());
    let graph = graph.into_iter().find(|path| path.extension().is_some_and(|end| end == "onnx")).unwrap();
    let whole = std::fs::read(&graph).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x40;
    std::fs::write(&graph, flipped).unwrap();
    Encoder::open(&options).unwrap();
    assert!(std::fs::read(&graph).unwrap() == whole);
}
