//! Calibration: whether verdicts are right as often as their confidence claims.

use serde::Serialize;

use super::mean;

/// Verdicts of similar confidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bin {
    /// The lower bound of confidence.
    pub low: f64,
    /// The upper bound of confidence, which only the last bin includes.
    pub high: f64,
    /// The number of verdicts.
    pub count: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// The share of verdicts that are right.
    pub accuracy: f64,
}

/// Confidence compared with accuracy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// Bins of equal width, without empty ones.
    pub bins: Vec<Bin>,
    /// The expected calibration error: the mean distance between confidence and accuracy, each bin weighted by
    /// its number of verdicts (Naeini et al. 2015).
    pub expected_error: f64,
}

impl Calibration {
    /// Computes the calibration of verdicts, given as confidence from 0 to 1 and whether they are right; `None`
    /// without any.
    pub fn new(verdicts: &[(f64, bool)], bins: usize) -> Option<Self> {
        let mut members = vec![Vec::new(); bins];
        for verdict in verdicts {
            // A confidence of 1 belongs to the last bin.
            let bin = (verdict.0 * bins as f64) as usize;
            members[bin.min(bins - 1)].push(verdict);
        }
        let bins: Vec<Bin> = (members.into_iter().enumerate())
            .filter_map(|(index, members)| {
                Some(Bin {
                    low: index as f64 / bins as f64,
                    high: (index + 1) as f64 / bins as f64,
                    count: members.len(),
                    confidence: mean(members.iter().map(|verdict| verdict.0))?,
                    accuracy: mean(members.iter().map(|verdict| f64::from(u8::from(verdict.1))))?,
                })
            })
            .collect();
        let distance = |bin: &Bin| bin.count as f64 * (bin.confidence - bin.accuracy).abs();
        let expected_error = bins.iter().map(distance).sum::<f64>() / verdicts.len() as f64;
        (!verdicts.is_empty()).then_some(Self { bins, expected_error })
    }
}
