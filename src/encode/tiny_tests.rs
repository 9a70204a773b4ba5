//! From a model folder to vectors, with folders of every kind that are made here.

use std::path::{Path, PathBuf};

use prost::Message as _;

use super::graph::{Lowering, lower, lower_all_tokens, taking_a_mask};
use super::model::{Activation, Family};
use super::tiny::{HIDDEN, TEXTS, Tiny, batch, has_runtime};
use super::{
    DeviceChoice, Encoder, EncoderOptions, Error, Layers, Pooling, PrecisionChoice, ProviderChoice, Readout, Result,
    Wanted, choose, width_of,
};
use crate::ingest::Clean;
use crate::onnx::{Dim, INT64, ModelProto, ValueInfoProto};

const WANTED: Wanted = Wanted {
    precision: PrecisionChoice::Fp32,
    device: DeviceChoice::Cpu,
    provider: ProviderChoice::Auto,
    threads: Some(1),
    sessions: None,
    token_budget: None,
    ready_made: false,
    large: false,
};
const PROVIDERS: [ProviderChoice; 2] = [ProviderChoice::OpenVino, ProviderChoice::Mlas];

fn options(model_dir: &Path, graph_cache: &Path, provider: ProviderChoice) -> EncoderOptions {
    EncoderOptions {
        model_dir: model_dir.to_owned(),
        graph_cache: graph_cache.to_owned(),
        window: 13.into(),
        readout: Readout::default(),
        chosen: choose(&Wanted { provider, ..WANTED }, None).unwrap(),
        calibration: None,
        clean: Clean::None,
    }
}

fn encode(encoder: &Encoder) -> Vec<f32> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(encoder.encode(batch(&TEXTS, 16))).unwrap()
}

fn graphs(cache: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|end| end == "onnx")).collect()
}

/// The tiny encoder as exporters write one: 64-bit ids, a mask and segments in, the rows of all tokens out.
fn exported(tiny: &Tiny) -> ModelProto {
    let mut model = taking_a_mask(lower_all_tokens(&tiny.description("").unwrap()));
    let inputs = &mut model.graph.as_mut().unwrap().input;
    inputs.push(ValueInfoProto::new("token_type_ids", INT64, &[Dim::Named("rows"), Dim::Named("width")]));
    model
}

/// A folder with a tokenizer and this graph.
fn ready_made(place: &str, model: &ModelProto) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    Tiny::write_tokenizer(folder.path());
    let path = folder.path().join(place);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, model.encode_to_vec()).unwrap();
    folder
}

#[test]
fn a_folder_of_each_family_encodes_on_each_provider_and_its_graph_is_kept() {
    if !has_runtime() {
        return;
    }
    for family in [Family::Bert, Family::DistilBert] {
        let tiny = Tiny::new(family, 2, Activation::Gelu);
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        tiny.write(folder.path());
        for provider in PROVIDERS {
            let encoder = Encoder::open(&options(folder.path(), cache.path(), provider)).unwrap();
            assert_eq!(encoder.numerics().to_string(), format!("fp32/{provider}-cpu"));
            tiny.assert_computed(&format!("{family:?} on {provider}"), &TEXTS, &encode(&encoder));
        }
        let kept = graphs(cache.path());
        assert_eq!(kept.len(), 2);
        // A graph that is kept is opened, not built: its weights are needed for the identity alone.
        let times = || graphs(cache.path()).iter().map(|path| path.metadata().unwrap().modified().unwrap()).max();
        let before = times();
        Encoder::open(&options(folder.path(), cache.path(), ProviderChoice::Mlas)).unwrap();
        assert_eq!(times(), before);
    }
}

#[test]
fn a_ready_made_graph_encodes_like_the_one_that_is_built() {
    if !has_runtime() {
        return;
    }
    let tiny = Tiny::new(Family::Bert, 2, Activation::Gelu);
    let cls_alone = lower(&tiny.description("").unwrap(), Readout::default(), Lowering::Standard, &[]);
    let cache = tempfile::tempdir().unwrap();
    for (place, model) in [("model.onnx", exported(&tiny)), ("onnx/model.onnx", cls_alone)] {
        let folder = ready_made(place, &model);
        assert_eq!(width_of(folder.path(), Readout::default()).unwrap(), HIDDEN);
        let identities = PROVIDERS.map(|provider| {
            let encoder = Encoder::open(&options(folder.path(), cache.path(), provider)).unwrap();
            tiny.assert_computed(&format!("{place} on {provider}"), &TEXTS, &encode(&encoder));
            encoder.identity().clone()
        });
        assert_eq!(identities[0], identities[1]);
    }
    assert!(graphs(cache.path()).is_empty());
}

#[test]
fn a_ready_made_graph_is_pooled_like_the_one_that_is_built() {
    if !has_runtime() {
        return;
    }
    let tiny = Tiny::new(Family::Bert, 2, Activation::Gelu);
    let cache = tempfile::tempdir().unwrap();
    let built = tempfile::tempdir().unwrap();
    tiny.write(built.path());
    let ready = ready_made("model.onnx", &exported(&tiny));
    let open = |folder: &Path, readout| {
        Encoder::open(&EncoderOptions { readout, ..options(folder, cache.path(), ProviderChoice::Mlas) })
    };
    let default = open(built.path(), Readout::default()).unwrap().identity().id();
    for pooling in [Pooling::Cls, Pooling::Mean, Pooling::ClsMean] {
        let readout = Readout { pooling, layers: Layers::Last };
        for folder in [built.path(), ready.path()] {
            let encoder = open(folder, readout).unwrap();
            assert_eq!(encoder.width(), width_of(folder, readout).unwrap());
            tiny.assert_read_out(&readout.to_string(), readout, &TEXTS, &encode(&encoder));
        }
        let id = open(built.path(), readout).unwrap().identity().id();
        assert_eq!(id == default, pooling == Pooling::Cls);
    }
}

#[test]
fn a_readout_that_the_model_does_not_give_is_a_usage_error() {
    let tiny = Tiny::new(Family::Bert, 2, Activation::Gelu);
    let (cache, built) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    tiny.write(built.path());
    let cls = lower(&tiny.description("").unwrap(), Readout::default(), Lowering::Standard, &[]);
    let (all, cls) = (ready_made("model.onnx", &exported(&tiny)), ready_made("model.onnx", &cls));
    let told = |folder: &Path, pooling, layers| {
        let readout = Readout { pooling, layers };
        let options = EncoderOptions { readout, ..options(folder, cache.path(), ProviderChoice::Mlas) };
        let error = Encoder::open(&options).err().unwrap();
        assert!(error.is_usage(), "{error}");
        error.to_string()
    };
    assert!(told(built.path(), Pooling::Mean, Layers::Last4).contains("it has 2 layers"));
    assert!(told(all.path(), Pooling::Cls, Layers::Last4).contains("the last layer alone"));
    assert!(told(cls.path(), Pooling::Mean, Layers::Last).contains("gives `cls`, not the rows of all tokens"));
}

#[test]
fn a_ready_made_graph_stands_in_for_what_is_not_built_and_for_nothing_else() {
    if !has_runtime() {
        return;
    }
    let tiny = Tiny::new(Family::Bert, 1, Activation::Gelu);
    let folder = ready_made("model.onnx", &exported(&tiny));
    let cache = tempfile::tempdir().unwrap();
    let open = || Encoder::open(&options(folder.path(), cache.path(), ProviderChoice::Mlas));
    let config = folder.path().join("config.json");
    // A RoBERTa that counts 10 positions: what goes beyond the last whole step of width cannot be padded.
    std::fs::write(&config, r#"{"model_type": "roberta", "max_position_embeddings": 22, "vocab_size": 40}"#).unwrap();
    tiny.assert_computed("roberta", &TEXTS, &encode(&open().unwrap()));
    std::fs::write(&config, r#"{"model_type": "roberta", "max_position_embeddings": 10, "vocab_size": 40}"#).unwrap();
    assert!(matches!(open(), Err(Error::MaxLength { positions: 8, .. })));
    std::fs::write(&config, r#"{"model_type": "roberta", "vocab_size": 20}"#).unwrap();
    assert!(matches!(open(), Err(Error::Vocabulary { vocabulary: 20, .. })));
    // What can be built is, and a damaged description is not passed over.
    tiny.write(folder.path());
    open().unwrap();
    assert_eq!(graphs(cache.path()).len(), 1);
    std::fs::write(&config, "{\"model_type\": \"be").unwrap();
    assert!(matches!(open(), Err(Error::ConfigJson { .. })));
}

#[test]
fn a_ready_made_graph_that_cannot_be_used_is_refused_by_name() {
    let tiny = Tiny::new(Family::Bert, 1, Activation::Gelu);
    let refused = |model: &ModelProto| {
        let folder = ready_made("model.onnx", model);
        let error: Result<usize> = width_of(folder.path(), Readout::default());
        let message = error.unwrap_err().to_string();
        assert!(message.contains("model.onnx"), "{message}");
        message
    };
    let mut pooled = exported(&tiny);
    pooled.graph.as_mut().unwrap().output[0] =
        ValueInfoProto::new("pooler_output", crate::onnx::FLOAT, &[Dim::Named("batch"), Dim::Fixed(HIDDEN)]);
    assert!(refused(&pooled).contains("outputs: `pooler_output` [?, 12]"));
    assert!(refused(&ModelProto::default()).contains("no graph"));

    let folder = ready_made("model.onnx", &exported(&tiny));
    let path = folder.path().join("model.onnx");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(width_of(folder.path(), Readout::default()).unwrap_err().to_string().contains("corrupt or cut short"));
}

#[test]
fn bf16_on_onnx_runtimes_own_kernels_is_a_usage_error() {
    let wrong = Wanted { precision: PrecisionChoice::Bf16, provider: ProviderChoice::Mlas, ..WANTED };
    let error = choose(&wrong, None).unwrap_err();
    // Before anything else: neither the model nor the CPU is looked at.
    assert!(error.is_usage() && error.to_string().contains("bf16 is the OpenVINO provider's"), "{error}");
}
