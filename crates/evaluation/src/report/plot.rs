//! Plots as SVG text; the page's style sheet defines the colours of their classes.

use std::{collections::BTreeMap, fmt::Write};

use super::{page::escape, short};
use crate::statistics::{Calibration, Estimate};

/// The side of a square plot's area, and the margin for axes (`MARGIN`), in pixels.
const SIDE: f64 = 260.0;
const MARGIN: f64 = 46.0;

/// A square plot from 0 to 1 in both directions.
struct Square {
    marks: String,
}

fn x(part: f64) -> f64 {
    MARGIN + part * SIDE
}

fn y(part: f64) -> f64 {
    12.0 + (1.0 - part) * SIDE
}

impl Square {
    fn new(horizontal: &str, vertical: &str) -> Self {
        let mut marks = String::new();
        for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
            let (at_x, at_y) = (x(part), y(part));
            marks += &format!(
                r#"<path class="grid" d="M{at_x} {} V{} M{} {at_y} H{}"/><text class="tick" x="{at_x}" y="{}" text-anchor="middle">{part}</text><text class="tick" x="{}" y="{}" text-anchor="end">{part}</text>"#,
                y(0.0),
                y(1.0),
                x(0.0),
                x(1.0),
                y(0.0) + 16.0,
                x(0.0) - 6.0,
                at_y + 4.0
            );
        }
        marks += &format!(
            r#"<path class="ideal" d="M{} {} L{} {}"/><text class="axis" x="{}" y="{}" text-anchor="middle">{horizontal}</text><text class="axis" transform="translate(12 {}) rotate(-90)" text-anchor="middle">{vertical}</text>"#,
            x(0.0),
            y(0.0),
            x(1.0),
            y(1.0),
            x(0.5),
            y(0.0) + 34.0,
            y(0.5)
        );
        Self { marks }
    }

    fn finish(self, title: &str) -> String {
        let (width, height) = (x(1.0) + 14.0, y(0.0) + 40.0);
        format!(
            r#"<svg role="img" aria-label="{title}" viewBox="0 0 {width} {height}" width="{width}" height="{height}">{}</svg>"#,
            self.marks
        )
    }
}

/// Reference and score of each item, both from 0 to 1. Equal points form one circle, whose area grows with
/// their number.
pub(crate) fn scatter(points: &[(f64, f64)]) -> String {
    let mut counts: BTreeMap<(i64, i64), usize> = BTreeMap::new();
    let cell = |part: f64| (part * 200.0).round() as i64;
    for (reference, score) in points {
        *counts.entry((cell(*reference), cell(*score))).or_default() += 1;
    }
    let most = counts.values().copied().max().unwrap_or(1) as f64;
    let mut plot = Square::new("reference score (part of the scale)", "critic’s score");
    for ((reference, score), count) in counts {
        let radius = 3.0 + 9.0 * (count as f64 / most).sqrt();
        let (reference, score) = (reference as f64 / 200.0, score as f64 / 200.0);
        let _ = write!(
            plot.marks,
            r#"<circle class="dot" cx="{:.1}" cy="{:.1}" r="{radius:.1}"><title>reference {reference}, score {score}: {count} items</title></circle>"#,
            x(reference),
            y(score)
        );
    }
    plot.finish("scores against reference scores")
}

/// The accuracy of each bin of confidence; the bars of a calibrated critic end on the diagonal.
pub(crate) fn reliability(calibration: &Calibration) -> String {
    let mut plot = Square::new("confidence", "share that is right");
    for bin in &calibration.bins {
        let (left, width) = (x(bin.low) + 1.0, (bin.high - bin.low) * SIDE - 2.0);
        let _ = write!(
            plot.marks,
            r#"<rect class="bar" x="{left:.1}" y="{:.1}" width="{width:.1}" height="{:.1}"><title>{} verdicts, confidence {}, right {}</title></rect><circle class="mark" cx="{:.1}" cy="{:.1}" r="3"/><text class="count" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            y(bin.accuracy),
            bin.accuracy * SIDE,
            bin.count,
            short(bin.confidence),
            short(bin.accuracy),
            x(bin.confidence),
            y(bin.accuracy),
            left + width / 2.0,
            y(0.0) - 4.0,
            bin.count
        );
    }
    plot.finish("reliability diagram")
}

/// Labels in rows, verdicts in columns; a cell is more opaque the larger its share of the row.
pub(crate) fn confusion(counts: &[[usize; 3]; 3]) -> String {
    const NAMES: [&str; 3] = ["first", "tie", "second"];
    const CELL: f64 = 76.0;
    const LEFT: f64 = 74.0;
    const TOP: f64 = 40.0;
    let mut marks = format!(
        r#"<text class="axis" x="{}" y="14" text-anchor="middle">critic’s verdict</text><text class="axis" transform="translate(12 {}) rotate(-90)" text-anchor="middle">label</text>"#,
        LEFT + 1.5 * CELL,
        TOP + 1.5 * CELL
    );
    for (index, name) in NAMES.iter().enumerate() {
        let middle = (index as f64 + 0.5) * CELL;
        marks += &format!(
            r#"<text class="tick" x="{}" y="32" text-anchor="middle">{name}</text><text class="tick" x="{}" y="{}" text-anchor="end">{name}</text>"#,
            LEFT + middle,
            LEFT - 8.0,
            TOP + middle + 4.0
        );
    }
    for (row, cells) in counts.iter().enumerate() {
        let all = cells.iter().sum::<usize>().max(1) as f64;
        for (column, count) in cells.iter().enumerate() {
            let part = *count as f64 / all;
            let (left, top) = (LEFT + column as f64 * CELL, TOP + row as f64 * CELL);
            let class = if row == column { "right" } else { "wrong" };
            marks += &format!(
                r#"<rect class="{class}" x="{}" y="{}" width="{}" height="{}" fill-opacity="{:.3}"/><text class="cell" x="{}" y="{}" text-anchor="middle">{count}</text><text class="count" x="{}" y="{}" text-anchor="middle">{:.0} %</text>"#,
                left + 1.0,
                top + 1.0,
                CELL - 2.0,
                CELL - 2.0,
                0.06 + 0.74 * part,
                left + CELL / 2.0,
                top + CELL / 2.0,
                left + CELL / 2.0,
                top + CELL / 2.0 + 18.0,
                part * 100.0
            );
        }
    }
    let (width, height) = (LEFT + 3.0 * CELL + 6.0, TOP + 3.0 * CELL + 6.0);
    format!(
        r#"<svg role="img" aria-label="labels and verdicts" viewBox="0 0 {width} {height}" width="{width}" height="{height}">{marks}</svg>"#
    )
}

/// A bar that starts at the unbiased value.
pub(crate) struct Bar<'a> {
    /// The name of the figure.
    pub(crate) name: &'a str,
    /// The figure.
    pub(crate) estimate: Estimate,
    /// The value without bias.
    pub(crate) neutral: f64,
}

/// Bars with their intervals, on an axis from `low` to `high`.
pub(crate) fn bars(bars: &[Bar<'_>], (low, high): (f64, f64)) -> String {
    const LEFT: f64 = 190.0;
    const WIDTH: f64 = 340.0;
    const ROW: f64 = 26.0;
    let at = |value: f64| LEFT + (value.clamp(low, high) - low) / (high - low) * WIDTH;
    let bottom = bars.len() as f64 * ROW + 8.0;
    let mut marks = String::new();
    for tick in 0..=4 {
        let value = low + (high - low) * f64::from(tick) / 4.0;
        marks += &format!(
            r#"<path class="grid" d="M{0:.1} 4 V{bottom}"/><text class="tick" x="{0:.1}" y="{1}" text-anchor="middle">{value}</text>"#,
            at(value),
            bottom + 14.0
        );
    }
    for (index, bar) in bars.iter().enumerate() {
        let middle = (index as f64 + 0.5) * ROW + 4.0;
        let (from, to) =
            (at(bar.neutral).min(at(bar.estimate.value)), at(bar.neutral).max(at(bar.estimate.value)));
        let _ = write!(
            marks,
            r#"<text class="tick" x="{}" y="{}" text-anchor="end">{}</text><rect class="bar" x="{from:.1}" y="{}" width="{:.1}" height="12"/><path class="whisker" d="M{:.1} {middle} H{:.1}"/><path class="neutral" d="M{:.1} {} v20"/><text class="value" x="{}" y="{}">{}</text>"#,
            LEFT - 8.0,
            middle + 4.0,
            escape(bar.name),
            middle - 6.0,
            (to - from).max(1.0),
            at(bar.estimate.low),
            at(bar.estimate.high),
            at(bar.neutral),
            middle - 10.0,
            LEFT + WIDTH + 8.0,
            middle + 4.0,
            short(bar.estimate.value)
        );
    }
    let (width, height) = (LEFT + WIDTH + 60.0, bottom + 22.0);
    format!(
        r#"<svg role="img" aria-label="bars" viewBox="0 0 {width} {height}" width="{width}" height="{height}">{marks}</svg>"#
    )
}

#[cfg(test)]
mod tests {
    use super::{Bar, Estimate, bars};

    #[test]
    fn the_name_of_a_bar_is_text() {
        let estimate = Estimate { value: 0.5, low: 0.4, high: 0.6, count: 9 };
        let svg = bars(&[Bar { name: "\"a\" < b & c", estimate, neutral: 0.0 }], (0.0, 1.0));
        assert!(svg.contains(">&quot;a&quot; &lt; b &amp; c</text>"), "{svg}");
    }
}
