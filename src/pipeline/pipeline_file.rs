//! Pipeline files: what is computed, as a list of stages with the options of the command line.
//!
//! ```toml
//! version = 1
//!
//! [[stage]]
//! name = "embed"            # what --set calls it; default: the command
//! run = "embed"             # ingest, embed, train, score, evaluate or export
//! inputs = ["reviews"]
//! out = "features"
//! max-length = 250          # every long flag of the command, without the dashes
//! ```
//! Keys are turned into the very arguments that the command line takes, so that a flag has one definition, one default
//! and one check. Every problem of a file is reported at once.

use std::collections::BTreeSet;
use std::path::Path;

use clap::{Command, FromArgMatches, Subcommand};
use toml::{Table, Value};

use super::{Error, Result, Stage};

/// The file format's version.
const VERSION: i64 = 1;

/// A named stage of a pipeline.
#[derive(Clone, Debug)]
pub(crate) struct NamedStage {
    /// Its name.
    pub name: String,
    /// What it does.
    pub stage: Stage,
    /// The same as it would be typed: another binary trains, and parses it again.
    pub arguments: Vec<String>,
}

/// Reads the pipeline at `path`, with `sets` (`stage.key=value`) applied.
pub(crate) fn load(path: &Path, sets: &[String]) -> Result<Vec<NamedStage>> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::ReadSpec { path: path.to_owned(), source })?;
    parse(&text, sets).map_err(|problems| Error::Spec { path: path.to_owned(), problems: problems.join("\n  ") })
}

fn parse(text: &str, sets: &[String]) -> std::result::Result<Vec<NamedStage>, Vec<String>> {
    let mut file: Table = text.parse().map_err(|error: toml::de::Error| vec![error.to_string().trim().to_owned()])?;
    let mut problems = Vec::new();
    match file.remove("version") {
        Some(Value::Integer(VERSION)) => {}
        Some(other) => problems.push(format!("version is {other}; this bertline reads version {VERSION}")),
        None => problems.push(format!("`version = {VERSION}` is missing")),
    }
    file.remove("description");
    let mut tables = Vec::new();
    match file.remove("stage") {
        Some(Value::Array(stages)) => stages.into_iter().for_each(|stage| match stage {
            Value::Table(table) => tables.push(table),
            other => problems.push(format!("a stage is a table ([[stage]]), not {other}")),
        }),
        _ => problems.push("no [[stage]]".to_owned()),
    }
    problems.extend(file.keys().map(|key| format!("unknown key `{key}`; known: version, description, stage")));
    let mut named: Vec<(String, Table)> = tables.into_iter().map(|mut table| (take_name(&mut table), table)).collect();
    let mut seen = BTreeSet::new();
    problems.extend(
        named
            .iter()
            .filter(|(name, _)| !seen.insert(name.clone()))
            .map(|(name, _)| format!("two stages are called `{name}`")),
    );
    problems.extend(sets.iter().filter_map(|set| apply(&mut named, set).err()));
    let mut stages = Vec::new();
    for (name, table) in named {
        match stage(table) {
            Ok((stage, arguments)) => stages.push(NamedStage { name, stage, arguments }),
            Err(found) => problems.extend(found.into_iter().map(|problem| format!("stage `{name}`: {problem}"))),
        }
    }
    if problems.is_empty() { Ok(stages) } else { Err(problems) }
}

fn take_name(table: &mut Table) -> String {
    let name = table.remove("name").or_else(|| table.get("run").cloned());
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_else(|| "?".to_owned())
}

/// Applies `stage.key=value`; the value is TOML where it parses as such, else text.
fn apply(stages: &mut [(String, Table)], set: &str) -> std::result::Result<(), String> {
    let (place, value) = set.split_once('=').ok_or_else(|| format!("--set `{set}` is not stage.key=value"))?;
    let (stage, key) = place.split_once('.').ok_or_else(|| format!("--set `{set}` is not stage.key=value"))?;
    let names: Vec<String> = stages.iter().map(|(name, _)| name.clone()).collect();
    let table = stages
        .iter_mut()
        .find(|(name, _)| name == stage)
        .map(|(_, table)| table)
        .ok_or_else(|| format!("--set `{set}`: no stage `{stage}`; there are {}", names.join(", ")))?;
    let parsed = format!("x = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("x"));
    let parsed = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
    let listed = key == "inputs" && !parsed.is_array();
    table.insert(key.to_owned(), if listed { Value::Array(vec![parsed]) } else { parsed });
    Ok(())
}

/// A stage with its arguments, or what is wrong with it.
type Parsed = std::result::Result<(Stage, Vec<String>), Vec<String>>;

fn stage(mut table: Table) -> Parsed {
    let mut commands = Stage::augment_subcommands(Command::new("stage").no_binary_name(true));
    let run = table.remove("run").and_then(|run| run.as_str().map(str::to_owned)).unwrap_or_default();
    let Some(command) = commands.find_subcommand(&run) else {
        let names: Vec<&str> = commands.get_subcommands().map(Command::get_name).collect();
        return Err(vec![format!("`run` is `{run}`; it must be one of {}", names.join(", "))]);
    };
    let (arguments, mut problems) = arguments(&table, command);
    let typed = std::iter::once(&run).chain(&arguments);
    let parsed = commands.try_get_matches_from_mut(typed).and_then(|matches| Stage::from_arg_matches(&matches));
    match parsed {
        Ok(stage) if problems.is_empty() => Ok((stage, arguments)),
        Ok(_) => Err(problems),
        Err(error) => {
            let text = error.to_string();
            let text = text.split("\n\nUsage").next().unwrap_or(&text).trim_start_matches("error: ").trim().to_owned();
            problems.push(text);
            Err(problems)
        }
    }
}

/// The keys of a table as they would be typed, and what is wrong with them.
fn arguments(table: &Table, command: &Command) -> (Vec<String>, Vec<String>) {
    let mut known: Vec<&str> = command.get_arguments().filter_map(|argument| argument.get_long()).collect();
    let has_inputs = command.get_positionals().next().is_some();
    if has_inputs {
        known.insert(0, "inputs");
    }
    let mut problems = Vec::new();
    let mut arguments = Vec::new();
    for (key, value) in table {
        if key == "inputs" && has_inputs {
            let inputs = value.as_array().map(|inputs| inputs.iter().filter_map(Value::as_str).collect::<Vec<_>>());
            match inputs {
                Some(inputs) if !inputs.is_empty() => arguments.extend(inputs.into_iter().map(str::to_owned)),
                _ => problems.push("`inputs` is a list of paths".to_owned()),
            }
        } else if !known.contains(&key.as_str()) {
            problems.push(format!("unknown key `{key}`; known: {}", known.join(", ")));
        } else {
            match value {
                Value::Boolean(true) => arguments.push(format!("--{key}")),
                Value::Boolean(false) => {}
                Value::String(text) => arguments.push(format!("--{key}={text}")),
                Value::Integer(_) | Value::Float(_) => arguments.push(format!("--{key}={value}")),
                other => problems.push(format!("`{key}` cannot be {other}")),
            }
        }
    }
    (arguments, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        version = 1
        [[stage]]
        run = "embed"
        inputs = ["a", "b"]
        out = "features"
        max-length = 128
        [[stage]]
        name = "head"
        run = "train"
        inputs = ["features"]
        out = "head"
    "#;

    #[test]
    fn keys_are_the_flags_of_the_command_line() {
        let stages = parse(GOOD, &["head.epochs=3".to_owned(), "embed.inputs=other".to_owned()]).unwrap();
        let [NamedStage { stage: Stage::Embed(embed), .. }, NamedStage { name, stage: Stage::Train(train), .. }] =
            stages.as_slice()
        else {
            panic!("{stages:?}")
        };
        assert_eq!((embed.max_length, embed.read.inputs.as_slice()), (128, ["other".to_owned()].as_slice()));
        assert_eq!((name.as_str(), train.epochs), ("head", Some(3)));
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let text = "colour = 1\n[[stage]]\nrun = \"embed\"\ninputs = [\"a\"]\nout = \"o\"\nmax_length = 5\n[[stage]]\nrun = \"fly\"";
        let problems = parse(text, &["nobody.out=x".to_owned()]).unwrap_err().join("\n");
        for wanted in ["version", "colour", "max_length", "max-length", "`fly`", "nobody"] {
            assert!(problems.contains(wanted), "{wanted} is not in {problems}");
        }
    }
}
