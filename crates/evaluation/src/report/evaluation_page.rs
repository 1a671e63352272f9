//! The HTML page of an evaluation.

use super::{
    page::{figure, page, table, tile},
    plot::{Bar, bars, confusion, reliability, scatter},
    short,
    table::{Line, Section, interval},
};
use crate::{
    Evaluation,
    figures::{PreferenceFigures, ScoreFigures},
    statistics::{Calibration, Estimate},
};

impl Evaluation {
    /// A self-contained page with plots.
    pub fn to_html(&self) -> String {
        let scores = self.scores.as_ref();
        let preferences = self.preferences.as_ref();
        let groups = self.groups.as_ref();
        let tiles = [
            tile("Pearson r of scores", scores.and_then(|found| found.pearson)),
            tile("Kendall tau-b of scores", scores.and_then(|found| found.kendall)),
            tile("Accuracy without ties", preferences.and_then(|found| found.accuracy_without_ties)),
            tile("Accuracy with ties", preferences.and_then(|found| found.accuracy_with_ties)),
            tile("Both orders agree", preferences.and_then(|found| found.consistent)),
            tile("A best one chosen", groups.and_then(|found| found.top)),
        ];
        let mut body = format!("<div class=\"tiles\">{}</div>", tiles.concat());
        let mut plots = Vec::new();
        if let Some(found) = scores {
            plots.push(figure(
                "Scores",
                &scatter(&found.points),
                "Each circle is one or more items; on the dashed line the critic gives the reference’s score.",
            ));
            plots.extend(diagram("How sure of scores, how right", found.calibration.as_ref()));
        }
        if let Some(found) = preferences {
            let caption = "How often each label had each verdict, in one order; the blue diagonal is right.";
            plots.push(figure("Preferences", &confusion(&found.confusion), caption));
            plots.extend(diagram("How sure of preferences, how right", found.calibration.as_ref()));
        }
        let biases = [scores.map(of_scores), preferences.map(of_preferences)].into_iter().flatten().flatten();
        let biases: Vec<Bar<'_>> = biases
            .filter_map(|(name, estimate, neutral)| Some(Bar { name, estimate: estimate?, neutral }))
            .collect();
        if !biases.is_empty() {
            let caption = "Each bar begins at the figure of a critic without that bias; the line over it is its 95 % interval.";
            plots.push(figure("Biases", &bars(&biases, (-1.0, 1.0)), caption));
        }
        body += &format!("<h2>At a glance</h2><div class=\"plots\">{}</div>", plots.concat());
        for Section { title, lines } in self.sections() {
            body += &format!("<h2>{}</h2>", super::page::escape(&title));
            let row = |Line { name, estimate, note }: Line| {
                vec![
                    name,
                    short(estimate.value),
                    interval(estimate),
                    estimate.count.to_string(),
                    note.to_owned(),
                ]
            };
            let rows: Vec<_> = lines.into_iter().map(row).collect();
            body += &table(&["figure", "value", "95 % interval", "rows", "how to read it"], &rows);
        }
        let lost = self.failed.iter().cloned();
        let lost = lost.chain(self.left_out.iter().map(|row| format!("row {}: {}", row.row, row.reason)));
        let lost: Vec<Vec<String>> = lost.map(|text| vec![text]).collect();
        if !lost.is_empty() {
            body +=
                &format!("<h2>Without a verdict ({})</h2>{}", lost.len(), table(&["what was wrong"], &lost));
        }
        let lead = format!(
            "{} items of {}; intervals by {} draws of images from seed {}.",
            self.items, self.data, self.draws, self.seed
        );
        page(&format!("{} as a judge", self.model), &lead, &body)
    }
}

fn diagram(title: &str, calibration: Option<&Calibration>) -> Option<String> {
    let calibration = calibration?;
    let caption = format!(
        "Bars on the dashed line: as often right as sure. Small numbers are verdicts. Expected error {}.",
        short(calibration.expected_error)
    );
    Some(figure(title, &reliability(calibration), &caption))
}

type Bias = (&'static str, Option<Estimate>, f64);

fn of_scores(figures: &ScoreFigures) -> Vec<Bias> {
    let labelled = figures.length_and_reference.map_or(0.0, |found| found.value);
    vec![
        ("mildness of scores", figures.mildness, 0.0),
        ("length and score, r", figures.length_and_score, labelled),
    ]
}

fn of_preferences(figures: &PreferenceFigures) -> Vec<Bias> {
    let labelled = figures.longer_labelled.map_or(0.5, |found| found.value);
    vec![
        ("wins of the first place", figures.first_place, 0.5),
        ("longer chosen", figures.longer_chosen, labelled),
    ]
}
