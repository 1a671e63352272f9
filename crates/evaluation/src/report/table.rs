//! The figures as lines, for both the terminal and the page.

use std::fmt;

use super::short;
use crate::{
    figures::{Evaluation, GroupFigures, PreferenceFigures, ScoreFigures, Wording},
    statistics::{Calibration, Estimate},
};

/// A figure with its name and an explanation.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) estimate: Estimate,
    pub(crate) note: &'static str,
}

/// Figures of one kind.
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) lines: Vec<Line>,
}

impl Section {
    /// The same with the lines that scores and preferences have in common: other wordings, and the calibration of
    /// `count` verdicts.
    fn with(mut self, wordings: &[Wording], calibration: Option<&Calibration>, count: usize) -> Self {
        self.lines.extend(of_wordings(wordings));
        self.lines.extend(of_calibration(calibration, count));
        self
    }
}

/// Lines for the figures that are defined.
fn lines(figures: Vec<(&str, Option<Estimate>, &'static str)>) -> Vec<Line> {
    let line = |(name, estimate, note): (&str, Option<Estimate>, &'static str)| {
        Some(Line { name: name.to_owned(), estimate: estimate?, note })
    };
    figures.into_iter().filter_map(line).collect()
}

impl Evaluation {
    /// All figures, in order.
    pub(crate) fn sections(&self) -> Vec<Section> {
        let scores = self.scores.as_ref().map(of_scores);
        let preferences = self.preferences.as_ref().map(of_preferences);
        let groups = self.groups.as_ref().map(of_groups);
        [scores, preferences, groups].into_iter().flatten().collect()
    }
}

fn of_scores(figures: &ScoreFigures) -> Section {
    let lines = lines(vec![
        ("Pearson r", figures.pearson, "score and reference; 1 is best"),
        (
            "Pearson r, expected score",
            figures.pearson_expected,
            "with the mean of all scores by their probability",
        ),
        ("Spearman rho", figures.spearman, "the same of ranks"),
        ("Kendall tau-b", figures.kendall, "order of pairs, ties allowed for"),
        ("mean absolute error", figures.mean_absolute_error, "as part of the scale; 0 is best"),
        ("exact", figures.exact, "share of scores that are the reference's"),
        ("bias", figures.mean_signed_error, "mean score minus mean label; 0 is best"),
        ("length and score, r", figures.length_and_score, "beside the next line: what length alone earns"),
        ("length and reference, r", figures.length_and_reference, "what the labels have of it"),
    ]);
    let title = format!("Scores ({} items)", figures.count);
    Section { title, lines }.with(&figures.wordings, figures.calibration.as_ref(), figures.count)
}

fn of_preferences(figures: &PreferenceFigures) -> Section {
    let lines = lines(vec![
        ("accuracy with ties", figures.accuracy_with_ties, "one order, all pairs; of three verdicts"),
        (
            "accuracy without ties",
            figures.accuracy_without_ties,
            "one order, pairs that are no tie; a tie is wrong",
        ),
        ("both orders, with ties", figures.both_orders_with_ties, "by the mean of both orders"),
        ("both orders, without ties", figures.both_orders_without_ties, "by the mean of both orders"),
        ("ties found", figures.ties_found, "share of the labelled ties"),
        ("ties called", figures.ties_called, "share of all verdicts"),
        ("first place", figures.first_place, "share of its wins; 0.5 without a liking for a place"),
        ("orders agree", figures.consistent, "share of pairs with one winner in both orders"),
        ("longer chosen", figures.longer_chosen, "beside the next line: what length alone earns"),
        ("longer labelled", figures.longer_labelled, "what people have of it"),
        ("accuracy, longer is better", figures.accuracy_longer_better, "one order, no ties"),
        ("accuracy, shorter is better", figures.accuracy_shorter_better, "one order, no ties"),
    ]);
    let title = format!("Preferences ({} pairs, {} labelled ties)", figures.count, figures.labelled_ties);
    Section { title, lines }.with(&figures.wordings, figures.calibration.as_ref(), figures.count)
}

fn of_groups(figures: &GroupFigures) -> Section {
    let lines = lines(vec![
        ("worth of the chosen", figures.chosen, "mean over groups; a worth is the label of a response"),
        ("worth of all", figures.average, "what choosing blindly gives"),
        ("worth of the best", figures.best, "what choosing perfectly gives"),
        ("a best one chosen", figures.top, "share of groups"),
        ("Kendall tau-b in groups", figures.kendall, "rewards and worths, mean over groups"),
        ("edit distance of orders", figures.edit_distance, "0 is best"),
    ]);
    Section { title: format!("Best of several ({} groups)", figures.count), lines }
}

fn of_wordings(wordings: &[Wording]) -> Vec<Line> {
    let of_one = |wording: &Wording| {
        let name = |what: &str| format!("wording {:?}: {what}", wording.format);
        let line = |what: &str, estimate: Option<Estimate>, note: &'static str| {
            estimate.map(|estimate| Line { name: name(what), estimate, note })
        };
        [
            line("same", Some(wording.same), "share of verdicts as in the default wording"),
            line("distance", wording.distance, "mean of how far scores move, as part of the scale"),
            line("accuracy", wording.accuracy, "share of verdicts that are the label"),
        ]
    };
    wordings.iter().flat_map(of_one).flatten().collect()
}

fn of_calibration(calibration: Option<&Calibration>, count: usize) -> Option<Line> {
    let value = calibration?.expected_error;
    let estimate = Estimate { value, low: value, high: value, count };
    Some(Line {
        name: "calibration error".into(),
        estimate,
        note: "distance of confidence and accuracy; 0 is best",
    })
}

/// The interval as text; a dash if it has no width.
pub(crate) fn interval(estimate: Estimate) -> String {
    if estimate.low < estimate.high {
        format!("{} to {}", short(estimate.low), short(estimate.high))
    } else {
        "-".to_owned()
    }
}

/// The first lines of a report: what was judged, and the first requests without a verdict.
pub(crate) fn head(data: &str, model: &str, items: usize, failed: &[String]) -> String {
    let first = format!("{model} on {data}: {items} items, {} requests without a verdict\n", failed.len());
    let failures = failed.iter().take(3).map(|failure| format!("  {failure}\n"));
    std::iter::once(first).chain(failures).collect()
}

impl fmt::Display for Evaluation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&head(&self.data, &self.model, self.items, &self.failed))?;
        if let Some(first) = self.left_out.first() {
            writeln!(
                formatter,
                "{} rows left out; row {}: {}",
                self.left_out.len(),
                first.row,
                first.reason
            )?;
        }
        for Section { title, lines } in self.sections() {
            writeln!(formatter, "\n{title:<44} {:>7}  95 % interval", "")?;
            for Line { name, estimate, note } in lines {
                writeln!(
                    formatter,
                    "{name:<44} {:>7}  {:<17} {note}",
                    short(estimate.value),
                    interval(estimate)
                )?;
            }
        }
        Ok(())
    }
}
