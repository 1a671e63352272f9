//! Figures of a critic, from comparing its answers with the labels.

mod attacks;
mod clean;
mod groups;
mod preferences;
mod scores;
mod search;

use serde::Serialize;

pub use attacks::AttackReport;
pub(crate) use attacks::{AttackFigures, PairShift};
pub(crate) use clean::CleanFigures;
pub(crate) use groups::GroupFigures;
pub(crate) use preferences::PreferenceFigures;
pub(crate) use scores::ScoreFigures;
pub use search::{SearchFigures, Searched, search_starts};

use crate::{
    answer::Answers,
    forms::{Form, LabelledSet, LeftOut},
    item::Item,
    plan::{Ask, Asking},
    statistics::{Bootstrap, Estimate, mean},
};

/// Bins of a reliability diagram.
const BINS: usize = 10;

/// How well a critic judges a labelled set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// The name of the labelled set.
    pub data: String,
    /// The form of the set.
    pub form: Form,
    /// The critic's name.
    pub model: String,
    /// The number of items in requests.
    pub items: usize,
    /// Requests without a verdict, each with its error.
    pub failed: Vec<String>,
    /// Rows that could not be used.
    pub left_out: Vec<LeftOut>,
    /// The number of bootstrap samples for the intervals; a fifth of it was drawn for figures of more than 5000 rows.
    pub draws: usize,
    /// The seed of these samples.
    pub seed: u64,
    /// Figures of items with a reference score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<ScoreFigures>,
    /// Figures of items with a preference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferences: Option<PreferenceFigures>,
    /// Figures of items with several responses of known worth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<GroupFigures>,
}

/// How verdicts in another prompt format compare with those in the default one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Wording {
    /// The prompt format.
    pub format: String,
    /// The share of verdicts that are equal.
    pub same: Estimate,
    /// The mean distance of scores as a fraction of their scale; `None` for preferences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance: Option<Estimate>,
    /// The share of verdicts that match the label; for scores only where critic and label use the same scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Estimate>,
}

/// A labelled set, and a critic's answers about it.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// The name of the labelled set.
    pub data: &'a str,
    /// The labelled set.
    pub set: &'a LabelledSet,
    /// The critic's name.
    pub model: &'a str,
    /// The critic's answers.
    pub answers: &'a Answers,
}

impl Answered<'_> {
    /// The requests without a verdict, each with its error.
    fn failed(&self) -> Vec<String> {
        let failed = self.answers.iter().filter_map(|(ask, outcome)| {
            outcome.as_ref().err().map(|error| format!("{}: {error}", ask.id(&self.set.items)))
        });
        failed.collect()
    }
}

/// Compares a critic's answers with the labels.
pub fn evaluate(answered: &Answered<'_>, bootstrap: Bootstrap) -> Evaluation {
    let Answered { data, set, model, answers } = *answered;
    let clusters = clusters(&set.items);
    let compared = Compared { items: &set.items, clusters: &clusters, answers, bootstrap };
    Evaluation {
        data: data.to_owned(),
        form: set.form,
        model: model.to_owned(),
        items: set.items.len(),
        failed: answered.failed(),
        left_out: set.left_out.clone(),
        draws: bootstrap.draws,
        seed: bootstrap.seed,
        scores: scores::figures(compared),
        preferences: preferences::figures(compared),
        groups: groups::figures(compared),
    }
}

/// The inputs of figures.
#[derive(Clone, Copy)]
pub(crate) struct Compared<'a> {
    pub(crate) items: &'a [Item],
    /// The cluster of each item.
    pub(crate) clusters: &'a [usize],
    pub(crate) answers: &'a Answers,
    pub(crate) bootstrap: Bootstrap,
}

impl Compared<'_> {
    /// The names of the other prompt formats in the requests.
    fn wordings(&self) -> Vec<&str> {
        let mut names: Vec<&str> = (self.answers.keys())
            .filter_map(|ask| match &ask.asking {
                Asking::Wording(name) => Some(name.as_str()),
                Asking::Verdict
                | Asking::Guarded(_)
                | Asking::Turned
                | Asking::Attacked { .. }
                | Asking::Suffixed { .. } => None,
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The mean of `value` over the rows for which it is defined, with its interval.
    pub(crate) fn share<T: Clone>(
        &self,
        rows: &[(usize, T)],
        value: impl Fn(&T) -> Option<f64>,
    ) -> Option<Estimate> {
        let rows: Vec<(usize, f64)> =
            rows.iter().filter_map(|(cluster, row)| Some((*cluster, value(row)?))).collect();
        self.bootstrap.estimate(&rows, |values| mean(values.iter().copied()))
    }

    /// The share of all cases that count, with its interval; `counts` gives for each row the number of those that
    /// count and the number of all, or `None` if it has no case. A row with more cases has more weight.
    fn pooled<T>(
        &self,
        rows: &[(usize, T)],
        counts: impl Fn(&T) -> Option<(usize, usize)>,
    ) -> Option<Estimate> {
        let rows: Vec<(usize, (usize, usize))> =
            rows.iter().filter_map(|(cluster, row)| Some((*cluster, counts(row)?))).collect();
        self.bootstrap.estimate(&rows, |counts| {
            let sum =
                |(counted, all): (usize, usize), more: &(usize, usize)| (counted + more.0, all + more.1);
            let (counted, all) = counts.iter().fold((0, 0), sum);
            (all > 0).then(|| counted as f64 / all as f64)
        })
    }
}

/// The cluster of each item: items with the same images and frames form one.
pub(crate) fn clusters(items: &[Item]) -> Vec<usize> {
    let mut known = std::collections::HashMap::new();
    let number = |(index, item): (usize, &Item)| {
        // An item about no image and no video is a cluster of its own.
        let shows_nothing = item.images.is_empty() && item.frames.is_empty();
        let key = if shows_nothing { format!("item {index}") } else { item.image_key() };
        let next = known.len();
        *known.entry(key).or_insert(next)
    };
    items.iter().enumerate().map(number).collect()
}

/// 1 for true and 0 for false, so that a mean is a share.
pub(crate) fn one(condition: bool) -> f64 {
    f64::from(u8::from(condition))
}

fn verdict_of(item: usize) -> Ask {
    Ask { item, asking: Asking::Verdict }
}

fn wording_of(item: usize, format: &str) -> Ask {
    Ask { item, asking: Asking::Wording(format.to_owned()) }
}
