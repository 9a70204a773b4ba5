//! Plots as inline SVG, in colours that the page's style sheet maps to light and dark.
//!
//! No text of a review or label ever gets into an SVG: axes have fixed names, legends are HTML beside the plot.

use std::ops::Range;

use maud::{Markup, PreEscaped, html};
use plotters::prelude::*;

/// Pixels of a plot; the style sheet scales it.
const SIZE: (u32, u32) = (460, 310);
/// These colours stand for the variables of the style sheet.
const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
/// Series in their order.
pub(super) const SERIES: [RGBColor; 6] = [
    RGBColor(1, 0, 11),
    RGBColor(1, 0, 12),
    RGBColor(1, 0, 13),
    RGBColor(1, 0, 14),
    RGBColor(1, 0, 15),
    RGBColor(1, 0, 16),
];

/// A plot in words: what it shows, and what its axes are.
pub(super) struct Frame<'a> {
    pub caption: &'a str,
    /// What there is to see, for those who cannot.
    pub alt: String,
    pub x: &'a str,
    pub y: &'a str,
    pub x_range: Range<f64>,
    pub y_range: Range<f64>,
}

/// A line with its name.
pub(super) struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// Bars side by side, or on top of one another.
pub(super) struct Bars {
    pub name: String,
    /// Where each bar begins and ends, and its bottom and top.
    pub bars: Vec<(Range<f64>, Range<f64>)>,
}

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;
type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

/// Lines; `diagonal` adds what chance, or perfection, would be.
pub(super) fn lines(frame: &Frame<'_>, lines: &[Line], diagonal: bool) -> Markup {
    let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
    figure(frame, &names, |chart| {
        if diagonal {
            chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], GRID.stroke_width(2)))?;
        }
        for (line, colour) in lines.iter().zip(SERIES.iter().cycle()) {
            chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
            if line.points.len() < 60 {
                let dots = line.points.iter().map(|point| Circle::new(*point, 3, colour.filled()));
                chart.draw_series(dots)?;
            }
        }
        Ok(())
    })
}

/// Bars; `mark` draws a vertical line there.
pub(super) fn bars(frame: &Frame<'_>, series: &[Bars], mark: Option<f64>) -> Markup {
    let names: Vec<&str> = series.iter().map(|bars| bars.name.as_str()).collect();
    figure(frame, &names, |chart| {
        for (bars, colour) in series.iter().zip(SERIES.iter().cycle()) {
            let rectangle = |(x, y): &(Range<f64>, Range<f64>)| {
                Rectangle::new([(x.start, y.start), (x.end, y.end)], colour.filled())
            };
            chart.draw_series(bars.bars.iter().map(rectangle))?;
        }
        if let Some(at) = mark {
            let line = [(at, frame.y_range.start), (at, frame.y_range.end)];
            chart.draw_series(LineSeries::new(line, INK.stroke_width(2)))?;
        }
        Ok(())
    })
}

fn figure(frame: &Frame<'_>, names: &[&str], draw: impl FnOnce(&mut Chart<'_, '_>) -> Drawn) -> Markup {
    let mut svg = String::new();
    // Writing to a string cannot fail, and ranges that cannot be drawn are none that a report has.
    let drawn = chart(&mut svg, frame, draw);
    html! {
        figure {
            figcaption { (frame.caption) }
            @if drawn.is_ok() {
                div role="img" aria-label=(frame.alt) { (PreEscaped(&svg)) }
            } @else {
                p { "This plot could not be drawn." }
            }
            @if names.len() > 1 {
                ul.legend {
                    @for (at, name) in names.iter().enumerate() {
                        li { span class=(format!("swatch s{}", at % SERIES.len())) {} (name) }
                    }
                }
            }
        }
    }
}

fn chart(svg: &mut String, frame: &Frame<'_>, draw: impl FnOnce(&mut Chart<'_, '_>) -> Drawn) -> Drawn {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(frame.x_range.clone(), frame.y_range.clone())?;
    let text = ("sans-serif", 15).into_font().color(&INK);
    chart
        .configure_mesh()
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .label_style(text.clone())
        .axis_desc_style(text)
        .x_desc(frame.x)
        .y_desc(frame.y)
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .draw()?;
    draw(&mut chart)?;
    area.present()
}

/// A number as an axis has it.
pub(super) fn short(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1e6 {
        format!("{}M", trimmed(value / 1e6))
    } else if magnitude >= 1e4 {
        format!("{}k", trimmed(value / 1e3))
    } else {
        trimmed(value)
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A range from 0 that holds all values, with a little room; never empty.
pub(super) fn up_to(values: impl Iterator<Item = f64>) -> Range<f64> {
    let highest = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
    0.0..if highest > 0.0 { highest * 1.05 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_ranges_are_never_empty() {
        assert_eq!(["0", "0.5", "2500", "25k", "1.5M"], [0.0, 0.5, 2500.0, 25_000.0, 1_500_000.0].map(short));
        assert_eq!(up_to([].into_iter()), 0.0..1.0);
        assert_eq!(up_to([f64::NAN, 2.0].into_iter()), 0.0..2.1);
    }

    #[test]
    fn a_plot_says_in_words_what_it_shows_and_escapes_its_legend() {
        let frame = Frame {
            caption: "c",
            alt: "the \"loss\" falls".to_owned(),
            x: "epoch",
            y: "loss",
            x_range: 0.0..2.0,
            y_range: 0.0..1.0,
        };
        let line = |name: &str| Line { name: name.to_owned(), points: vec![(0.0, 1.0), (2.0, 0.1)] };
        let drawn = lines(&frame, &[line("<script>"), line("b")], true).into_string();
        assert!(drawn.contains("<svg") && drawn.contains("aria-label=\"the &quot;loss&quot; falls\""), "{drawn}");
        assert!(drawn.contains("&lt;script&gt;") && !drawn.contains("<script"), "{drawn}");
    }
}
