//! The choice of the best of several responses, and their ranking.

use serde::Serialize;

use super::{Compared, one, verdict_of};
use crate::{
    answer::{Rewards, answer},
    item::{Item, Label},
    statistics::{Estimate, edit_distance, kendall, mean},
};

/// How well a critic chooses from several responses. Where several have the greatest reward, the choice is open: its
/// figures are means over these, so that the order of the responses does not matter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupFigures {
    /// The number of groups that were judged.
    pub count: usize,
    /// Mean worth of the chosen responses.
    pub chosen: Option<Estimate>,
    /// Mean worth of all responses: the result of a random choice.
    pub average: Option<Estimate>,
    /// Mean worth of the best responses.
    pub best: Option<Estimate>,
    /// The share of groups in which a best response was chosen.
    pub top: Option<Estimate>,
    /// Kendall's tau-b of rewards and worths, averaged over groups.
    pub kendall: Option<Estimate>,
    /// Edit distance between the rankings by rewards and by worths, for groups without equal rewards and without
    /// equal worths; 0 is best.
    pub edit_distance: Option<Estimate>,
}

#[derive(Debug, Clone)]
struct Row {
    worths: Vec<f64>,
    /// The reward of each response; `None` if it has none.
    rewards: Vec<Option<f64>>,
}

impl Row {
    fn best(&self) -> f64 {
        greatest(self.worths.iter().copied())
    }

    /// The worths of the responses with the greatest reward.
    fn chosen(&self) -> impl Iterator<Item = f64> {
        let most = greatest(self.rewards.iter().flatten().copied());
        let rewarded = self.rewards.iter().zip(&self.worths);
        rewarded.filter(move |(reward, _)| **reward == Some(most)).map(|(_, worth)| *worth)
    }

    /// Reward and worth of each response with a reward.
    fn pairs(&self) -> Vec<(f64, f64)> {
        let rewarded = self.rewards.iter().zip(&self.worths);
        rewarded.filter_map(|(reward, worth)| Some(((*reward)?, *worth))).collect()
    }

    /// The edit distance between the rankings by rewards and by worths; `None` if a reward is missing, or two
    /// rewards or two worths are equal.
    fn distance(&self) -> Option<f64> {
        let rewards: Vec<f64> = self.rewards.iter().copied().collect::<Option<_>>()?;
        edit_distance(&ranking(&rewards)?, &ranking(&self.worths)?)
    }
}

fn greatest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NEG_INFINITY, f64::max)
}

/// The indices of `values`, that of the greatest first; `None` if two values are equal.
fn ranking(values: &[f64]) -> Option<Vec<usize>> {
    let mut ranking: Vec<usize> = (0..values.len()).collect();
    ranking.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    let is_strict = ranking.windows(2).all(|pair| values[pair[0]] != values[pair[1]]);
    is_strict.then_some(ranking)
}

pub(super) fn figures(compared: Compared<'_>) -> Option<GroupFigures> {
    let row = |(index, item): (usize, &Item)| {
        let Label::Group { worths, .. } = &item.label else { return None };
        let Rewards { rewards } = answer(compared.answers, &verdict_of(index))?;
        let row = Row { worths: worths.clone(), rewards };
        row.chosen().next()?;
        Some((compared.clusters[index], row))
    };
    let rows: Vec<(usize, Row)> = compared.items.iter().enumerate().filter_map(row).collect();
    if rows.is_empty() {
        return None;
    }
    Some(GroupFigures {
        count: rows.len(),
        chosen: compared.share(&rows, |row| mean(row.chosen())),
        average: compared.share(&rows, |row| mean(row.worths.iter().copied())),
        best: compared.share(&rows, |row| Some(row.best())),
        top: compared.share(&rows, |row| mean(row.chosen().map(|worth| one(worth == row.best())))),
        kendall: compared.share(&rows, |row| kendall(&row.pairs())),
        edit_distance: compared.share(&rows, Row::distance),
    })
}
