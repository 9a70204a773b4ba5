//! Every lowering against BERT written out in plain loops: every family, name and activation, one layer and several,
//! padded and not.

use std::collections::BTreeSet;

use prost::Message as _;

use super::super::interface::Interface;
use super::super::model::Family;
use super::super::session::{Graph, Session, Settings};
use super::super::tiny::{HIDDEN, TEXTS, Tiny, batch, has_runtime};
use super::super::{Layers, Precision, Provider, library};
use super::*;
use crate::onnx::{GraphProto, NodeProto};

/// The packed lowering with attention in standard operators, and in 32 bits.
const PACKED: Lowering = Lowering::Packed { attention: Attention::Reference, half: false };
/// The same in 16 bits.
const HALF: Lowering = Lowering::Packed { attention: Attention::Reference, half: true };
/// The packed lowering as a GPU runs it.
const ON_GPU: Lowering = Lowering::Packed { attention: Attention::Operator, half: true };
/// Who runs which lowering of padded rows; the standard one is anyone's.
const PADDED: [(Lowering, Provider); 3] =
    [(Lowering::Standard, Provider::OpenVino), (Lowering::Standard, Provider::Mlas), (Lowering::Fused, Provider::Mlas)];
/// Who runs which lowering in 32 bits.
const RUNS: [(Lowering, Provider); 4] = [PADDED[0], PADDED[1], PADDED[2], (PACKED, Provider::Packed)];

fn vectors(description: &Description, run: (Lowering, Provider), texts: &[&[u32]], width: usize) -> Vec<f32> {
    let (lowering, _) = run;
    let model = lower(description, Readout::default(), lowering, &[]);
    self::run(&model, Readout::default(), run, texts, width)
}

fn settings(provider: Provider) -> Settings {
    Settings {
        precision: Precision::Fp32,
        floats: Precision::Fp32,
        provider,
        threads: 1,
        shared: false,
        gpu: None,
        whole: false,
    }
}

fn run(
    model: &ModelProto,
    readout: Readout,
    (lowering, provider): (Lowering, Provider),
    texts: &[&[u32]],
    width: usize,
) -> Vec<f32> {
    let bytes = model.encode_to_vec();
    let graph = Graph::Memory { name: "tiny", bytes: &bytes };
    let interface = Interface::built(feeds(lowering, readout), readout, HIDDEN);
    let mut session = Session::open(library::load(provider).unwrap(), graph, interface, settings(provider)).unwrap();
    session.encode(&batch(texts, width)).unwrap()
}

#[test]
fn every_lowering_computes_bert_padded_and_not() {
    if !has_runtime() {
        return;
    }
    let same_length: [&[u32]; 2] = [&[1, 7, 7, 39, 2, 5, 5], &[1, 30, 20, 10, 0, 9, 2]];
    for (layers, activation) in
        [(1, Activation::Gelu), (3, Activation::Gelu), (2, Activation::GeluTanh), (2, Activation::Relu)]
    {
        let tiny = Tiny::new(Family::Bert, layers, activation);
        let description = tiny.description("").unwrap();
        for run in RUNS {
            let case = format!("{layers} layers, {activation:?}, {run:?}");
            tiny.assert_computed(&case, &TEXTS, &vectors(&description, run, &TEXTS, 16));
            tiny.assert_computed(&case, &same_length, &vectors(&description, run, &same_length, 16));
            tiny.assert_computed(&case, &same_length, &vectors(&description, run, &same_length, 7));
        }
    }
}

#[test]
fn every_readout_is_computed_padded_and_not() {
    if !has_runtime() {
        return;
    }
    let same_length: [&[u32]; 2] = [&[1, 7, 7, 39, 2, 5, 5], &[1, 30, 20, 10, 0, 9, 2]];
    let tiny = Tiny::new(Family::Bert, 5, Activation::Gelu);
    let description = tiny.description("").unwrap();
    for pooling in [Pooling::Cls, Pooling::Mean, Pooling::ClsMean] {
        for layers in [Layers::Last, Layers::Last4] {
            let readout = Readout { pooling, layers };
            for (lowering, provider) in RUNS {
                let case = format!("{readout}, {lowering:?} on {provider}");
                for (texts, width) in [(&TEXTS[..], 16), (&TEXTS[2..], 16), (&same_length, 7)] {
                    let model = lower(&description, readout, lowering, &[]);
                    tiny.assert_read_out(
                        &case,
                        readout,
                        texts,
                        &run(&model, readout, (lowering, provider), texts, width),
                    );
                }
            }
        }
    }
}

#[test]
fn every_familys_names_are_read_with_and_without_their_prefix() {
    if !has_runtime() {
        return;
    }
    for (family, prefix) in [(Family::Bert, "bert."), (Family::DistilBert, ""), (Family::DistilBert, "distilbert.")] {
        let tiny = Tiny::new(family, 2, Activation::Gelu);
        let description = tiny.description(prefix).unwrap();
        for run in RUNS {
            let case = format!("{family:?} as `{prefix}`, {run:?}");
            tiny.assert_computed(&case, &TEXTS, &vectors(&description, run, &TEXTS, 16));
        }
    }
    let wrong = Tiny::new(Family::Bert, 1, Activation::Gelu).description("roberta.");
    assert!(wrong.err().unwrap().to_string().contains("no tensor `embeddings."));
}

#[test]
fn each_lowering_names_only_its_operator_sets() {
    for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
        let description = Tiny::new(Family::Bert, 2, activation).description("").unwrap();
        let fused = &["", fused::DOMAIN][..];
        for (lowering, allowed) in
            [(Lowering::Standard, &[""][..]), (Lowering::Fused, fused), (PACKED, fused), (ON_GPU, fused)]
        {
            let bytes = lower(&description, Readout::default(), lowering, &[]).encode_to_vec();
            let model = ModelProto::decode(bytes.as_slice()).unwrap();
            let imported: Vec<&str> = model.opset_import.iter().map(|opset| opset.domain()).collect();
            assert_eq!(imported, allowed);
            let graph = model.graph.unwrap();
            let used: BTreeSet<&str> = graph.node.iter().map(|node| node.domain()).collect();
            assert_eq!(used, allowed.iter().copied().collect());
            let names: BTreeSet<&str> = graph.node.iter().map(|node| node.name()).collect();
            assert_eq!(names.len(), graph.node.len());
        }
    }
}

#[test]
fn a_site_is_rounded_once_and_every_provider_rounds_alike() {
    if !has_runtime() {
        return;
    }
    let description = Tiny::new(Family::Bert, 2, Activation::Gelu).description("").unwrap();
    let layer = &description.layers[0];
    let products = [&layer.query, &layer.key, &layer.value].map(|linear| linear.name.clone()).to_vec();
    let smoothing = (1..=HIDDEN).map(|channel| channel as f32 / 4.0).collect();
    let site = Site { products, low: -9.0, high: 9.0, smoothing };
    let exact = vectors(&description, RUNS[0], &TEXTS, 16);
    let found = PADDED.map(|(lowering, provider)| {
        let model = lower(&description, Readout::default(), lowering, std::slice::from_ref(&site));
        let nodes = &model.graph.as_ref().unwrap().node;
        let count = |op: &str| nodes.iter().filter(|node| node.op_type() == op).count();
        // The rows are shared by three products, each with a weight of its own.
        assert_eq!((count("QuantizeLinear"), count("DequantizeLinear")), (1, 4));
        run(&model, Readout::default(), (lowering, provider), &TEXTS, 16)
    });
    for other in &found[1..] {
        let fidelity = super::super::Fidelity::of(other, &found[0], HIDDEN);
        assert!(fidelity.worst_cosine > 0.9999, "{fidelity:?}");
    }
    let fidelity = super::super::Fidelity::of(&found[0], &exact, HIDDEN);
    assert!(fidelity.worst_cosine > 0.98 && fidelity.max_difference > 1e-4, "{fidelity:?}");
}

#[test]
fn taps_are_what_goes_into_the_products() {
    let description = Tiny::new(Family::Bert, 2, Activation::Gelu).description("").unwrap();
    let layer = &description.layers[0];
    for lowering in [Lowering::Standard, Lowering::Fused] {
        let (model, taps) = tapped(&description, lowering, &[&layer.query.name, &layer.value.name, &layer.down.name]);
        assert_eq!(taps[0], taps[1]);
        assert!(taps[2].ends_with("/active"), "{}", taps[2]);
        let outputs: Vec<&str> = model.graph.as_ref().unwrap().output.iter().map(|output| output.name()).collect();
        assert_eq!(outputs, ["cls", &taps[0], &taps[2]]);
    }
}

#[test]
fn a_graph_takes_ids_and_lengths_and_only_its_last_layer_is_cut() {
    let description = Tiny::new(Family::Bert, 3, Activation::Gelu).description("").unwrap();
    for lowering in [Lowering::Standard, Lowering::Fused] {
        let graph = lower(&description, Readout::default(), lowering, &[]).graph.unwrap();
        assert_eq!(graph.input.iter().map(|input| input.name()).collect::<Vec<_>>(), ["input_ids", "lengths"]);
        let cuts: Vec<&str> =
            graph.node.iter().map(|node| node.name()).filter(|name| name.ends_with("cls_row")).collect();
        assert_eq!(cuts, ["encoder.layer.1.output.LayerNorm/normed/cls_row"]);
    }
}

#[test]
fn packed_graphs_in_16_bits_are_near_those_in_32() {
    if !has_runtime() {
        return;
    }
    for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
        let description = Tiny::new(Family::Bert, 4, activation).description("").unwrap();
        for pooling in [Pooling::Cls, Pooling::ClsMean] {
            let readout = Readout { pooling, layers: Layers::Last4 };
            let [exact, half] = [PACKED, HALF].map(|lowering| {
                let model = lower(&description, readout, lowering, &[]);
                run(&model, readout, (lowering, Provider::Packed), &TEXTS, 16)
            });
            let fidelity = super::super::Fidelity::of(&half, &exact, readout.width(HIDDEN));
            assert!(fidelity.worst_cosine > 0.9999, "{activation:?}: {fidelity:?}");
            assert!(fidelity.max_difference > 1e-5, "{activation:?}: nothing was rounded: {fidelity:?}");
        }
    }
}

#[test]
fn a_gpus_graph_differs_from_the_checked_one_in_attention_alone() {
    let description = Tiny::new(Family::Bert, 3, Activation::Gelu).description("").unwrap();
    for pooling in [Pooling::Cls, Pooling::Mean] {
        let readout = Readout { pooling, layers: Layers::Last };
        let [gpus, checked] = [ON_GPU, HALF].map(|lowering| lower(&description, readout, lowering, &[]).graph.unwrap());
        let is_attention = |name: &str| name.contains("attention.self/") || name.starts_with("packing/");
        let products: Vec<String> = description
            .layers
            .iter()
            .flat_map(|layer| [&layer.query, &layer.key, &layer.value])
            .map(|linear| format!("{}/", linear.name))
            .collect();
        let others = |graph: &GraphProto| -> Vec<NodeProto> {
            let of_attention = |node: &NodeProto| {
                // What the reference makes of queries, keys and values on the way.
                let split = products
                    .iter()
                    .any(|name| node.name().starts_with(name.as_str()) && !node.name().ends_with("/product"));
                is_attention(node.name()) || split
            };
            graph.node.iter().filter(|node| !of_attention(node)).cloned().map(named_by_operator).collect()
        };
        assert_eq!(others(&gpus), others(&checked));
        let operators = gpus.node.iter().filter(|node| node.op_type() == "PackedMultiHeadAttention");
        assert_eq!(operators.count(), 3);
        // Shapes are what CUDA leaves to the CPU: none is asked for.
        let kinds: BTreeSet<&str> = gpus.node.iter().map(|node| node.op_type()).collect();
        assert!(!kinds.contains("Shape") && !kinds.contains("Reshape"), "{kinds:?}");
    }
}

#[test]
fn the_graph_for_gpus_is_valid_to_onnx_runtime_which_has_no_kernel_for_it_on_a_cpu() {
    if !has_runtime() {
        return;
    }
    let description = Tiny::new(Family::Bert, 2, Activation::Gelu).description("").unwrap();
    for pooling in [Pooling::Cls, Pooling::ClsMean] {
        let readout = Readout { pooling, layers: Layers::Last };
        let bytes = lower(&description, readout, ON_GPU, &[]).encode_to_vec();
        let graph = Graph::Memory { name: "gpu", bytes: &bytes };
        let interface = Interface::built(feeds(ON_GPU, readout), readout, HIDDEN);
        let library = library::load(Provider::Packed).unwrap();
        // Types and shapes are checked before kernels are looked for.
        let error = Session::open(library, graph, interface, settings(Provider::Packed)).err().unwrap();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("find kernel for com.microsoft.PackedMultiHeadAttention"), "{source}");
    }
}

/// A node whose input from attention has the name that it has where an operator computes that.
fn named_by_operator(mut node: NodeProto) -> NodeProto {
    for name in node.input.iter_mut().chain(&mut node.output).chain(&mut node.name) {
        *name = name.replace("attention.self/merged/half", "attention.self/merged");
    }
    node
}
