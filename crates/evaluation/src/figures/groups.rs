//! The choice of the best of several responses, and their ranking.

use serde::Serialize;

use super::{Compared, verdict_of};
use crate::{
    Label,
    answer::{Rewards, answer},
    figures::one,
    statistics::{Estimate, edit_distance, kendall, mean},
};

/// How well a critic chooses from several responses.
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
    /// Edit distance between the rankings by rewards and by worths, for groups without equal worths; 0 is best.
    pub edit_distance: Option<Estimate>,
}

#[derive(Debug, Clone)]
struct Row {
    worths: Vec<f64>,
    chosen: usize,
    ranking: Vec<usize>,
    rewards: Vec<(f64, f64)>,
}

impl Row {
    fn best(&self) -> f64 {
        self.worths.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// The edit distance between the rankings by rewards and by worths; `None` if two worths are equal.
    fn distance(&self) -> Option<f64> {
        let mut order: Vec<usize> = (0..self.worths.len()).collect();
        order.sort_by(|a, b| self.worths[*b].total_cmp(&self.worths[*a]));
        let strict = order.windows(2).all(|pair| self.worths[pair[0]] != self.worths[pair[1]]);
        if strict { edit_distance(&self.ranking, &order) } else { None }
    }
}

pub(super) fn figures(compared: Compared<'_>) -> Option<GroupFigures> {
    let row = |(index, item): (usize, &crate::Item)| {
        let Label::Group { worths, .. } = &item.label else { return None };
        let Rewards { rewards, ranking } = answer(compared.answers, &verdict_of(index))?;
        let rewards =
            rewards.iter().zip(worths).filter_map(|(reward, worth)| Some(((*reward)?, *worth))).collect();
        let chosen = *ranking.first()?;
        Some((compared.clusters[index], Row { worths: worths.clone(), chosen, ranking, rewards }))
    };
    let rows: Vec<(usize, Row)> = compared.items.iter().enumerate().filter_map(row).collect();
    if rows.is_empty() {
        return None;
    }
    Some(GroupFigures {
        count: rows.len(),
        chosen: compared.share(&rows, |row| row.worths.get(row.chosen).copied()),
        average: compared.share(&rows, |row| mean(row.worths.iter().copied())),
        best: compared.share(&rows, |row| Some(row.best())),
        top: compared.share(&rows, |row| row.worths.get(row.chosen).map(|worth| one(*worth == row.best()))),
        kendall: compared.share(&rows, |row| kendall(&row.rewards)),
        edit_distance: compared.share(&rows, Row::distance),
    })
}
