//! Whether a critic that is sure of something is as often right as it is sure.

use serde::Serialize;

use super::mean;

/// Verdicts of about the same confidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bin {
    /// Confidence of the bin, from this,
    pub low: f64,
    /// to this, which only the last bin includes.
    pub high: f64,
    /// How many verdicts.
    pub count: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// The share of them that is right.
    pub accuracy: f64,
}

/// Confidence against accuracy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// Bins of equal width that have verdicts.
    pub bins: Vec<Bin>,
    /// The expected calibration error: the mean distance of confidence and accuracy, each bin weighing as its verdicts
    /// (Naeini et al. 2015).
    pub expected_error: f64,
}

impl Calibration {
    /// Of verdicts as confidence from 0 to 1 and whether they are right; `None` without any.
    pub fn new(verdicts: &[(f64, bool)], bins: usize) -> Option<Self> {
        let mut members = vec![Vec::new(); bins];
        for verdict in verdicts {
            // What is 1 belongs to the last bin.
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
