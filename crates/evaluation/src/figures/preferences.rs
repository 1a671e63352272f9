//! Preferences compared with those of people.

use std::cmp::Ordering;

use rubric::Preference;
use serde::Serialize;

use super::{BINS, Compared, Wording, one, verdict_of, wording_of};
use crate::{
    answer::{Verdict, answer},
    item::{Item, Label},
    statistics::{Calibration, Estimate},
};

/// How well a critic compares two responses.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PreferenceFigures {
    /// The number of pairs with a verdict.
    pub count: usize,
    /// The number of these that are labelled as ties.
    pub labelled_ties: usize,
    /// The share of single-order verdicts, of both orders, that match the label; ties included.
    pub accuracy_with_ties: Option<Estimate>,
    /// The share of single-order verdicts that match the label among pairs that are not labelled as ties; a tie as
    /// the verdict counts as wrong.
    pub accuracy_without_ties: Option<Estimate>,
    /// The share of verdicts by the mean of both orders that match the label; ties included.
    pub both_orders_with_ties: Option<Estimate>,
    /// The share of verdicts by the mean of both orders that match the label, among pairs that are not labelled
    /// as ties.
    pub both_orders_without_ties: Option<Estimate>,
    /// The share of ties among the labelled ties.
    pub ties_found: Option<Estimate>,
    /// The share of ties among all verdicts.
    pub ties_called: Option<Estimate>,
    /// The share of verdicts for the first place among those that are not ties, in both orders: 0.5 without a
    /// bias.
    pub first_place: Option<Estimate>,
    /// The share of pairs with the same winner in both orders.
    pub consistent: Option<Estimate>,
    /// The share of verdicts for the longer response, among those that are not ties, in both orders.
    pub longer_chosen: Option<Estimate>,
    /// The share of labels for the longer response: people's own bias.
    pub longer_labelled: Option<Estimate>,
    /// Accuracy where the longer response is better.
    pub accuracy_longer_better: Option<Estimate>,
    /// Accuracy where the shorter response is better.
    pub accuracy_shorter_better: Option<Estimate>,
    /// How verdicts in other prompt formats compare.
    pub wordings: Vec<Wording>,
    /// The probability of verdicts compared with how often they match the label.
    pub calibration: Option<Calibration>,
    /// The number of verdicts, in the given order, by label (row) and verdict (column): first, tie, second.
    pub confusion: [[usize; 3]; 3],
}

#[derive(Debug, Clone)]
struct Row {
    label: Preference,
    /// The verdicts in the given and the reversed order, both relative to the given one.
    orders: [Preference; 2],
    both: Preference,
    confidence: Option<f64>,
    /// The longer response; `None` if both are equally long.
    longer: Option<Preference>,
}

impl Row {
    fn new(item: &Item, verdict: &Verdict) -> Option<Self> {
        let Label::Preference { responses, better } = &item.label else { return None };
        let [given, turned] = verdict.orders()?;
        let [first, second] = responses.each_ref().map(|response| response.chars().count());
        let longer = match first.cmp(&second) {
            Ordering::Greater => Some(Preference::First),
            Ordering::Less => Some(Preference::Second),
            Ordering::Equal => None,
        };
        Some(Self {
            label: *better,
            orders: [given.preference()?, turned.preference()?.turned()],
            both: verdict.preference()?,
            confidence: given.confidence(),
            longer,
        })
    }

    fn decided(&self) -> Option<&Self> {
        (self.label != Preference::Tie).then_some(self)
    }

    /// The numbers of the verdicts of both orders that satisfy `says` and of all, of those that are not ties; `None`
    /// if all are.
    fn count_decided(&self, says: impl Fn(usize, Preference) -> bool) -> Option<(usize, usize)> {
        let decided = self.orders.iter().enumerate().filter(|(_, verdict)| **verdict != Preference::Tie);
        let told: Vec<bool> = decided.map(|(order, verdict)| says(order, *verdict)).collect();
        (!told.is_empty()).then(|| (told.iter().filter(|told| **told).count(), told.len()))
    }

    /// The share of ties among the verdicts of both orders.
    fn ties(&self) -> f64 {
        self.orders.iter().map(|verdict| one(*verdict == Preference::Tie)).sum::<f64>() / 2.0
    }

    /// The share of the verdicts of both orders that match the label.
    fn right(&self) -> f64 {
        self.orders.iter().map(|verdict| one(*verdict == self.label)).sum::<f64>() / 2.0
    }
}

fn place(preference: Preference) -> usize {
    match preference {
        Preference::First => 0,
        Preference::Tie => 1,
        Preference::Second => 2,
    }
}

/// The row of an item, with its cluster; `None` if it is no pair with a verdict.
fn row(compared: Compared<'_>, index: usize) -> Option<(usize, Row)> {
    let verdict: Verdict = answer(compared.answers, &verdict_of(index))?;
    Some((compared.clusters[index], Row::new(&compared.items[index], &verdict)?))
}

/// How verdicts in a prompt format compare; `None` if there are none.
fn wording(compared: Compared<'_>, format: &str) -> Option<Wording> {
    let pairs: Vec<(usize, (Row, Preference))> = (0..compared.items.len())
        .filter_map(|index| {
            let (cluster, usual) = row(compared, index)?;
            let other: Verdict = answer(compared.answers, &wording_of(index, format))?;
            Some((cluster, (usual, other.preference()?)))
        })
        .collect();
    Some(Wording {
        format: format.to_owned(),
        same: compared.share(&pairs, |(usual, other)| Some(one(usual.orders[0] == *other)))?,
        distance: None,
        accuracy: compared.share(&pairs, |(usual, other)| Some(one(usual.label == *other))),
    })
}

pub(super) fn figures(compared: Compared<'_>) -> Option<PreferenceFigures> {
    let rows: Vec<(usize, Row)> =
        (0..compared.items.len()).filter_map(|index| row(compared, index)).collect();
    if rows.is_empty() {
        return None;
    }
    let mut confusion = [[0; 3]; 3];
    for (_, row) in &rows {
        confusion[place(row.label)][place(row.orders[0])] += 1;
    }
    let sure: Vec<(f64, bool)> =
        rows.iter().filter_map(|(_, row)| Some((row.confidence?, row.orders[0] == row.label))).collect();
    let share = |value: &dyn Fn(&Row) -> Option<f64>| compared.share(&rows, value);
    // In the first place is the first response in the given order, and the second one in the reversed order.
    let first_place =
        |order: usize, verdict: Preference| verdict == [Preference::First, Preference::Second][order];
    let longer = |row: &Row| {
        let longer = row.longer?;
        row.count_decided(|_, verdict| verdict == longer)
    };
    Some(PreferenceFigures {
        count: rows.len(),
        labelled_ties: rows.iter().filter(|(_, row)| row.label == Preference::Tie).count(),
        accuracy_with_ties: share(&|row| Some(row.right())),
        accuracy_without_ties: share(&|row| row.decided().map(Row::right)),
        both_orders_with_ties: share(&|row| Some(one(row.both == row.label))),
        both_orders_without_ties: share(&|row| Some(one(row.decided()?.both == row.label))),
        ties_found: share(&|row| (row.label == Preference::Tie).then(|| row.ties())),
        ties_called: share(&|row| Some(row.ties())),
        first_place: compared.pooled(&rows, |row| row.count_decided(first_place)),
        consistent: share(&|row| Some(one(row.orders[0] == row.orders[1]))),
        longer_chosen: compared.pooled(&rows, longer),
        longer_labelled: share(&|row| Some(one(row.longer? == row.decided()?.label))),
        accuracy_longer_better: share(&|row| (row.longer? == row.decided()?.label).then(|| row.right())),
        accuracy_shorter_better: share(&|row| {
            (row.longer?.turned() == row.decided()?.label).then(|| row.right())
        }),
        wordings: compared.wordings().into_iter().filter_map(|format| wording(compared, format)).collect(),
        calibration: Calibration::new(&sure, BINS),
        confusion,
    })
}
