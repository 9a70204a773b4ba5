//! What each stage and command can be told: one definition for the command line and for pipeline files.
//!
//! The doc comment of a field is its help: the first paragraph for `-h`, all of it for `--help`. Nothing here touches a
//! file; resolving (models, inputs, devices) is the stages' work.

mod commands;
mod groups;
mod stages;

use clap::builder::RangedI64ValueParser;
use clap::value_parser;

pub(crate) use commands::{ExportOptions, PredictOptions, TokenizeOptions, TuneOptions, VerifyOptions};
pub(crate) use groups::{CacheOptions, DeviceOptions, OutOptions, SampleOptions, UnitOptions, size};
pub(crate) use stages::{EmbedOptions, EvaluateOptions, IngestOptions, ScoreOptions, TrainOptions};

// Headings of the help, in the order in which it prints them. A heading holds for all flags behind it, those of another
// struct too, so each struct that others hold and each flag of a command says its own.
const INPUT: &str = "Input";
const MODEL: &str = "Model";
const RECIPE: &str = "Recipe";
const EVALUATION: &str = "Evaluation";
const DEVICE: &str = "Device";
const OUTPUT: &str = "Output";
const LIMITS: &str = "Limits";

fn threads() -> RangedI64ValueParser<u16> {
    value_parser!(u16).range(1..=1024)
}

fn max_length() -> RangedI64ValueParser<u32> {
    value_parser!(u32).range(3..=8192)
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;

    use clap::ValueEnum;
    use serde::Serialize;

    use crate::encode::{Layers, Pooling, Precision, PrecisionChoice, ProviderChoice};
    use crate::head::RecipeName;
    use crate::ingest::{Clean, Format};
    use crate::tokenize::Truncation;

    /// Checks that a choice goes by these names on the command line, in JSON and in messages.
    #[track_caller]
    fn goes_by<T: ValueEnum + Display + Serialize>(names: &[&str]) {
        let values = T::value_variants();
        assert_eq!(values.len(), names.len());
        for (value, name) in values.iter().zip(names) {
            assert_eq!(value.to_possible_value().unwrap().get_name(), *name);
            assert_eq!(serde_json::to_value(value).unwrap(), *name);
            assert_eq!((value.to_string().as_str(), format!("{value:>12}")), (*name, format!("{name:>12}")));
        }
    }

    #[test]
    fn a_choice_has_one_name_wherever_it_is_written() {
        goes_by::<Format>(&["auto", "csv", "tsv", "jsonl", "parquet", "text", "lines"]);
        goes_by::<Clean>(&["none", "html"]);
        goes_by::<Truncation>(&["head", "tail", "head-tail"]);
        goes_by::<Pooling>(&["cls", "mean", "cls-mean"]);
        goes_by::<Layers>(&["last", "last4"]);
        goes_by::<Precision>(&["fp32", "bf16", "fp16", "int8"]);
        goes_by::<PrecisionChoice>(&["auto", "fp32", "bf16", "int8", "fp16"]);
        goes_by::<ProviderChoice>(&["auto", "openvino", "mlas", "packed"]);
        goes_by::<RecipeName>(&["default", "article"]);
    }
}
