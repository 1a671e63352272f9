//! Searches for words that move a critic's verdict, and how far they move it.

use serde::Serialize;

use super::one;
use crate::{
    answer::{Answers, standing},
    attack::target,
    item::Item,
    plan::{Ask, Asking},
    statistics::{Bootstrap, Estimate, mean},
};

/// The result of a search for one response.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Searched {
    /// The id of the item.
    pub id: String,
    /// The words found.
    pub suffix: String,
    /// How favourable the critic is without them, from 0 (against the response) to 1.
    pub before: f64,
    /// How favourable it is with these words.
    pub after: f64,
    /// How favourable it is with the words that were found for another response.
    pub borrowed: f64,
}

/// The results of all searches.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchFigures {
    /// Requests per response.
    pub steps: usize,
    /// The share of responses that the critic was against before, and is for with the words found.
    #[serde(rename = "won")]
    pub win_rate: Option<Estimate>,
    /// The mean change with the words found.
    pub shift: Option<Estimate>,
    /// The mean change with the words that were found for another response.
    pub borrowed_shift: Option<Estimate>,
    /// The result for each response.
    pub found: Vec<Searched>,
}

impl SearchFigures {
    /// The figures of searches of `steps` requests each; each result is preceded by the index of its item.
    pub(super) fn new(steps: usize, found: &[(usize, Searched)], bootstrap: Bootstrap) -> Self {
        let share = |value: fn(&Searched) -> f64| {
            let rows: Vec<(usize, f64)> = found.iter().map(|(item, found)| (*item, value(found))).collect();
            bootstrap.estimate(&rows, |values| mean(values.iter().copied()))
        };
        Self {
            steps,
            win_rate: share(|found| one(found.before <= 0.5 && found.after > 0.5)),
            shift: share(|found| found.after - found.before),
            borrowed_shift: share(|found| found.borrowed - found.before),
            found: found.iter().map(|(_, found)| found.clone()).collect(),
        }
    }
}

/// The item and place of up to `most` responses to begin a [`Search`](crate::Search) with: the first that the
/// critic is against.
pub fn search_starts(items: &[Item], answers: &Answers, most: usize) -> Vec<(usize, usize)> {
    let against = |(item, found): (usize, &Item)| {
        let place = target(&found.label)?;
        let answer = answers.get(&Ask { item, asking: Asking::Verdict })?.as_ref().ok()?;
        standing(answer, place).filter(|standing| *standing < 0.5).map(|_| (item, place))
    };
    items.iter().enumerate().filter_map(against).take(most).collect()
}
