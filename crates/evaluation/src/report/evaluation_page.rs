//! The HTML page of an evaluation.

use super::{
    page::{escape, figure, page, table, tile},
    plot::{Bar, bars, confusion, reliability, scatter},
    short,
    table::{Line, Section, interval},
};
use crate::{
    figures::{Evaluation, PreferenceFigures, ScoreFigures},
    statistics::{Calibration, Estimate},
};

impl Evaluation {
    /// A self-contained page with plots.
    pub fn to_html(&self) -> String {
        let sections = self.sections().into_iter().map(section);
        let body: String = [self.tiles(), self.plots()]
            .into_iter()
            .chain(sections)
            .chain([self.without_verdict()])
            .collect();
        let lead = format!(
            "{} items of {}; intervals by {} draws of images from seed {}.",
            self.items, self.data, self.draws, self.seed
        );
        page(&format!("{} as a judge", self.model), &lead, &body)
    }

    /// The headline figures.
    fn tiles(&self) -> String {
        let Self { scores, preferences, groups, .. } = self;
        let (scores, preferences) = (scores.as_ref(), preferences.as_ref());
        let tiles = [
            tile("Pearson r of scores", scores.and_then(|found| found.pearson)),
            tile("Kendall tau-b of scores", scores.and_then(|found| found.kendall)),
            tile("Accuracy without ties", preferences.and_then(|found| found.accuracy_without_ties)),
            tile("Accuracy with ties", preferences.and_then(|found| found.accuracy_with_ties)),
            tile("Both orders agree", preferences.and_then(|found| found.consistent)),
            tile("A best one chosen", groups.as_ref().and_then(|found| found.top)),
        ];
        format!("<div class=\"tiles\">{}</div>", tiles.concat())
    }

    fn plots(&self) -> String {
        let scores = self.scores.iter().flat_map(plots_of_scores);
        let preferences = self.preferences.iter().flat_map(plots_of_preferences);
        let plots: String = scores.chain(preferences).chain(self.plot_of_biases()).collect();
        format!("<h2>At a glance</h2><div class=\"plots\">{plots}</div>")
    }

    /// The biases; `None` if there are none to show.
    fn plot_of_biases(&self) -> Option<String> {
        let scores = self.scores.iter().flat_map(of_scores);
        let biases: Vec<Bar<'_>> = scores
            .chain(self.preferences.iter().flat_map(of_preferences))
            .filter_map(|(name, estimate, neutral)| Some(Bar { name, estimate: estimate?, neutral }))
            .collect();
        let caption = "Each bar begins at the figure of a critic without that bias; the line over it is its 95 % \
                       interval.";
        (!biases.is_empty()).then(|| figure("Biases", &bars(&biases, (-1.0, 1.0)), caption))
    }

    /// The requests and rows without a verdict; empty if there are none.
    fn without_verdict(&self) -> String {
        let left_out = self.left_out.iter().map(|row| format!("row {}: {}", row.row, row.reason));
        let lost = self.failed.iter().cloned().chain(left_out);
        let lost: Vec<Vec<String>> = lost.map(|text| vec![text]).collect();
        if lost.is_empty() {
            return String::new();
        }
        format!("<h2>Without a verdict ({})</h2>{}", lost.len(), table(&["what was wrong"], &lost))
    }
}

/// The figures of one kind as a table.
fn section(Section { title, lines }: Section) -> String {
    let row = |Line { name, estimate, note }: Line| {
        vec![name, short(estimate.value), interval(estimate), estimate.count.to_string(), note.to_owned()]
    };
    let rows: Vec<_> = lines.into_iter().map(row).collect();
    let table = table(&["figure", "value", "95 % interval", "rows", "how to read it"], &rows);
    format!("<h2>{}</h2>{table}", escape(&title))
}

fn plots_of_scores(figures: &ScoreFigures) -> Vec<String> {
    let caption =
        "Each circle is one or more items; on the dashed line the critic gives the reference’s score.";
    let mut plots = vec![figure("Scores", &scatter(&figures.points), caption)];
    plots.extend(diagram("How sure of scores, how right", figures.calibration.as_ref()));
    plots
}

fn plots_of_preferences(figures: &PreferenceFigures) -> Vec<String> {
    let caption = "How often each label had each verdict, in one order; the blue diagonal is right.";
    let mut plots = vec![figure("Preferences", &confusion(&figures.confusion), caption)];
    plots.extend(diagram("How sure of preferences, how right", figures.calibration.as_ref()));
    plots
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
        ("bias of scores", figures.mean_signed_error, 0.0),
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
