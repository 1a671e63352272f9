//! Verdicts without an attack: how good they are with and without calibration, and what the order of a pair does to them.

use rubric::Preference;
use serde::Serialize;

use super::Guard;
use crate::{
    Ask, Asking, Label,
    answer::{Verdict, answer},
    figures::{Compared, one},
    statistics::{Estimate, pearson},
};

/// How well a critic judges with a guard.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CleanFigures {
    /// The guard.
    pub guard: Guard,
    /// Correlation of expected and reference scores.
    pub pearson: Option<Estimate>,
    /// The share of preferences that are the label's, in one order.
    pub accuracy: Option<Estimate>,
    /// The same by the mean of both orders.
    pub accuracy_both: Option<Estimate>,
    /// The same where both orders must agree, and are a tie else.
    pub accuracy_agreed: Option<Estimate>,
    /// The share of pairs whose orders name different winners.
    pub flipped: Option<Estimate>,
    /// The share of pairs that, turned round, have another winner by both orders.
    pub residual: Option<Estimate>,
}

/// Of the guards that change verdicts on usual responses.
pub(super) fn figures(compared: Compared<'_>) -> Vec<CleanFigures> {
    [Guard::Usual, Guard::Calibrated].map(|guard| of(guard, compared)).into()
}

fn of(guard: Guard, compared: Compared<'_>) -> CleanFigures {
    let (mut scores, mut pairs, mut turns) = (Vec::new(), Vec::new(), Vec::new());
    for (item, found) in compared.items.iter().enumerate() {
        let verdict = |asking| answer::<Verdict>(compared.answers, &Ask { item, asking });
        let Some(clean) = verdict(guard.asking()) else { continue };
        let cluster = compared.clusters[item];
        match &found.label {
            Label::Score { score, scale, .. } => {
                let Some((own, _)) = clean.scale() else { continue };
                let reference = scale.unwrap_or(own).part(*score);
                scores.extend(clean.expected().map(|expected| (cluster, (own.part(expected), reference))));
            }
            Label::Preference { better, .. } => {
                let orders = clean.orders().map(|orders| orders.map(Verdict::preference));
                if let (Some(both), Some([Some(given), Some(turned)])) = (clean.preference(), orders) {
                    pairs.push((cluster, (*better, both, given, turned)));
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
    type Pair = (Preference, Preference, Preference, Preference);
    let share = |value: fn(&Pair) -> bool| compared.share(&pairs, |pair| Some(one(value(pair))));
    CleanFigures {
        guard,
        pearson: compared.bootstrap.estimate(&scores, pearson),
        accuracy: share(|(label, _, given, _)| given == label),
        accuracy_both: share(|(label, both, ..)| both == label),
        accuracy_agreed: share(|(label, _, given, turned)| {
            *label == if *given == turned.turned() { *given } else { Preference::Tie }
        }),
        flipped: share(|(_, _, given, turned)| *given != turned.turned()),
        residual: compared.share(&turns, |(there, back)| Some(one(*there != back.turned()))),
    }
}
