//! Which precision, provider and plan run, out of what was asked for, what was tuned and what this CPU can do.
//!
//! Flags win over what `bertline tune` found, and that over rules of thumb from the machines that were measured. The
//! reason is kept: it is printed and goes into `run.json`.

use super::graph::Lowering;
use super::{
    DeviceChoice, Error, Gpus, Measured, Numerics, Plan, Precision, PrecisionChoice, Provider, ProviderChoice, Result,
    Tuned, library,
};

/// The cosine to fp32 that every text must keep for a precision to be taken without being asked for.
pub(super) const AUTO_COSINE: f64 = 0.9999;

/// Tokens of a GPU's micro-batches: hundreds of texts, which fill its multiprocessors.
const GPU_TOKENS: usize = 65_536;

/// Sessions of a GPU, so that one can compute while the other has its inputs and vectors copied.
const GPU_SESSIONS: usize = 2;

/// What was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// The precision.
    pub precision: PrecisionChoice,
    /// The device.
    pub device: DeviceChoice,
    /// The execution provider.
    pub provider: ProviderChoice,
    /// Threads in all; the machine's cores where nothing is said.
    pub threads: Option<usize>,
    /// Sessions that share them.
    pub sessions: Option<usize>,
    /// Tokens of a micro-batch.
    pub token_budget: Option<usize>,
    /// Whether the graph is a ready-made one, which is of standard operators.
    pub ready_made: bool,
    /// Whether the weights are so large that each session more is a matter of memory.
    pub large: bool,
}

/// What runs, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// The number format of the weight products.
    pub precision: Precision,
    /// Who computes.
    pub provider: Provider,
    /// The GPUs that compute; without, the CPU does.
    pub gpus: Option<Gpus>,
    /// How the machine is used.
    pub plan: Plan,
    /// Why this precision and provider.
    pub reason: String,
    /// Where the plan comes from: `default`, `tuned` or `flags`.
    pub plan_source: &'static str,
}

impl Wanted {
    /// Threads in all.
    pub fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
    }
}

impl Chosen {
    /// The device that computes, in the words of `--device`.
    pub fn device(&self) -> String {
        self.gpus.map_or_else(|| "cpu".to_owned(), |gpus| gpus.to_string())
    }

    /// The operators of the graph that runs.
    pub(super) fn lowering(&self) -> Lowering {
        Lowering::of(self.provider, self.precision)
    }

    /// How vectors are computed; `calibration` is the digest of an int8 encoder's.
    pub fn numerics(&self, calibration: Option<String>) -> Numerics {
        let floats = (self.precision == Precision::Int8).then(|| self.floats());
        Numerics { precision: self.precision, provider: self.provider.to_string(), calibration, floats }
    }

    /// The number format of all that is not quantised.
    pub(super) fn floats(&self) -> Precision {
        match (self.provider, self.precision) {
            (Provider::OpenVino, Precision::Int8) if library::cpu_has_bf16() => Precision::Bf16,
            (Provider::OpenVino, Precision::Int8) | (Provider::Mlas, _) => Precision::Fp32,
            (Provider::OpenVino | Provider::Packed | Provider::Cuda, floats) => floats,
        }
    }
}

/// Decides.
///
/// # Errors
/// A usage error where what was asked for is not to be had here.
pub fn choose(wanted: &Wanted, tuned: Option<&Tuned>) -> Result<Chosen> {
    if let Some(gpus) = wanted.device.gpus() {
        return choose_on(gpus, wanted);
    }
    let provider = wanted.provider;
    let fastest = |precision: Option<Precision>| {
        tuned?.fastest(|measured| {
            let runs = provider == ProviderChoice::Auto || provider == measured.provider.into();
            runs && match precision {
                Some(precision) => measured.precision == precision,
                None => measured.precision != Precision::Int8 && measured.worst_cosine >= AUTO_COSINE,
            }
        })
    };
    let (precision, tuned, reason) = match wanted.precision.named() {
        Some(precision) => (precision, fastest(Some(precision)), "asked for".to_owned()),
        None => match fastest(None) {
            Some(best) => (best.precision, Some(best), reason_of(best)),
            None => {
                let (precision, reason) = rule(provider);
                (precision, None, reason.to_owned())
            }
        },
    };
    let provider = match wanted.provider {
        ProviderChoice::OpenVino => Provider::OpenVino,
        ProviderChoice::Mlas => Provider::Mlas,
        ProviderChoice::Packed => Provider::Packed,
        ProviderChoice::Auto => {
            tuned.map_or_else(|| best_provider(precision, wanted.ready_made), |tuned| tuned.provider)
        }
    };
    check(provider, precision)?;
    if precision == Precision::Bf16 && !library::cpu_has_bf16() {
        return Err(Error::NoBf16);
    }
    let (plan, plan_source) = plan(wanted, precision, provider, tuned.map(|tuned| tuned.plan))?;
    Ok(Chosen { precision, provider, gpus: None, plan, reason, plan_source })
}

/// Decides on GPUs, for which nothing is tuned: each has sessions that take turns, and micro-batches large enough to fill it.
fn choose_on(gpus: Gpus, wanted: &Wanted) -> Result<Chosen> {
    if wanted.provider != ProviderChoice::Auto {
        return Err(Error::ProviderOfDevice { provider: wanted.provider, device: gpus });
    }
    let (precision, reason) = match wanted.precision.named() {
        Some(precision) if wanted.ready_made => return Err(Error::ReadyMadePrecision { precision }),
        Some(precision) => (precision, "asked for"),
        None if wanted.ready_made => (Precision::Fp32, "auto: a ready-made graph computes as its file says"),
        None => (Precision::Fp16, "auto: 16-bit floats on a GPU (worst cosine 0.999)"),
    };
    check(Provider::Cuda, precision)?;
    let token_budget = wanted.token_budget.unwrap_or(GPU_TOKENS);
    let plan_source = if wanted.token_budget.is_some() || wanted.sessions.is_some() { "flags" } else { "default" };
    let sessions = gpus.count() * wanted.sessions.unwrap_or(GPU_SESSIONS).max(1);
    // A GPU leaves the cores to the tokenizer, which has as many threads as all sessions.
    let plan = Plan { sessions, threads: wanted.threads().div_ceil(sessions), token_budget };
    let (provider, gpus, reason) = (Provider::Cuda, Some(gpus), reason.to_owned());
    Ok(Chosen { precision, provider, gpus, plan, reason, plan_source })
}

/// Refuses a precision that the provider does not have, instead of computing in another.
fn check(provider: Provider, precision: Precision) -> Result<()> {
    let known = provider.precisions();
    if known.contains(&precision) {
        return Ok(());
    }
    let known = known.iter().map(Precision::to_string).collect::<Vec<_>>().join(", ");
    let way = match precision {
        Precision::Fp16 => "fp16 is a GPU's: give `--device cuda`",
        Precision::Bf16 => "bf16 is the OpenVINO provider's: give `--provider openvino`",
        Precision::Int8 => "int8 is the CPU's: leave `--device` out",
        Precision::Fp32 => "every provider computes in fp32; this is a bug",
    };
    Err(Error::PrecisionOfProvider { precision, provider, known, way })
}

fn reason_of(best: &Measured) -> String {
    format!("auto: the fastest that was tuned here, {:.0} tokens/s", best.tokens_per_second)
}

/// What is best where nothing was tuned, by the machines that were measured.
fn rule(provider: ProviderChoice) -> (Precision, &'static str) {
    match library::cpu_has_bf16() && provider != ProviderChoice::Mlas {
        true => (Precision::Bf16, "auto: this CPU multiplies bf16 (worst cosine 0.9999 on MiniLM)"),
        false => (Precision::Fp32, "auto: no faster one keeps a cosine of 0.9999 here"),
    }
}

/// OpenVINO's kernels want AVX-512 for floats and VNNI for integers; without, ONNX Runtime's own are faster
/// (Zen 3: 9 % in fp32, and int8 on OpenVINO is slower than fp32; Zen 4 the other way round).
fn best_provider(precision: Precision, ready_made: bool) -> Provider {
    let feature = match precision {
        _ if ready_made => return Provider::OpenVino,
        Precision::Bf16 => return Provider::OpenVino,
        // Which only a GPU has; its graph on the CPU is one that has to be asked for.
        Precision::Fp16 => return Provider::Mlas,
        Precision::Fp32 => "avx512f",
        Precision::Int8 => "avx512_vnni",
    };
    if library::cpu_has(feature) { Provider::OpenVino } else { Provider::Mlas }
}

fn plan(
    wanted: &Wanted,
    precision: Precision,
    provider: Provider,
    tuned: Option<Plan>,
) -> Result<(Plan, &'static str)> {
    let threads = wanted.threads();
    let mut plan = tuned.unwrap_or_else(|| Plan::of(precision, provider, threads, wanted.large));
    let mut source = if tuned.is_some() { "tuned" } else { "default" };
    if let Some(sessions) = wanted.sessions {
        if sessions == 0 || !threads.is_multiple_of(sessions) {
            return Err(Error::Sessions { sessions, threads });
        }
        plan = Plan { sessions, threads: threads / sessions, ..plan };
        source = "flags";
    }
    if let Some(token_budget) = wanted.token_budget {
        plan.token_budget = token_budget;
        source = "flags";
    }
    Ok((plan, source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Host;

    fn tuned(rows: &[(Precision, Provider, f64, f64)]) -> Tuned {
        let host = Host { cpu: String::new(), cores: 2, features: Vec::new(), library: String::new() };
        let measured = rows.iter().map(|&(precision, provider, tokens_per_second, worst_cosine)| Measured {
            precision,
            provider,
            plan: Plan { sessions: 2, threads: 1, token_budget: 777 },
            tokens_per_second,
            worst_cosine,
        });
        Tuned::new(host, &crate::encode::identity::tests::identity(), 2, measured.collect())
    }

    #[test]
    fn auto_takes_the_fastest_that_is_faithful_and_never_int8() {
        let tuned = tuned(&[
            (Precision::Int8, Provider::Mlas, 9.0, 0.99999),
            (Precision::Fp32, Provider::OpenVino, 7.0, 0.999),
            (Precision::Fp32, Provider::Mlas, 5.0, 1.0),
        ]);
        let chosen = choose(&Wanted::default(), Some(&tuned)).unwrap();
        assert_eq!((chosen.precision, chosen.provider, chosen.plan_source), (Precision::Fp32, Provider::Mlas, "tuned"));
        assert!(chosen.reason.contains("5 tokens/s"), "{}", chosen.reason);
        let int8 = Wanted { precision: PrecisionChoice::Int8, ..Wanted::default() };
        assert_eq!(choose(&int8, Some(&tuned)).unwrap().precision, Precision::Int8);
    }

    #[test]
    fn flags_win_over_what_was_tuned() {
        let tuned = tuned(&[(Precision::Fp32, Provider::Mlas, 5.0, 1.0)]);
        let wanted = Wanted { threads: Some(4), sessions: Some(2), token_budget: Some(512), ..Wanted::default() };
        let chosen = choose(&wanted, Some(&tuned)).unwrap();
        assert_eq!(chosen.plan, Plan { sessions: 2, threads: 2, token_budget: 512 });
        assert_eq!(chosen.plan_source, "flags");
        let other = Wanted { provider: ProviderChoice::OpenVino, threads: Some(2), ..Wanted::default() };
        let chosen = choose(&Wanted { precision: PrecisionChoice::Fp32, ..other }, Some(&tuned)).unwrap();
        assert_eq!(
            (chosen.provider, chosen.plan),
            (Provider::OpenVino, Plan { sessions: 2, threads: 1, token_budget: 1024 })
        );
    }

    #[test]
    fn a_gpu_computes_in_16_bits_with_two_sessions_each() {
        let wanted = Wanted { device: "cuda:0,3".parse().unwrap(), threads: Some(15), ..Wanted::default() };
        let chosen = choose(&wanted, None).unwrap();
        assert_eq!((chosen.precision, chosen.provider), (Precision::Fp16, Provider::Cuda));
        assert_eq!((chosen.device().as_str(), chosen.plan.sessions, chosen.plan_source), ("cuda:0,3", 4, "default"));
        assert!(chosen.plan.token_budget >= 32_768);
        assert!(chosen.plan.sessions * chosen.plan.threads >= 15, "the tokenizer has all cores");
        let asked = choose(&Wanted { sessions: Some(3), ..wanted }, None).unwrap();
        assert_eq!((asked.plan.sessions, asked.plan_source), (6, "flags"));
        let asked = Wanted { precision: PrecisionChoice::Fp32, token_budget: Some(999), ..wanted };
        let chosen = choose(&asked, None).unwrap();
        assert_eq!((chosen.precision, chosen.plan.token_budget, chosen.plan_source), (Precision::Fp32, 999, "flags"));
        let ready_made = choose(&Wanted { ready_made: true, ..wanted }, None).unwrap();
        assert_eq!(ready_made.precision, Precision::Fp32);
    }

    #[test]
    fn providers_refuse_what_they_cannot_do() {
        assert!(check(Provider::Mlas, Precision::Fp32).is_ok());
        let error = check(Provider::Mlas, Precision::Bf16).unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("bf16 is the OpenVINO provider's"), "{error}");
    }

    #[test]
    fn what_is_not_to_be_had_is_a_usage_error() {
        let gpu: DeviceChoice = "cuda".parse().unwrap();
        let wrong = [
            Wanted { precision: PrecisionChoice::Fp16, ..Wanted::default() },
            Wanted { precision: PrecisionChoice::Bf16, provider: ProviderChoice::Mlas, ..Wanted::default() },
            Wanted { precision: PrecisionChoice::Int8, provider: ProviderChoice::Packed, ..Wanted::default() },
            Wanted { precision: PrecisionChoice::Int8, device: gpu, ..Wanted::default() },
            Wanted { precision: PrecisionChoice::Fp16, device: gpu, ready_made: true, ..Wanted::default() },
            Wanted { provider: ProviderChoice::Mlas, device: gpu, ..Wanted::default() },
            Wanted { threads: Some(3), sessions: Some(2), ..Wanted::default() },
            Wanted { threads: Some(2), sessions: Some(8), ..Wanted::default() },
        ];
        for wanted in wrong {
            assert!(choose(&wanted, None).unwrap_err().is_usage());
        }
    }
}
