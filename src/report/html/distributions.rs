//! Where lengths and scores lie, added up row by row, so that a run of any size can be drawn.

use maud::{Markup, html};

use super::plot::{Bars, Frame, bars, up_to};

/// Tokens of a bar.
const TOKENS: u32 = 25;
/// Bars of lengths; the last one holds all that is longer.
const LENGTHS: usize = 40;
/// Bars of scores.
const SCORES: usize = 20;

/// Histograms of what a run met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Distributions {
    max_length: Option<u32>,
    lengths: [u64; LENGTHS],
    scores: [u64; SCORES],
}

impl Distributions {
    /// Nothing yet; `max_length` is where texts are cut.
    pub(crate) fn new(max_length: Option<u32>) -> Distributions {
        Distributions { max_length, lengths: [0; LENGTHS], scores: [0; SCORES] }
    }

    /// Adds a text of so many tokens.
    pub(crate) fn add_length(&mut self, tokens: u32) {
        self.lengths[((tokens / TOKENS) as usize).min(LENGTHS - 1)] += 1;
    }

    /// Adds an answer of this probability.
    pub(crate) fn add_score(&mut self, probability: f32) {
        self.scores[((f64::from(probability) * SCORES as f64) as usize).min(SCORES - 1)] += 1;
    }

    pub(super) fn section(&self) -> Markup {
        let any = |counts: &[u64]| counts.iter().any(|rows| *rows > 0);
        html! {
            @if any(&self.lengths) || any(&self.scores) {
                section {
                    h2 { "Texts and answers" }
                    div.plots {
                        @if any(&self.lengths) { (self.draw_lengths()) }
                        @if any(&self.scores) { (self.draw_scores()) }
                    }
                }
            }
        }
    }

    fn draw_lengths(&self) -> Markup {
        let used = self.lengths.iter().rposition(|rows| *rows > 0).map_or(1, |last| last + 1);
        let cut = self.max_length.map(f64::from);
        let end = (used as f64 * f64::from(TOKENS)).max(cut.unwrap_or(0.0) + f64::from(TOKENS));
        let caption = match self.max_length {
            Some(max) => format!("Tokens of a text; cut at {max} (the line)"),
            None => "Tokens of a text".to_owned(),
        };
        let frame = Frame {
            caption: &caption,
            alt: format!("histogram of text lengths up to {} tokens and more", used as u32 * TOKENS),
            x: "tokens",
            y: "rows",
            x_range: 0.0..end,
            y_range: up_to(self.lengths.iter().map(|rows| *rows as f64)),
        };
        bars(&frame, &[series(&self.lengths[..used], f64::from(TOKENS))], cut)
    }

    fn draw_scores(&self) -> Markup {
        let frame = Frame {
            caption: "Probability of the given label",
            alt: "histogram of the largest probability of each row".to_owned(),
            x: "probability",
            y: "rows",
            x_range: 0.0..1.0,
            y_range: up_to(self.scores.iter().map(|rows| *rows as f64)),
        };
        bars(&frame, &[series(&self.scores, 1.0 / SCORES as f64)], None)
    }
}

fn series(counts: &[u64], width: f64) -> Bars {
    let bar = |(at, rows): (usize, &u64)| (at as f64 * width..(at + 1) as f64 * width, 0.0..*rows as f64);
    Bars { name: "rows".to_owned(), bars: counts.iter().enumerate().map(bar).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_score_has_a_bar() {
        let mut found = Distributions::new(Some(250));
        [0, 24, 25, 1_000_000].into_iter().for_each(|tokens| found.add_length(tokens));
        [0.0, 0.049, 1.0].into_iter().for_each(|probability| found.add_score(probability));
        assert_eq!((found.lengths[0], found.lengths[1], found.lengths[LENGTHS - 1]), (2, 1, 1));
        assert_eq!((found.scores[0], found.scores[SCORES - 1]), (2, 1));
        let drawn = found.section().into_string();
        assert!(drawn.contains("cut at 250") && drawn.matches("<svg").count() == 2);
        assert!(Distributions::new(None).section().into_string().is_empty());
    }
}
