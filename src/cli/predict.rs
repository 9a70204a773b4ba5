//! `bertline predict`: texts from the command line or, line by line, from standard input.

use std::io::BufRead;

use anyhow::{Context, Result, bail};

use crate::pipeline::{PredictOptions, Prediction, Predictor};
use crate::telemetry::Terminal;

/// Lines of standard input that are judged at once.
const LINES: usize = 256;
/// The most characters of a text that a warning repeats.
const TOLD: usize = 60;

pub(super) fn predict(options: &PredictOptions, terminal: Terminal) -> Result<()> {
    let predictor = Predictor::open(options, terminal)?;
    if !options.texts.is_empty() {
        return print(&predictor.predict(&options.texts)?, terminal);
    }
    let mut number = 0;
    let mut texts = Vec::new();
    for line in std::io::stdin().lock().split(b'\n') {
        number += 1;
        let mut line = line.context("cannot read standard input")?;
        line.pop_if(|byte| *byte == b'\r');
        match String::from_utf8(line) {
            Ok(text) => texts.push(text),
            Err(_) => {
                print(&predictor.predict(&texts)?, terminal)?;
                bail!("line {number} of standard input is not UTF-8; the lines before it are done");
            }
        }
        if texts.len() == LINES {
            print(&predictor.predict(&texts)?, terminal)?;
            texts.clear();
        }
    }
    print(&predictor.predict(&texts)?, terminal)
}

fn print(predictions: &[Prediction], terminal: Terminal) -> Result<()> {
    for prediction in predictions {
        if let Some(error) = &prediction.error {
            let text: String = prediction.text.chars().take(TOLD).collect();
            terminal.warn(&format!("no answer for `{text}`: the encoder failed on it: {error}"));
        }
        if terminal.json {
            terminal.print(&serde_json::to_string(prediction)?);
            continue;
        }
        let answer = prediction.label.as_deref().filter(|_| prediction.abstained != Some(true));
        let label = answer.unwrap_or("-");
        let probability = prediction.probability.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
        terminal.print(&format!("{label}\t{probability}\t{}", prediction.text));
    }
    Ok(())
}
