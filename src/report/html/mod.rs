//! `report.html`: what a stage did and how good it is, on one page that needs nothing else.
//!
//! Everything on it is also in `run.json`, `evaluation.json` or `bundle.json`; the page is for people, to be read on a
//! phone, printed, and signed. Texts and labels are somebody else's: the template escapes every one of them.

mod distributions;
mod plot;
mod quality;
mod run;
mod training;

use maud::{DOCTYPE, Markup, PreEscaped, html};

pub(crate) use distributions::Distributions;

use crate::cache::UnitRecord;
use crate::evaluate::Evaluation;
use crate::head::TrainingReport;
use crate::report::RunReport;

const STYLE: &str = include_str!("style.css");

/// What a page is made of; whatever is there gets its section.
pub(crate) struct Page<'a> {
    /// Its output folder.
    pub out: String,
    /// Its `run.json`.
    pub run: &'a RunReport,
    /// The units that it committed, in order.
    pub units: &'a [UnitRecord],
    /// How a head was trained.
    pub training: Option<&'a TrainingReport>,
    /// How good it is.
    pub evaluation: Option<&'a Evaluation>,
    /// Where lengths and scores lie.
    pub distributions: Option<&'a Distributions>,
}

impl Page<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let title = format!("bertline {}: {}", self.run.stage.command(), self.out);
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        h1 { (title) }
                        p.sub { (self.subtitle()) }
                    }
                    main {
                        @if let Some(evaluation) = self.evaluation { (quality::section(evaluation)) }
                        @if let Some(training) = self.training { (training::section(training, self.run)) }
                        @if let Some(distributions) = self.distributions { (distributions.section()) }
                        (run::section(self.run, self.units))
                    }
                }
            }
        };
        page.into_string()
    }

    fn subtitle(&self) -> String {
        let RunReport { started, version, encoder, .. } = self.run;
        let known = |text: &Option<String>| text.clone().unwrap_or_default();
        let parts = [started.clone(), format!("bertline {version}"), known(&encoder.model), known(&encoder.numerics)];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
    }
}

/// A figure that matters, with what it is.
fn card(value: &str, name: &str) -> Markup {
    html! { div.card { b { (value) } span { (name) } } }
}

/// A table that scrolls by itself where the page is narrow.
fn table(heads: &[&str], rows: &[Vec<String>]) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr { @for head in heads { th { (head) } } } }
                tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
            }
        }
    }
}

/// A count with its thousands apart.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join("\u{202f}")
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_missing_has_no_section_and_names_are_escaped() {
        let run: RunReport = serde_json::from_value(serde_json::json!({
            "command": "embed", "rows_in": 3, "started": "now", "rejected": { "a reason": 1 }, "rows_rejected": 1,
            "inputs": [{ "path": "<b>", "files": 1, "bytes": 2, "digest": "d" }],
        }))
        .unwrap();
        let page = Page {
            out: "</title><script>alert(1)</script>".to_owned(),
            run: &run,
            units: &[],
            training: None,
            evaluation: None,
            distributions: None,
        };
        let html = page.render();
        assert!(!html.contains("<script") && html.contains("&lt;script&gt;"), "{html}");
        assert!(html.contains("&lt;b&gt;") && !html.contains("Confusion"), "{html}");
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
    }
}
