//! The command `tokenize`: the ids that the encoder would see, one JSON line a text, and the rate of tokenizing alone.
//!
//! It reads what the stages read, unit by unit, so that it shows exactly the texts that `embed` would encode and its
//! memory does not grow with the input. Parsing and printing are left out of the rate: it is comparable with other
//! tokenizers'.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use datafusion_physical_plan::collect;
use futures::StreamExt;
use serde::Serialize;

use crate::engine::{self, task_context};
use crate::model;
use crate::pipeline::encoder::say_event;
use crate::pipeline::inputs::{Inputs, Labels, UNIT_BYTES};
use crate::pipeline::{Error, Result, TokenizeOptions};
use crate::telemetry::Terminal;
use crate::tokenize::{Pool, Tokenizer};

/// A text as the encoder would see it.
#[derive(Serialize)]
struct Line<'a> {
    source_file: &'a str,
    row: u64,
    /// With specials, before truncation; null where there is no text.
    n_tokens: Option<u32>,
    truncated: bool,
    ids: &'a [u32],
}

/// What was tokenized, and how fast.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TokenizeTotals {
    /// Records with a text, an empty one too.
    pub texts: u64,
    /// Records without a text.
    pub missing: u64,
    /// Records that could not be read.
    pub rejected: u64,
    /// Bytes of the texts.
    pub bytes: u64,
    /// Tokens with specials, before truncation.
    pub tokens: u64,
    /// Time of tokenizing alone.
    pub time: Duration,
    /// Threads that tokenized.
    pub threads: usize,
}

/// Tokenizes the inputs of `options`; `write` gets the JSON lines of a unit at a time, without the last line's end.
pub(crate) fn tokenize(
    options: &TokenizeOptions,
    terminal: Terminal,
    write: impl FnMut(&str),
) -> Result<TokenizeTotals> {
    let inputs = Arc::new(Inputs::find(&options.read, "none", Labels::OnDemand, UNIT_BYTES)?);
    let model = model::resolve(&options.model, &mut |event| say_event(terminal, &event))?;
    let tokenizer = Tokenizer::load(&model.dir, options.window())?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let pool = Pool::new(options.threads.map_or(cores, usize::from))?;
    inputs.describe(terminal);
    let totals = TokenizeTotals { threads: pool.threads(), ..TokenizeTotals::default() };
    let mut work = Work { tokenizer, pool, totals, lines: Vec::new(), write };
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
    threads.block_on(async {
        let mut units = std::pin::pin!(inputs.units());
        while let Some(unit) = units.next().await {
            let unit = unit?;
            let failed = |error| engine::Error::unit(unit.spec.source(), error);
            work.totals.rejected += unit.rejects().map_or(0, |rejects| rejects.num_rows() as u64);
            work.unit(&collect(unit.scan()?, task_context(None)).await.map_err(failed)?);
        }
        Ok::<(), Error>(())
    })?;
    let totals = work.totals;
    if totals.texts + totals.missing + totals.rejected == 0 {
        return Err(Error::NoRows { inputs: inputs.names(), stage: "tokenize" });
    }
    Ok(totals)
}

struct Work<W> {
    tokenizer: Tokenizer,
    pool: Pool,
    totals: TokenizeTotals,
    lines: Vec<u8>,
    write: W,
}

impl<W: FnMut(&str)> Work<W> {
    fn unit(&mut self, batches: &[RecordBatch]) {
        let texts: Vec<&str> =
            batches.iter().flat_map(|batch| batch["text"].as_string::<i32>().iter().flatten()).collect();
        let start = Instant::now();
        let tokenized = self.tokenizer.encode(&texts, &self.pool);
        self.totals.time += start.elapsed();
        self.totals.texts += texts.len() as u64;
        self.totals.bytes += texts.iter().map(|text| text.len() as u64).sum::<u64>();
        let mut next = 0..texts.len();
        for batch in batches {
            let (sources, rows) = (batch["source_file"].as_string::<i32>(), batch["row"].as_primitive::<UInt64Type>());
            for at in 0..batch.num_rows() {
                let index = if batch["text"].is_null(at) { None } else { next.next() };
                let n_tokens = index.map(|index| tokenized.n_tokens(index));
                self.totals.missing += u64::from(index.is_none());
                self.totals.tokens += n_tokens.map_or(0, u64::from);
                self.line(&Line {
                    source_file: sources.value(at),
                    row: rows.value(at),
                    n_tokens,
                    truncated: index.is_some_and(|index| tokenized.truncated(index)),
                    ids: index.map_or(&[], |index| tokenized.ids(index)),
                });
            }
        }
        if !self.lines.is_empty() {
            (self.write)(&String::from_utf8_lossy(&self.lines));
            self.lines.clear();
        }
    }

    fn line(&mut self, line: &Line) {
        if !self.lines.is_empty() {
            self.lines.push(b'\n');
        }
        serde_json::to_writer(&mut self.lines, line).expect("numbers and text serialise into memory; this is a bug");
    }
}
