//! The command `tune`: what is fastest for a model on this machine, measured and kept.
//!
//! Every provider and precision that can run here encodes the same texts, first with all threads in one session and
//! with one session a thread, then the better of these with other token budgets, where it may still win. Later runs
//! take what is kept; flags still win. `auto` takes the fastest precision that keeps the cosine.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::encode::{
    self, Calibration, Chosen, Encoder, Fidelity, Host, Measured, Plan, Precision, Provider, Readout, Tuned,
    cpu_has_bf16,
};
use crate::ingest::Clean;
use crate::pipeline::encoder::Target;
use crate::pipeline::inputs::sample;
use crate::pipeline::{Error, Result, TuneOptions};
use crate::telemetry::Terminal;
use crate::tokenize::{Pool, Tokenized};

/// Texts at most; a slow encoder gets as many as it encodes in a pass.
const TEXTS: usize = 96;
/// A pass takes about so long.
const PASS: Duration = Duration::from_millis(900);
/// Passes whose fastest counts, after one that warms up.
const PASSES: usize = 2;
/// A provider whose best sharing is slower than this share of the fastest in its precision is tried no further.
const WORTHWHILE: f64 = 0.85;
/// Token budgets that are tried beside the default one.
const BUDGETS: [usize; 3] = [512, 1024, 2048];

/// What was measured, and where it is kept.
#[derive(Debug, Serialize)]
pub(crate) struct Tuning {
    /// The measurements, fastest first.
    #[serde(flatten)]
    pub tuned: Tuned,
    /// The file that later runs read.
    pub kept: std::path::PathBuf,
    /// What a run without flags will take.
    pub auto: String,
}

/// Measures and keeps.
pub(crate) fn tune(options: &TuneOptions, terminal: Terminal) -> Result<Tuning> {
    let target =
        Target::find(&options.model, (options.max_length as usize).into(), Clean::None, Readout::default(), terminal)?;
    let threads =
        options.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let texts = sample::texts(&options.sample, Clean::None, TEXTS)?;
    let mut bench =
        Bench { target: &target, texts, threads, terminal, reference: None, taken: TEXTS, fastest: HashMap::new() };
    let mut measured = Vec::new();
    for (precision, provider) in combinations(&target, threads, None)? {
        match bench.tune(precision, provider) {
            Ok(found) => measured.extend(found),
            // Beside fp32, which all are compared with, one that cannot run leaves the others to be measured.
            Err(error) if !measured.is_empty() => terminal.warn(&format!("{precision} on {provider}: {error}")),
            Err(error) => return Err(error),
        }
    }
    let tuned = Tuned::new(Host::here()?, &target.identity, threads, measured);
    let kept = tuned.save(&target.graph_cache)?;
    let wanted = encode::Wanted { threads: Some(threads), ..encode::Wanted::default() };
    let chosen = encode::choose(&wanted, Some(&tuned))?;
    let auto = format!("{} on {}, {}", chosen.precision, chosen.provider, chosen.plan);
    Ok(Tuning { tuned, kept, auto })
}

/// What can run this model here; int8 only where a calibration is given, or kept already.
pub(crate) fn combinations(
    target: &Target,
    threads: usize,
    calibration: Option<&Calibration>,
) -> Result<Vec<(Precision, Provider)>> {
    let mut all = vec![(Precision::Fp32, Provider::OpenVino)];
    if target.is_built() {
        all.push((Precision::Fp32, Provider::Mlas));
    }
    if cpu_has_bf16() {
        all.push((Precision::Bf16, Provider::OpenVino));
    }
    for provider in [Provider::OpenVino, Provider::Mlas].into_iter().filter(|_| target.is_built()) {
        let chosen = chosen(target, Precision::Int8, provider, threads);
        if calibration.is_some() || target.kept_calibration(&chosen)?.is_some() {
            all.push((Precision::Int8, provider));
        }
    }
    Ok(all)
}

/// A combination with the plan that it has where nothing is tuned.
pub(crate) fn chosen(target: &Target, precision: Precision, provider: Provider, threads: usize) -> Chosen {
    let plan = target.default_plan(precision, provider, threads);
    Chosen { precision, provider, gpus: None, plan, reason: "measured".to_owned(), plan_source: "default" }
}

struct Bench<'a> {
    target: &'a Target,
    texts: Vec<String>,
    threads: usize,
    terminal: Terminal,
    /// The first combination's vectors, which are fp32.
    reference: Option<Vec<f32>>,
    /// Texts of a pass.
    taken: usize,
    /// Tokens a second of each precision so far, with the default token budget.
    fastest: HashMap<Precision, f64>,
}

impl Bench<'_> {
    /// The best plan of one precision and provider, and the others that were tried.
    fn tune(&mut self, precision: Precision, provider: Provider) -> Result<Vec<Measured>> {
        let base = self.target.default_plan(precision, provider, self.threads);
        let mut sharings = vec![(1, self.threads), (self.threads, 1), (base.sessions, base.threads)];
        sharings.sort_unstable();
        sharings.dedup();
        let mut measured: Vec<Measured> = Vec::new();
        let mut best: Option<(Encoder, f64)> = None;
        for (sessions, threads) in sharings {
            let plan = Plan { sessions, threads, ..base };
            let chosen =
                Chosen { precision, provider, gpus: None, plan, reason: "tuning".to_owned(), plan_source: "tuned" };
            let encoder = self.target.open(&chosen, None)?;
            let found = self.measure(&encoder, plan)?;
            let rate = found.tokens_per_second;
            measured.push(found);
            if best.as_ref().is_none_or(|(_, fastest)| *fastest < rate) {
                best = Some((encoder, rate));
            }
        }
        let Some((encoder, rate)) = best else { return Ok(measured) };
        let fastest = self.fastest.entry(precision).or_insert(rate);
        if rate < *fastest * WORTHWHILE {
            return Ok(measured);
        }
        *fastest = fastest.max(rate);
        for token_budget in BUDGETS.into_iter().filter(|budget| *budget != base.token_budget) {
            measured.push(self.measure(&encoder, Plan { token_budget, ..encoder.plan() })?);
        }
        Ok(measured)
    }

    /// How fast an encoder is with the token budget of `plan`.
    fn measure(&mut self, encoder: &Encoder, plan: Plan) -> Result<Measured> {
        let Chosen { precision, provider, .. } = *encoder.chosen();
        self.terminal.status(&format!("tune: {precision} on {provider}, {plan} ..."));
        let pool = Pool::new(self.threads)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Error::Runtime)?;
        let run = |texts: &[String]| -> Result<(f64, u64, Vec<f32>)> {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let tokenized = encoder.tokenizer().encode(&texts, &pool);
            encode_all(encoder, &runtime, &tokenized, plan.token_budget)
        };
        if self.reference.is_none() {
            self.taken = self.fitting(&run)?;
        }
        let texts = &self.texts[..self.taken];
        let (_, _, vectors) = run(texts)?;
        let mut best = 0f64;
        for _ in 0..PASSES {
            let (seconds, tokens, _) = run(texts)?;
            best = best.max(tokens as f64 / seconds);
        }
        let reference = self.reference.get_or_insert_with(|| vectors.clone());
        let worst_cosine = Fidelity::of(&vectors, reference, encoder.width()).worst_cosine;
        self.terminal.say(&format!(
            "{precision:<5} {provider:<13} {plan:<48} {best:>8.0} tokens/s, worst cosine {worst_cosine:.5}",
            plan = plan.to_string()
        ));
        Ok(Measured { precision, provider, plan, tokens_per_second: best, worst_cosine })
    }

    /// How many texts a pass may have.
    fn fitting(&self, run: &impl Fn(&[String]) -> Result<(f64, u64, Vec<f32>)>) -> Result<usize> {
        let few = self.texts.len().min(8);
        run(&self.texts[..few])?;
        let (seconds, ..) = run(&self.texts[..few])?;
        Ok(((PASS.as_secs_f64() / seconds * few as f64) as usize).clamp(few, self.texts.len()))
    }
}

/// Seconds, real tokens and vectors of texts.
pub(crate) fn encode_all(
    encoder: &Encoder,
    runtime: &tokio::runtime::Runtime,
    tokenized: &Tokenized,
    token_budget: usize,
) -> Result<(f64, u64, Vec<f32>)> {
    let plans = encoder.micro_batches_within(&tokenized.lengths(), token_budget);
    let clock = Instant::now();
    let vectors = runtime.block_on(encoder.encode_texts(tokenized, plans))?;
    match vectors.failed.first() {
        Some(failed) => Err(Error::Sample { reason: failed.reason.clone() }),
        None => Ok((clock.elapsed().as_secs_f64(), vectors.tokens, vectors.values)),
    }
}
