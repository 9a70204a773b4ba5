//! The command `verify`: how far every way of computing is from fp32, one text at a time.
//!
//! What a careful user runs before trusting a precision or a GPU: precision x provider x micro-batch x threads, on texts of
//! their own, with the bounds that the run promises. With a head it also counts the texts whose label would change.

use std::sync::Arc;

use serde::Serialize;

use super::tune::{chosen, combinations, encode_all};
use crate::encode::{
    self, BatchPlan, Calibration, Chosen, Encoder, Fidelity, Precision, PrecisionChoice, Provider, Readout, Wanted,
};
use crate::evaluate::most_probable;
use crate::head::{Bundle, Head};
use crate::ingest::Clean;
use crate::pipeline::encoder::{Target, target_of, warn_of_cpu};
use crate::pipeline::inputs::sample;
use crate::pipeline::{Error, Result, VerifyOptions};
use crate::telemetry::Terminal;
use crate::tokenize::{Pool, Tokenized};

/// Token budgets of micro-batches; none is one text at a time.
const SHAPES: [Option<usize>; 4] = [None, Some(1024), Some(2048), Some(8192)];
/// The same on a GPU, up to what fills one.
const GPU_SHAPES: [Option<usize>; 4] = [None, Some(1024), Some(8192), Some(65_536)];

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verified {
    /// The number format.
    pub precision: Precision,
    /// The execution provider.
    pub provider: Provider,
    /// Tokens of a micro-batch; `None` where each text is alone.
    pub token_budget: Option<usize>,
    /// Threads of the session.
    pub threads: usize,
    /// The device that computed, in the words of `--device`.
    pub device: String,
    /// How far from fp32-alone.
    #[serde(flatten)]
    pub fidelity: Fidelity,
    /// The worst cosine to the same way of computing, one text at a time; `None` where this is it.
    pub worst_cosine_to_alone: Option<f64>,
    /// Texts whose label another vector changes; `None` without a head.
    pub label_flips: Option<usize>,
    /// The least worst cosine that is promised.
    pub bound_worst: f64,
    /// The least mean cosine that is promised.
    pub bound_mean: f64,
    /// Whether both hold.
    pub holds: bool,
}

/// The table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verification {
    /// Texts that were encoded.
    pub texts: usize,
    /// What all are compared with.
    pub reference: String,
    /// The lines.
    pub rows: Vec<Verified>,
}

impl Verification {
    /// Whether every bound holds.
    pub(crate) fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.holds)
    }
}

/// Compares.
pub(crate) fn verify(options: &VerifyOptions, terminal: Terminal) -> Result<Verification> {
    let bundle = options.head.as_deref().map(Bundle::load).transpose()?;
    let (target, clean) = encoder_of(options, bundle.as_ref(), terminal)?;
    let cores =
        options.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let texts = sample::texts(&options.sample, clean, options.limit as usize)?;
    let calibration = bundle.as_ref().and_then(|(bundle, _)| bundle.encoder.calibration.clone()).map(Arc::new);
    let ways = match options.device.gpus() {
        Some(_) => ways_on_gpus(&target, cores, options)?,
        None => ways_on_the_cpu(&target, cores, calibration.as_deref(), options, terminal)?,
    };
    if ways.is_empty() {
        return Err(Error::NothingToVerify {
            precision: options.precision.map_or_else(|| "any precision".to_owned(), |precision| precision.to_string()),
        });
    }
    let reference = if options.device.gpus().is_some() { Provider::Mlas } else { Provider::OpenVino };
    let mut table = Table::start(&target, &texts, cores, reference, bundle)?;
    let mut rows = Vec::new();
    for way in &ways {
        let Chosen { precision, provider, plan, .. } = way;
        terminal.status(&format!("verify: {precision} on {provider}, {} threads ...", plan.threads));
        rows.extend(table.compare(way, calibration.clone(), options, terminal)?);
    }
    Ok(Verification { texts: texts.len(), reference: table.reference_name(), rows })
}

/// What can run here, first with one thread and then with all, in one session.
fn ways_on_the_cpu(
    target: &Target,
    cores: usize,
    calibration: Option<&Calibration>,
    options: &VerifyOptions,
    terminal: Terminal,
) -> Result<Vec<Chosen>> {
    let mut combinations = match options.precision {
        // What a GPU computes, by the CPU's kernels: only where it is asked for.
        Some(Precision::Fp16) if target.is_built() => vec![(Precision::Fp16, Provider::Packed)],
        _ => combinations(target, cores, calibration)?,
    };
    for left_out in [Precision::Bf16, Precision::Int8] {
        if options.precision.is_none() && combinations.iter().all(|(precision, _)| *precision != left_out) {
            terminal.say(&format!("{left_out} is left out: it cannot run here, or has no calibration yet"));
        }
    }
    combinations.retain(|(precision, _)| options.precision.is_none_or(|only| only == *precision));
    let threads = if cores > 1 { vec![1, cores] } else { vec![1] };
    let ways = combinations.into_iter().flat_map(|(precision, provider)| {
        threads.iter().map(move |&threads| {
            let way = chosen(target, precision, provider, threads);
            Chosen { plan: way.plan.in_one_session(), ..way }
        })
    });
    Ok(ways.collect())
}

/// The precisions of a GPU, by the sessions that a run has. It must be there before minutes of reference are computed, by
/// its own ONNX Runtime, since a process has one.
fn ways_on_gpus(target: &Target, cores: usize, options: &VerifyOptions) -> Result<Vec<Chosen>> {
    let precisions = match options.precision {
        Some(only) => vec![only.into()],
        None if target.is_built() => vec![PrecisionChoice::Fp32, PrecisionChoice::Fp16],
        None => vec![PrecisionChoice::Auto],
    };
    let wanted = Wanted { device: options.device, threads: Some(cores), ..Wanted::default() };
    let ways = precisions.into_iter().map(|precision| target.choose(Wanted { precision, ..wanted }));
    let ways = ways.collect::<Result<Vec<_>>>()?;
    ways.first().map_or(Ok(()), encode::prove)?;
    Ok(ways)
}

/// The encoder to open, a head's own where one is given, and how its texts are cleaned.
fn encoder_of(options: &VerifyOptions, bundle: Option<&(Bundle, Head)>, terminal: Terminal) -> Result<(Target, Clean)> {
    let model = options.model.as_deref();
    if let (Some(dir), Some((bundle, _))) = (&options.head, bundle) {
        return Ok((target_of(bundle, dir, model, terminal)?, bundle.encoder.identity.clean));
    }
    let (model, window) = (model.unwrap_or(crate::model::DEFAULT_MODEL), (options.max_length as usize).into());
    Ok((Target::find(model, window, Clean::None, Readout::default(), terminal)?, Clean::None))
}

struct Table<'a> {
    target: &'a Target,
    tokenized: Tokenized,
    reference: Vec<f32>,
    cores: usize,
    /// Who computed the reference.
    provider: Provider,
    bundle: Option<(Bundle, Head)>,
    runtime: tokio::runtime::Runtime,
}

impl<'a> Table<'a> {
    fn start(
        target: &'a Target,
        texts: &[String],
        cores: usize,
        provider: Provider,
        bundle: Option<(Bundle, Head)>,
    ) -> Result<Table<'a>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Error::Runtime)?;
        let encoder = target.open(&chosen(target, Precision::Fp32, provider, cores), None)?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let tokenized = encoder.tokenizer().encode(&texts, &Pool::new(cores)?);
        let mut table = Table { target, tokenized, reference: Vec::new(), cores, provider, bundle, runtime };
        table.reference = table.alone(&encoder)?;
        Ok(table)
    }

    fn reference_name(&self) -> String {
        format!("fp32/{}, one text at a time, {} threads", self.provider, self.cores)
    }

    /// The vectors with each text in a micro-batch of its own, not a token wider than it is.
    fn alone(&self, encoder: &Encoder) -> Result<Vec<f32>> {
        let lengths = self.tokenized.lengths();
        let plans =
            lengths.iter().enumerate().map(|(row, &width)| BatchPlan { rows: vec![row], width: width as usize });
        let vectors = self.runtime.block_on(encoder.encode_texts(&self.tokenized, plans.collect()))?;
        match vectors.failed.first() {
            Some(failed) => Err(Error::Sample { reason: failed.reason.clone() }),
            None => Ok(vectors.values),
        }
    }

    fn compare(
        &mut self,
        way: &Chosen,
        calibration: Option<Arc<Calibration>>,
        options: &VerifyOptions,
        terminal: Terminal,
    ) -> Result<Vec<Verified>> {
        let encoder = self.target.open(way, calibration)?;
        warn_of_cpu(&encoder, terminal);
        let Chosen { precision, provider, plan, .. } = *way;
        let (worst, mean) = precision.promised_cosines();
        let (bound_worst, bound_mean) = (options.worst.unwrap_or(worst), options.mean.unwrap_or(mean));
        let alone = self.alone(&encoder)?;
        let row = |token_budget: Option<usize>| {
            let vectors = match token_budget {
                None => alone.clone(),
                Some(budget) => encode_all(&encoder, &self.runtime, &self.tokenized, budget)?.2,
            };
            let fidelity = Fidelity::of(&vectors, &self.reference, encoder.width());
            let to_alone = Fidelity::of(&vectors, &alone, encoder.width()).worst_cosine;
            let holds = fidelity.worst_cosine.min(to_alone) >= bound_worst && fidelity.mean_cosine >= bound_mean;
            let label_flips = self.bundle.as_ref().map(|(_, head)| flips(head, &vectors, &self.reference));
            Ok(Verified {
                precision,
                provider,
                token_budget,
                threads: plan.threads,
                device: way.device(),
                fidelity,
                worst_cosine_to_alone: token_budget.map(|_| to_alone),
                label_flips,
                bound_worst,
                bound_mean,
                holds,
            })
        };
        let (shapes, most) = match provider {
            Provider::Cuda => (GPU_SHAPES, usize::MAX),
            // Attention over packed tokens costs the square of their number where no operator does it.
            Provider::Packed => (SHAPES, 1024),
            Provider::OpenVino | Provider::Mlas => (SHAPES, usize::MAX),
        };
        shapes.into_iter().filter(|budget| budget.is_none_or(|budget| budget <= most)).map(row).collect()
    }
}

/// Texts whose most probable class differs.
fn flips(head: &Head, vectors: &[f32], reference: &[f32]) -> usize {
    let classes = head.classes();
    let best = |vectors: &[f32]| -> Vec<usize> {
        let probabilities = head.probabilities(vectors);
        let rows = probabilities.chunks_exact(classes);
        rows.map(most_probable).collect()
    };
    best(vectors).into_iter().zip(best(reference)).filter(|(a, b)| a != b).count()
}
