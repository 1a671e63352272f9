//! How far verdicts move under each attack.

use rubric::Preference;
use serde::Serialize;

use super::{
    Attack, SearchFigures, Searched, attacks,
    clean::{self, CleanFigures},
    target,
};
use crate::{
    Answers, Ask, Asking, LabelledSet,
    answer::{Verdict, answer},
    figures::{Compared, clusters, one},
    statistics::{Bootstrap, Estimate, mean},
};

/// What attacks do to a critic's verdicts on a labelled set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttackReport {
    /// What was read.
    pub data: String,
    /// The critic.
    pub model: String,
    /// Items that were asked about.
    pub items: usize,
    /// Requests that had no verdict, by what was wrong.
    pub failed: Vec<String>,
    /// From which the intervals follow.
    pub seed: u64,
    /// Verdicts without an attack.
    pub clean: Vec<CleanFigures>,
    /// Each attack.
    pub attacks: Vec<AttackFigures>,
    /// What searches for words found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchFigures>,
}

/// What one attack does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttackFigures {
    /// The attack.
    #[serde(flatten)]
    pub attack: Attack,
    /// To scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<ScoreShift>,
    /// To the verdict on a pair, with the response that was tampered with in first place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_place: Option<PairShift>,
    /// The same in second place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_place: Option<PairShift>,
    /// The same by the mean of both orders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub both_orders: Option<PairShift>,
    /// The same where both orders must agree, and are a tie else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreed: Option<PairShift>,
    /// The share of answers that carry a flag which the response as it was had not.
    pub flagged: Option<Estimate>,
}

/// What an attack does to scores, all as part of their scale.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreShift {
    /// Mean score of the responses as they are.
    pub clean: Estimate,
    /// Mean score under attack.
    pub attacked: Estimate,
    /// By how much the score moves, on average.
    pub shift: Estimate,
    /// The share of scores that rise.
    pub raised: Estimate,
    /// The share of scores that stay.
    pub same: Estimate,
    /// The share of scores in the upper half of the scale.
    pub good: Estimate,
}

/// What an attack does to verdicts on pairs, in one place. The response that is attacked is the worse one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairShift {
    /// The share of verdicts that change.
    pub flipped: Estimate,
    /// The share of verdicts that come to prefer the attacked response and did not before.
    pub gained: Estimate,
    /// The share of verdicts that prefer the attacked response.
    pub won: Estimate,
    /// The share of verdicts that prefer the other one.
    pub lost: Estimate,
    /// The same without the attack.
    pub won_before: Estimate,
}

impl AttackReport {
    /// Compares the answers with and without each attack.
    pub fn new(
        (data, set): (&str, &LabelledSet),
        (model, answers): (&str, &Answers),
        bootstrap: Bootstrap,
    ) -> Self {
        let clusters = clusters(&set.items);
        let compared = Compared { items: &set.items, clusters: &clusters, answers, bootstrap };
        let failed = answers.iter().filter_map(|(ask, outcome)| {
            outcome.as_ref().err().map(|error| format!("{}: {error}", ask.id(&set.items)))
        });
        Self {
            data: data.to_owned(),
            model: model.to_owned(),
            items: set.items.iter().filter(|item| target(&item.label).is_some()).count(),
            failed: failed.collect(),
            seed: bootstrap.seed,
            clean: clean::figures(compared),
            attacks: attacks().iter().enumerate().map(|attack| figures(attack, compared)).collect(),
            search: None,
        }
    }

    /// The same with what searches found, of `steps` requests each; the number before each finding is its item.
    #[must_use]
    pub fn with_search(self, (steps, found): (usize, Vec<(usize, Searched)>), bootstrap: Bootstrap) -> Self {
        let share = |value: fn(&Searched) -> f64| {
            let rows: Vec<(usize, f64)> = found.iter().map(|(item, found)| (*item, value(found))).collect();
            bootstrap.estimate(&rows, |values| mean(values.iter().copied()))
        };
        let search = SearchFigures {
            steps,
            won: share(|found| one(found.before <= 0.5 && found.after > 0.5)),
            shift: share(|found| found.after - found.before),
            borrowed_shift: share(|found| found.borrowed - found.before),
            found: found.iter().map(|(_, found)| found.clone()).collect(),
        };
        Self { search: Some(search), ..self }
    }
}

fn figures((index, attack): (usize, &Attack), compared: Compared<'_>) -> AttackFigures {
    let mut scores = Vec::new();
    let mut places = [Vec::new(), Vec::new()];
    let (mut both, mut agreed) = (Vec::new(), Vec::new());
    let mut flags = Vec::new();
    for (item, found) in compared.items.iter().enumerate() {
        let Some(place) = target(&found.label) else { continue };
        let verdict = |asking| answer::<Verdict>(compared.answers, &Ask { item, asking });
        let (Some(clean), Some(attacked)) =
            (verdict(attack.guard.asking()), verdict(Asking::Attacked(index, place)))
        else {
            continue;
        };
        let cluster = compared.clusters[item];
        flags.push((cluster, attacked.flags.iter().any(|flag| !clean.flags.contains(flag))));
        if let (Some((scale, _)), Some(before), Some(after)) = (clean.scale(), clean.score, attacked.score) {
            scores.push((cluster, (scale.part(before), scale.part(after))));
        }
        if let (Some(before), Some(after)) = (clean.preference(), attacked.preference()) {
            // In terms of a pair whose first response is the attacked one.
            let told = |side: Preference| if place == 0 { side } else { side.turned() };
            both.push((cluster, (told(before), told(after))));
        }
        if let (Some(clean), Some(attacked)) = (clean.orders(), attacked.orders()) {
            if let (Some(before), Some(after)) = (agreement(clean), agreement(attacked)) {
                let told = |side: Preference| if place == 0 { side } else { side.turned() };
                agreed.push((cluster, (told(before), told(after))));
            }
            for order in 0..2 {
                // Turned round, the response stands in the other place.
                let stands = if order == 0 { place } else { 1 - place };
                // A verdict names places of the order that it is of.
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

/// What both orders name, in terms of the first; a tie when they disagree.
pub(super) fn agreement(orders: [&Verdict; 2]) -> Option<Preference> {
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
        won: share(&|_, after| after == own)?,
        lost: share(&|_, after| after == own.turned())?,
        won_before: share(&|before, _| before == own)?,
    })
}
