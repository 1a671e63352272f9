//! How far each attack moves verdicts.

use rubric::Preference;
use serde::Serialize;

use super::{
    Answered, Compared,
    clean::{self, CleanFigures},
    clusters, one,
    search::{SearchFigures, Searched},
};
use crate::{
    answer::{Verdict, answer},
    attack::{Attack, attacks, target},
    plan::{Ask, Asking},
    statistics::{Bootstrap, Estimate},
};

/// The effect of attacks on a critic's verdicts on a labelled set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttackReport {
    /// The name of the labelled set.
    pub data: String,
    /// The critic's name.
    pub model: String,
    /// The number of items in requests.
    pub items: usize,
    /// Requests without a verdict, each with its error.
    pub failed: Vec<String>,
    /// The seed of the intervals.
    pub seed: u64,
    /// Figures of verdicts without an attack, for each guard.
    pub clean: Vec<CleanFigures>,
    /// Figures of each attack.
    pub attacks: Vec<AttackFigures>,
    /// The results of searches for words; `None` if there was no search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchFigures>,
}

/// The effect of one attack.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttackFigures {
    /// The attack.
    #[serde(flatten)]
    pub attack: Attack,
    /// The effect on scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<ScoreShift>,
    /// The effect on the verdicts on pairs with the attacked response in first place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_place: Option<PairShift>,
    /// The effect on the verdicts on pairs with the attacked response in second place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_place: Option<PairShift>,
    /// The effect on the verdicts by the mean of both orders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub both_orders: Option<PairShift>,
    /// The effect on verdicts if the orders must agree and give a tie otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreed: Option<PairShift>,
    /// The share of answers with a flag that the original response did not have.
    pub flagged: Option<Estimate>,
}

/// The effect of an attack on scores, all as fractions of their scale, from 0 (the worst score) to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreShift {
    /// Mean score of the original responses.
    pub clean: Estimate,
    /// Mean score under attack.
    pub attacked: Estimate,
    /// The mean change of the score.
    pub shift: Estimate,
    /// The share of scores that get better.
    pub raised: Estimate,
    /// The share of scores that do not change.
    pub same: Estimate,
    /// The share of scores in the better half of the scale.
    pub good: Estimate,
}

/// The effect of an attack on verdicts on pairs, for one place. The attacked response is the worse one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairShift {
    /// The share of verdicts that change.
    pub flipped: Estimate,
    /// The share of verdicts that prefer the attacked response only under the attack.
    pub gained: Estimate,
    /// The share of verdicts that prefer the attacked response.
    #[serde(rename = "won")]
    pub win_rate: Estimate,
    /// The share of verdicts that prefer the other response.
    #[serde(rename = "lost")]
    pub loss_rate: Estimate,
    /// The share of verdicts that prefer the attacked response without the attack.
    #[serde(rename = "won_before")]
    pub win_rate_before: Estimate,
}

impl AttackReport {
    /// Compares the answers with and without each attack.
    pub fn new(answered: &Answered<'_>, bootstrap: Bootstrap) -> Self {
        let Answered { data, set, model, answers } = *answered;
        let clusters = clusters(&set.items);
        let compared = Compared { items: &set.items, clusters: &clusters, answers, bootstrap };
        let figures = |(index, attack): (usize, &Attack)| figures(index, attack, compared);
        Self {
            data: data.to_owned(),
            model: model.to_owned(),
            items: set.items.iter().filter(|item| target(&item.label).is_some()).count(),
            failed: answered.failed(),
            seed: bootstrap.seed,
            clean: clean::figures(compared),
            attacks: attacks().iter().enumerate().map(figures).collect(),
            search: None,
        }
    }

    /// Adds the results of searches of `steps` requests each; each result is preceded by the index of its item.
    #[must_use]
    pub fn with_search(self, steps: usize, found: &[(usize, Searched)], bootstrap: Bootstrap) -> Self {
        Self { search: Some(SearchFigures::new(steps, found, bootstrap)), ..self }
    }
}

fn figures(index: usize, attack: &Attack, compared: Compared<'_>) -> AttackFigures {
    let mut scores = Vec::new();
    let mut places = [Vec::new(), Vec::new()];
    let (mut both, mut agreed) = (Vec::new(), Vec::new());
    let mut flags = Vec::new();
    for (item, found) in compared.items.iter().enumerate() {
        let Some(place) = target(&found.label) else { continue };
        let verdict = |asking| answer::<Verdict>(compared.answers, &Ask { item, asking });
        let (Some(clean), Some(attacked)) = (
            verdict(Asking::without_attack(attack.guard)),
            verdict(Asking::Attacked { attack: index, place }),
        ) else {
            continue;
        };
        let cluster = compared.clusters[item];
        flags.push((cluster, attacked.flags.iter().any(|flag| !clean.flags.contains(flag))));
        if let (Some((scale, _)), Some(before), Some(after)) = (clean.scale(), clean.score, attacked.score) {
            scores.push((cluster, (scale.goodness(before), scale.goodness(after))));
        }
        // Relative to a pair whose first response is the attacked one.
        let told = |side: Preference| if place == 0 { side } else { side.turned() };
        if let (Some(before), Some(after)) = (clean.preference(), attacked.preference()) {
            both.push((cluster, (told(before), told(after))));
        }
        if let (Some(clean), Some(attacked)) = (clean.orders(), attacked.orders()) {
            if let (Some(before), Some(after)) = (agreement(clean), agreement(attacked)) {
                agreed.push((cluster, (told(before), told(after))));
            }
            for order in 0..2 {
                // In the reversed order the response is in the other place.
                let stands = if order == 0 { place } else { 1 - place };
                // A verdict refers to places in its own order.
                if let (Some(before), Some(after)) = (clean[order].preference(), attacked[order].preference())
                {
                    places[stands].push((cluster, (before, after)));
                }
            }
        }
    }
    let [first, second] = &places;
    AttackFigures {
        attack: attack.clone(),
        scores: score_shift(compared, &scores),
        first_place: pair_shift(compared, first, Preference::First),
        second_place: pair_shift(compared, second, Preference::Second),
        both_orders: pair_shift(compared, &both, Preference::First),
        agreed: pair_shift(compared, &agreed, Preference::First),
        flagged: compared.share(&flags, |flagged| Some(one(*flagged))),
    }
}

/// The verdict that both orders agree on, relative to the given order; a tie if they disagree.
fn agreement(orders: [&Verdict; 2]) -> Option<Preference> {
    let (given, turned) = (orders[0].preference()?, orders[1].preference()?.turned());
    Some(if given == turned { given } else { Preference::Tie })
}

fn score_shift(compared: Compared<'_>, rows: &[(usize, (f64, f64))]) -> Option<ScoreShift> {
    let share =
        |value: fn(f64, f64) -> f64| compared.share(rows, |(before, after)| Some(value(*before, *after)));
    Some(ScoreShift {
        clean: share(|before, _| before)?,
        attacked: share(|_, after| after)?,
        shift: share(|before, after| after - before)?,
        raised: share(|before, after| one(after > before + 1e-9))?,
        same: share(|before, after| one((after - before).abs() < 1e-9))?,
        good: share(|_, after| one(after > 0.5))?,
    })
}

fn pair_shift(
    compared: Compared<'_>,
    rows: &[(usize, (Preference, Preference))],
    own: Preference,
) -> Option<PairShift> {
    let share = |value: &dyn Fn(Preference, Preference) -> bool| {
        compared.share(rows, |(before, after)| Some(one(value(*before, *after))))
    };
    Some(PairShift {
        flipped: share(&|before, after| before != after)?,
        gained: share(&|before, after| before != own && after == own)?,
        win_rate: share(&|_, after| after == own)?,
        loss_rate: share(&|_, after| after == own.turned())?,
        win_rate_before: share(&|before, _| before == own)?,
    })
}
