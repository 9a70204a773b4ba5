//! What a graph takes and gives.
//!
//! Our own graphs take ids and lengths and give vectors; exporters' graphs take masks and segments, in 32 or 64 bits,
//! and give the rows of all tokens. A session feeds either by this description.

use super::{Pooling, Readout};
use crate::onnx::{FLOAT, INT32, INT64, ValueInfoProto};

/// The output of a graph that gives the CLS row alone.
const CLS: &str = "cls";
/// Names under which exporters give the rows of all tokens.
const TOKEN_ROWS: [&str; 2] = ["last_hidden_state", "token_embeddings"];

/// What is put into an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feed {
    /// Token ids, [rows, width].
    Ids,
    /// Tokens of each row, [rows].
    Lengths,
    /// 1 for a token and 0 for padding, [rows, width].
    Mask,
    /// Zeros, [rows, width]: a review is one segment.
    Segments,
    /// The ids of all texts one behind the other, without padding: [tokens].
    Tokens,
    /// The place of each of these in its text, [tokens].
    Places,
    /// Which of these is each text's first, [rows].
    Starts,
    /// Which of these is the first behind each text, [rows].
    Ends,
    /// 0, 1, 2 ..., [tokens].
    Numbers,
    /// Where each token would stand among padded rows, then where the padding would: [rows, width].
    Offsets,
    /// 0 and the ends, [rows + 1].
    Bounds,
}

impl Feed {
    const ALL: [Feed; 4] = [Self::Ids, Self::Lengths, Self::Mask, Self::Segments];

    /// The name of the input that takes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ids => "input_ids",
            Self::Lengths => "lengths",
            Self::Mask => "attention_mask",
            Self::Segments => "token_type_ids",
            Self::Tokens => "packed_ids",
            Self::Places => "places_in_text",
            Self::Starts => "starts",
            Self::Ends => "ends",
            Self::Numbers => "token_numbers",
            Self::Offsets => "token_offset",
            Self::Bounds => "cumulative_sequence_length",
        }
    }
}

/// An input of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Input {
    pub feed: Feed,
    /// 64-bit integers instead of 32-bit ones.
    pub wide: bool,
}

/// What a graph takes and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub inputs: Vec<Input>,
    /// The name of the output that is taken.
    pub output: String,
    /// What is to be done to the output where it has a row for each token, [rows, width, row]; else it is the vectors.
    pub pooling: Option<Pooling>,
    /// The values of a row of the output.
    pub row: usize,
}

/// The name of the output of a graph that is built here.
pub(super) fn output_of(readout: Readout) -> &'static str {
    if readout.is_default() { CLS } else { "embedding" }
}

impl Interface {
    /// The interface of a graph that is built here and takes these.
    pub(super) fn built(feeds: Vec<Feed>, readout: Readout, hidden: usize) -> Interface {
        let inputs = feeds.into_iter().map(|feed| Input { feed, wide: false }).collect();
        Interface { inputs, output: output_of(readout).to_owned(), pooling: None, row: readout.width(hidden) }
    }

    /// Recognises a graph; `hidden` is the length of a vector, if something else than the graph says so.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn of(
        inputs: &[&ValueInfoProto],
        outputs: &[ValueInfoProto],
        hidden: Option<usize>,
    ) -> Result<Interface, String> {
        let inputs: Vec<Input> = inputs.iter().map(|input| Self::input(input)).collect::<Result<_, _>>()?;
        let takes = |feed: Feed| inputs.iter().any(|input| input.feed == feed);
        if !takes(Feed::Ids) {
            return Err("it has no input `input_ids`".to_owned());
        }
        if !takes(Feed::Mask) && !takes(Feed::Lengths) {
            return Err("it has no input `attention_mask`, so padding would change the vectors".to_owned());
        }
        let (output, all_tokens) = Self::output(outputs).ok_or_else(|| {
            let found: Vec<String> = outputs.iter().map(described).collect();
            format!(
                "none of its outputs is the rows of all tokens (`last_hidden_state` or `token_embeddings`, or the first \
                 output if it has three dimensions) or `cls`; outputs: {}",
                found.join(", ")
            )
        })?;
        if output.elem_type() != Some(FLOAT) {
            return Err(format!("its output {} is not of 32-bit floats", described(output)));
        }
        let length = output.dims().last().copied().flatten();
        if let (Some(length), Some(hidden)) = (length, hidden)
            && length != hidden
        {
            return Err(format!(
                "its output {} has vectors of {length} values, and config.json says {hidden}: it is no hidden state",
                described(output)
            ));
        }
        let hidden = length.or(hidden).ok_or_else(|| {
            format!("its output {} does not say how long a vector is, nor does config.json", described(output))
        })?;
        let pooling = all_tokens.then(Pooling::default);
        Ok(Interface { inputs, output: output.name().to_owned(), pooling, row: hidden })
    }

    fn input(input: &ValueInfoProto) -> Result<Input, String> {
        let name = input.name();
        let feed = Feed::ALL.into_iter().find(|feed| feed.name() == name).ok_or_else(|| {
            let known: Vec<String> = Feed::ALL.iter().map(|feed| format!("`{}`", feed.name())).collect();
            format!("it takes an input `{name}`, and bertline feeds {}", known.join(", "))
        })?;
        let wide = match input.elem_type() {
            Some(INT32) => false,
            Some(INT64) => true,
            _ => return Err(format!("its input `{name}` is not of 32-bit or 64-bit integers")),
        };
        match input.dims().iter().all(Option::is_none) {
            true => Ok(Input { feed, wide }),
            false => Err(format!("its input {} has a fixed size; export it with dynamic axes", described(input))),
        }
    }

    /// The output to take, and whether it has a row for each token.
    fn output(outputs: &[ValueInfoProto]) -> Option<(&ValueInfoProto, bool)> {
        let rank = |output: &ValueInfoProto, rank: usize| output.dims().len() == rank;
        let named = |name: &str| outputs.iter().find(|output| output.name() == name);
        let tokens = TOKEN_ROWS.into_iter().filter_map(named).chain(outputs.first()).find(|output| rank(output, 3));
        let cls = named(CLS).filter(|output| rank(output, 2));
        tokens.map(|output| (output, true)).or(cls.map(|output| (output, false)))
    }
}

/// A value's name and shape, such as `logits` [?, 2].
fn described(value: &ValueInfoProto) -> String {
    let size = |size: &Option<usize>| size.map_or("?".to_owned(), |size| size.to_string());
    let dims: Vec<String> = value.dims().iter().map(size).collect();
    format!("`{}` [{}]", value.name(), dims.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::Dim;

    const TOKENS: [Dim; 2] = [Dim::Named("rows"), Dim::Named("width")];

    fn ids(name: &str, elem_type: i32) -> ValueInfoProto {
        ValueInfoProto::new(name, elem_type, &TOKENS)
    }

    fn floats(name: &str, dims: &[Dim]) -> ValueInfoProto {
        ValueInfoProto::new(name, FLOAT, dims)
    }

    fn of(inputs: &[ValueInfoProto], outputs: &[ValueInfoProto]) -> Result<Interface, String> {
        Interface::of(&inputs.iter().collect::<Vec<_>>(), outputs, None)
    }

    const ALL: [Dim; 3] = [Dim::Named("rows"), Dim::Named("width"), Dim::Fixed(5)];

    #[test]
    fn exporters_names_and_integer_sizes_are_understood() {
        let inputs = [ids("attention_mask", INT64), ids("input_ids", INT32), ids("token_type_ids", INT64)];
        let pooled = floats("sentence_embedding", &[Dim::Named("rows"), Dim::Fixed(5)]);
        let found = of(&inputs, &[pooled.clone(), floats("token_embeddings", &ALL)]).unwrap();
        let input = |feed, wide| Input { feed, wide };
        assert_eq!(found.inputs, [input(Feed::Mask, true), input(Feed::Ids, false), input(Feed::Segments, true)]);
        assert_eq!((found.output.as_str(), found.pooling.is_some(), found.row), ("token_embeddings", true, 5));
        assert!(of(&inputs, &[floats("x", &ALL), pooled]).unwrap().pooling.is_some());
        let cls = of(&inputs, &[floats("cls", &[Dim::Named("rows"), Dim::Fixed(7)])]).unwrap();
        assert_eq!((cls.pooling.is_some(), cls.row), (false, 7));
    }

    #[test]
    fn what_is_no_encoder_is_refused_with_what_was_found() {
        let inputs = [ids("input_ids", INT64), ids("attention_mask", INT64)];
        let pooled = [floats("pooler_output", &[Dim::Named("rows"), Dim::Fixed(5)])];
        let message = of(&inputs, &pooled).unwrap_err();
        assert!(message.contains("outputs: `pooler_output` [?, 5]"), "{message}");
        let states = [floats("last_hidden_state", &ALL)];
        assert!(of(&inputs[..1], &states).unwrap_err().contains("attention_mask"));
        assert!(of(&inputs[1..], &states).unwrap_err().contains("input_ids"));
        assert!(of(&[ids("position_ids", INT64)], &states).unwrap_err().contains("`position_ids`"));
        assert!(of(&[floats("input_ids", &TOKENS)], &states).unwrap_err().contains("integers"));
        let fixed = ValueInfoProto::new("input_ids", INT64, &[Dim::Fixed(1), Dim::Fixed(128)]);
        assert!(of(&[fixed], &states).unwrap_err().contains("dynamic axes"));
        let open = floats("last_hidden_state", &[Dim::Named("rows"), Dim::Named("width"), Dim::Named("hidden")]);
        assert!(of(&inputs, std::slice::from_ref(&open)).unwrap_err().contains("how long a vector is"));
        assert_eq!(Interface::of(&inputs.iter().collect::<Vec<_>>(), &[open], Some(9)).unwrap().row, 9);
    }
}
