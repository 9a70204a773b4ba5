//! Finds ranges on a sample of texts, measures what each product loses by them, and quantises what bears it.
//!
//! How much a product's rounding costs the CLS vector cannot be told from its own error: in MiniLM the product after
//! the first GELU costs twenty times what its neighbours do. So each is quantised alone, on the provider that will run,
//! and the ones that cost least for the work that they save are taken until the vectors are as far from fp32 as they may
//! be. Texts that were not looked at before judge the result.

use prost::Message as _;

use super::ranges::Seen;
use super::{Calibration, VERSION};
use crate::encode::graph::{self, Lowering, Site};
use crate::encode::interface::Interface;
use crate::encode::library::Library;
use crate::encode::model::{Description, Linear};
use crate::encode::precision::{INT8_MEAN_COSINE, INT8_WORST_COSINE};
use crate::encode::session::{Graph, Session, Settings};
use crate::encode::{BatchPlan, Error, Fidelity, MicroBatch, Precision, Readout, Result, plan_micro_batches};

/// Texts that a calibration is made from, and judged by, in equal parts.
pub(crate) const SAMPLE_TEXTS: usize = 96;
/// Texts on which the products are quantised one by one.
const PROBED: usize = 24;
/// What the cosines of single products promise is kept below the bound by this share: errors of many add up unevenly.
const CAUTION: f64 = 0.9;

/// What a calibration is made with.
pub(in crate::encode) struct Calibrator<'a> {
    pub library: &'a Library,
    pub description: &'a Description,
    /// The provider that will run, and its threads.
    pub settings: Settings,
    /// Fills rows up.
    pub pad: u32,
    /// Told what is being done, as a share of the whole.
    pub progress: &'a mut dyn FnMut(f64),
}

/// Products that take the same activation.
struct Group {
    site: Site,
    /// Multiplications a token.
    work: f64,
    /// 1 - mean cosine with this group alone quantised.
    cost: f64,
}

/// Calibrates an encoder on the ids of some texts.
///
/// # Errors
/// Where there are too few texts, or a session fails.
pub(in crate::encode) fn calibrate(with: Calibrator<'_>, encoder: &str, texts: &[Vec<u32>]) -> Result<Calibration> {
    if texts.len() < 2 {
        return Err(Error::TooFewTexts { found: texts.len() });
    }
    let (made_from, apart): (Vec<_>, Vec<_>) = texts.iter().cloned().enumerate().partition(|(index, _)| index % 2 == 0);
    let [made_from, apart] = [made_from, apart].map(|part| part.into_iter().map(|(_, ids)| ids).collect::<Vec<_>>());
    let mut groups = with.groups(&made_from)?;
    let probed = &made_from[..made_from.len().min(PROBED)];
    let exact = with.vectors(&[], probed)?;
    let count = groups.len() as f64;
    for (index, group) in groups.iter_mut().enumerate() {
        let found = with.vectors(std::slice::from_ref(&group.site), probed)?;
        group.cost = 1.0 - Fidelity::of(&found, &exact, with.description.hidden).mean_cosine;
        (with.progress)((index + 1) as f64 / (count + 2.0));
    }
    groups.sort_by(|a, b| (a.cost / a.work).total_cmp(&(b.cost / b.work)));
    let mut taken = affordable(&groups);
    let exact = with.vectors(&[], &apart)?;
    while taken > 0 {
        let sites: Vec<Site> = groups[..taken].iter().map(|group| group.site.clone()).collect();
        let found = with.vectors(&sites, &apart)?;
        let Fidelity { worst_cosine, mean_cosine, .. } = Fidelity::of(&found, &exact, with.description.hidden);
        if mean_cosine >= INT8_MEAN_COSINE && worst_cosine >= INT8_WORST_COSINE {
            let encoder = encoder.to_owned();
            return Ok(Calibration {
                version: VERSION,
                encoder,
                texts: made_from.len(),
                worst_cosine,
                mean_cosine,
                sites,
            });
        }
        taken -= 1;
    }
    Err(Error::NothingBearsInt8)
}

/// How many groups, cheapest first, stay within the bound together.
fn affordable(groups: &[Group]) -> usize {
    let mut left = (1.0 - INT8_MEAN_COSINE) * CAUTION;
    groups
        .iter()
        .take_while(|group| {
            left -= group.cost;
            left >= 0.0
        })
        .count()
}

impl<'a> Calibrator<'a> {
    /// All products that run over every token, with their ranges.
    fn groups(&self, texts: &[Vec<u32>]) -> Result<Vec<Group>> {
        let layers = &self.description.layers;
        let mut watched: Vec<(Vec<&'a Linear>, bool)> = Vec::new();
        for (index, layer) in layers.iter().enumerate() {
            if index + 1 == layers.len() {
                // All else of the last layer runs on the CLS row alone: nothing to be gained.
                watched.push((vec![&layer.key, &layer.value], true));
                continue;
            }
            watched.push((vec![&layer.query, &layer.key, &layer.value], true));
            watched.extend([(vec![&layer.output], false), (vec![&layer.up], true), (vec![&layer.down], false)]);
        }
        let seen = self.observe(&watched, texts)?;
        let group = |((linears, smoothed), seen): ((Vec<&'a Linear>, bool), Seen)| {
            // Smoothing folds into what a norm gives; a context or a GELU has its outliers in tokens, not channels.
            let smoothing = if smoothed { seen.smoothing(&largest_weights(&linears)) } else { Vec::new() };
            let narrowing = linears[0].inputs > linears[0].outputs;
            let (low, high) = if narrowing { seen.best_range() } else { seen.whole_range(&smoothing) };
            let work = linears.iter().map(|linear| (linear.inputs * linear.outputs) as f64).sum();
            let products = linears.iter().map(|linear| linear.name.clone()).collect();
            Group { site: Site { products, low, high, smoothing }, work, cost: 0.0 }
        };
        Ok(watched.into_iter().zip(seen).map(group).collect())
    }

    fn lowering(&self) -> Lowering {
        Lowering::of(self.settings.provider, Precision::Int8)
    }

    fn session(&self, graph: &[u8], floats: Precision) -> Result<Session> {
        let interface = Interface::built(
            graph::feeds(self.lowering(), Readout::default()),
            Readout::default(),
            self.description.hidden,
        );
        let settings = Settings { floats, ..self.settings };
        Session::open(self.library, Graph::Memory { name: "calibration", bytes: graph }, interface, settings)
    }

    /// The activations that go into these products, over all tokens of the texts.
    fn observe(&self, watched: &[(Vec<&Linear>, bool)], texts: &[Vec<u32>]) -> Result<Vec<Seen>> {
        let mut seen: Vec<Seen> = watched.iter().map(|(linears, _)| Seen::new(linears[0].inputs)).collect();
        let names: Vec<&str> = watched.iter().map(|(linears, _)| linears[0].name.as_str()).collect();
        let (model, taps) = graph::tapped(self.description, self.lowering(), &names);
        let mut session = self.session(&model.encode_to_vec(), Precision::Fp32)?;
        // One by one: padding is no activation that counts.
        for ids in texts {
            let plan = BatchPlan { rows: vec![0], width: ids.len() };
            let batch = MicroBatch::gather(&plan, self.pad, |_| ids);
            for (seen, values) in seen.iter_mut().zip(session.outputs(&batch, &taps)?) {
                seen.add(&values);
            }
        }
        Ok(seen)
    }

    /// The vectors of texts with these products quantised, row-major, in the texts' order.
    fn vectors(&self, sites: &[Site], texts: &[Vec<u32>]) -> Result<Vec<f32>> {
        let hidden = self.description.hidden;
        let model = graph::lower(self.description, Readout::default(), self.lowering(), sites);
        // The exact ones are fp32's, whatever the floats are beside the products in 8 bits.
        let floats = if sites.is_empty() { Precision::Fp32 } else { self.settings.floats };
        let mut session = self.session(&model.encode_to_vec(), floats)?;
        let lengths: Vec<u32> = texts.iter().map(|ids| ids.len() as u32).collect();
        let mut vectors = vec![0.0; texts.len() * hidden];
        for plan in plan_micro_batches(&lengths, 1024, 512) {
            let batch = MicroBatch::gather(&plan, self.pad, |row| &texts[row]);
            let rows = session.encode(&batch)?;
            for (&row, vector) in plan.rows.iter().zip(rows.chunks_exact(hidden)) {
                vectors[row * hidden..(row + 1) * hidden].copy_from_slice(vector);
            }
        }
        Ok(vectors)
    }
}

/// The largest weight of each input channel over products that take the same activation.
fn largest_weights(linears: &[&Linear]) -> Vec<f32> {
    let mut largest = vec![0f32; linears[0].inputs];
    for linear in linears {
        for (largest, row) in largest.iter_mut().zip(linear.weight.chunks_exact(linear.outputs)) {
            *largest = row.iter().fold(*largest, |most, weight| most.max(weight.abs()));
        }
    }
    largest
}
