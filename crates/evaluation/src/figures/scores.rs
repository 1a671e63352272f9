//! Scores compared with reference scores.

use serde::Serialize;

use super::{BINS, Compared, Wording, one, verdict_of, wording_of};
use crate::{
    answer::{Verdict, answer},
    item::{Item, Label, ReferenceScale},
    statistics::{Calibration, Estimate, kendall, mean_absolute_error, pearson, spearman},
};

/// How well a critic scores. All scores are fractions of their scales, from 0 (the worst score) to 1 (the best), so
/// that scales can be mixed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreFigures {
    /// The number of items with a score.
    pub count: usize,
    /// Pearson's r of scores and references.
    pub pearson: Option<Estimate>,
    /// Pearson's r of expected scores, which are means of all scores weighted by probability, and references.
    pub pearson_expected: Option<Estimate>,
    /// Spearman's rho of scores and references.
    pub spearman: Option<Estimate>,
    /// Kendall's tau-b of scores and references.
    pub kendall: Option<Estimate>,
    /// Mean absolute error, as a fraction of the scale.
    pub mean_absolute_error: Option<Estimate>,
    /// The share of scores that equal the reference, among those on the same scale.
    pub exact: Option<Estimate>,
    /// The mean score minus the mean reference: above 0 the critic is lenient.
    #[serde(rename = "mildness")]
    pub mean_signed_error: Option<Estimate>,
    /// Pearson's r of scores and response lengths in characters.
    pub length_and_score: Option<Estimate>,
    /// Pearson's r of references and response lengths: the labels' own bias.
    pub length_and_reference: Option<Estimate>,
    /// How verdicts in other prompt formats compare.
    pub wordings: Vec<Wording>,
    /// The probability of scores compared with how often they equal the reference.
    pub calibration: Option<Calibration>,
    /// Reference and score of each item.
    pub points: Vec<(f64, f64)>,
}

#[derive(Debug, Clone)]
struct Row {
    reference: f64,
    score: f64,
    expected: Option<f64>,
    confidence: Option<f64>,
    exact: Option<bool>,
    length: f64,
}

impl Row {
    /// `None` when the verdict has no score or no scale.
    fn new(item: &Item, verdict: &Verdict) -> Option<Self> {
        let Label::Score { response, score: labelled, scale } = &item.label else { return None };
        let (own, step) = verdict.scale()?;
        let score = verdict.score?;
        let on = ReferenceScale::of_label(*scale, own);
        Some(Self {
            reference: on.goodness(*labelled),
            score: own.goodness(score),
            expected: verdict.expected().map(|score| own.goodness(score)),
            confidence: verdict.confidence(),
            exact: (on == own).then(|| (score - labelled).abs() < step / 2.0),
            length: response.chars().count() as f64,
        })
    }
}

pub(super) fn figures(compared: Compared<'_>) -> Option<ScoreFigures> {
    let row = |index: usize, verdict: &Verdict| {
        Some((compared.clusters[index], Row::new(&compared.items[index], verdict)?))
    };
    let rows: Vec<(usize, Row)> = (0..compared.items.len())
        .filter_map(|index| row(index, &answer(compared.answers, &verdict_of(index))?))
        .collect();
    if rows.is_empty() {
        return None;
    }
    let of = |pair: fn(&Row) -> Option<(f64, f64)>, statistic: fn(&[(f64, f64)]) -> Option<f64>| {
        let pairs: Vec<_> = rows.iter().filter_map(|(cluster, row)| Some((*cluster, pair(row)?))).collect();
        compared.bootstrap.estimate(&pairs, statistic)
    };
    let scored = |row: &Row| Some((row.score, row.reference));
    let sure: Vec<(f64, bool)> =
        rows.iter().filter_map(|(_, row)| Some((row.confidence?, row.exact?))).collect();
    let wording = |format: &str| {
        let pairs: Vec<(usize, (Row, Row))> = (0..compared.items.len())
            .filter_map(|index| {
                let (cluster, usual) = row(index, &answer(compared.answers, &verdict_of(index))?)?;
                let (_, other) = row(index, &answer(compared.answers, &wording_of(index, format))?)?;
                Some((cluster, (usual, other)))
            })
            .collect();
        let apart = |(usual, other): &(Row, Row)| (usual.score - other.score).abs();
        Some(Wording {
            format: format.to_owned(),
            same: compared.share(&pairs, |pair| Some(one(apart(pair) < 1e-9)))?,
            distance: compared.share(&pairs, |pair| Some(apart(pair))),
            accuracy: compared.share(&pairs, |(_, other)| other.exact.map(one)),
        })
    };
    Some(ScoreFigures {
        count: rows.len(),
        pearson: of(scored, pearson),
        pearson_expected: of(|row| Some((row.expected?, row.reference)), pearson),
        spearman: of(scored, spearman),
        kendall: of(scored, kendall),
        mean_absolute_error: of(scored, mean_absolute_error),
        exact: compared.share(&rows, |row| row.exact.map(one)),
        mean_signed_error: compared.share(&rows, |row| Some(row.score - row.reference)),
        length_and_score: of(|row| Some((row.length, row.score)), pearson),
        length_and_reference: of(|row| Some((row.length, row.reference)), pearson),
        wordings: compared.wordings().into_iter().filter_map(wording).collect(),
        calibration: Calibration::new(&sure, BINS),
        points: rows.iter().map(|(_, row)| (row.reference, row.score)).collect(),
    })
}
