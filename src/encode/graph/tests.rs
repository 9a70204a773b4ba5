//! Both lowerings against BERT written out in plain loops: every family, name and activation, one layer and several,
//! padded and not.

use std::collections::BTreeSet;

use prost::Message as _;

use super::super::interface::Interface;
use super::super::model::Family;
use super::super::session::{Graph, Session, Settings};
use super::super::tiny::{HIDDEN, TEXTS, Tiny, batch, has_runtime};
use super::super::{Precision, Provider, library};
use super::*;

/// Who runs which lowering; the standard one is anyone's.
const RUNS: [(Lowering, Provider); 3] =
    [(Lowering::Standard, Provider::OpenVino), (Lowering::Standard, Provider::Mlas), (Lowering::Fused, Provider::Mlas)];

fn vectors(description: &Description, run: (Lowering, Provider), texts: &[&[u32]], masked: bool) -> Vec<f32> {
    let (lowering, provider) = run;
    let bytes = lower(description, lowering, masked).encode_to_vec();
    let graph = Graph::Memory { name: "tiny", bytes: &bytes };
    let settings = Settings { precision: Precision::Fp32, provider, threads: 1 };
    let interface = Interface::built(HIDDEN, masked);
    let mut session = Session::open(library::load().unwrap(), graph, interface, settings).unwrap();
    let width = if masked { 16 } else { texts[0].len() };
    session.encode(&batch(texts, width), HIDDEN).unwrap()
}

#[test]
fn both_lowerings_compute_bert_padded_and_not() {
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
            tiny.assert_computed(&case, &TEXTS, &vectors(&description, run, &TEXTS, true));
            tiny.assert_computed(&case, &same_length, &vectors(&description, run, &same_length, true));
            tiny.assert_computed(&case, &same_length, &vectors(&description, run, &same_length, false));
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
            tiny.assert_computed(&case, &TEXTS, &vectors(&description, run, &TEXTS, true));
        }
    }
    let wrong = Tiny::new(Family::Bert, 1, Activation::Gelu).description("roberta.");
    assert!(wrong.err().unwrap().to_string().contains("no tensor `embeddings."));
}

#[test]
fn each_lowering_names_only_its_operator_sets() {
    for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
        let description = Tiny::new(Family::Bert, 2, activation).description("").unwrap();
        for (lowering, allowed) in [(Lowering::Standard, &[""][..]), (Lowering::Fused, &["", fused::DOMAIN])] {
            let bytes = lower(&description, lowering, true).encode_to_vec();
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
fn only_a_masked_graph_takes_lengths_and_only_the_last_layer_is_cut() {
    let description = Tiny::new(Family::Bert, 3, Activation::Gelu).description("").unwrap();
    for lowering in [Lowering::Standard, Lowering::Fused] {
        for (masked, inputs) in [(true, &["input_ids", "lengths"][..]), (false, &["input_ids"])] {
            let graph = lower(&description, lowering, masked).graph.unwrap();
            assert_eq!(graph.input.iter().map(|input| input.name()).collect::<Vec<_>>(), inputs);
            let cuts: Vec<&str> =
                graph.node.iter().map(|node| node.name()).filter(|name| name.ends_with("cls_row")).collect();
            assert_eq!(cuts, ["encoder.layer.2/cls_row"]);
        }
    }
}
