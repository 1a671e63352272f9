//! Verdicts without an attack: their accuracy with and without calibration, and the effect of the order of a
//! pair.

use rubric::Preference;
use serde::Serialize;

use super::{Compared, one};
use crate::{
    answer::{Verdict, answer},
    attack::Guard,
    item::{Label, ReferenceScale},
    plan::{Ask, Asking},
    statistics::{Estimate, pearson},
};

/// How well a critic judges with a guard.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CleanFigures {
    /// The guard.
    pub guard: Guard,
    /// Pearson's r of expected scores and references.
    pub pearson: Option<Estimate>,
    /// The share of preferences in the given order that match the label.
    pub accuracy: Option<Estimate>,
    /// The share of preferences by the mean of both orders that match the label.
    pub accuracy_both: Option<Estimate>,
    /// The share of preferences that match the label if the orders must agree and give a tie otherwise.
    pub accuracy_agreed: Option<Estimate>,
    /// The share of pairs whose verdicts differ between the orders.
    pub flipped: Option<Estimate>,
    /// The share of pairs whose verdict by the mean of both orders changes when the pair is reversed.
    pub residual: Option<Estimate>,
}

/// The label of a pair, and the verdicts on it: by the mean of both orders, in the given order, and in the reversed one.
#[derive(Debug, Clone, Copy)]
struct Pair {
    label: Preference,
    both: Preference,
    given: Preference,
    turned: Preference,
}

/// The figures for the guards that change verdicts on ordinary responses.
pub(super) fn figures(compared: Compared<'_>) -> Vec<CleanFigures> {
    [Guard::Usual, Guard::Calibrated].map(|guard| of(guard, compared)).into()
}

fn of(guard: Guard, compared: Compared<'_>) -> CleanFigures {
    let (mut scores, mut pairs, mut turns) = (Vec::new(), Vec::new(), Vec::new());
    for (item, found) in compared.items.iter().enumerate() {
        let verdict = |asking| answer::<Verdict>(compared.answers, &Ask { item, asking });
        let Some(clean) = verdict(Asking::without_attack(guard)) else { continue };
        let cluster = compared.clusters[item];
        match &found.label {
            Label::Score { score, scale, .. } => {
                let Some((own, _)) = clean.scale() else { continue };
                let reference = ReferenceScale::of_label(*scale, own).goodness(*score);
                scores.extend(clean.expected().map(|found| (cluster, (own.goodness(found), reference))));
            }
            Label::Preference { better, .. } => {
                let orders = clean.orders().map(|orders| orders.map(Verdict::preference));
                if let (Some(both), Some([Some(given), Some(turned)])) = (clean.preference(), orders) {
                    pairs.push((cluster, Pair { label: *better, both, given, turned }));
                }
                let turned = match guard {
                    Guard::Usual => verdict(Asking::Turned).and_then(|turned| turned.preference()),
                    Guard::Judged | Guard::Stripped | Guard::Calibrated => None,
                };
                turns.extend(clean.preference().zip(turned).map(|found| (cluster, found)));
            }
            Label::Group { .. } => {}
        }
    }
    let share = |value: fn(&Pair) -> bool| compared.share(&pairs, |pair| Some(one(value(pair))));
    CleanFigures {
        guard,
        pearson: compared.bootstrap.estimate(&scores, pearson),
        accuracy: share(|pair| pair.given == pair.label),
        accuracy_both: share(|pair| pair.both == pair.label),
        accuracy_agreed: share(|pair| {
            pair.label == if pair.given == pair.turned.turned() { pair.given } else { Preference::Tie }
        }),
        flipped: share(|pair| pair.given != pair.turned.turned()),
        residual: compared.share(&turns, |(there, back)| Some(one(*there != back.turned()))),
    }
}
