//! The report of a comparison.

use serde::Serialize;

use super::{CompareDevice, agreement::Agreement, noise::Noise};
use crate::bounds::MachineLimits;
use crate::machine::Machine;

/// All figures of a run.
#[derive(Debug, Clone, Serialize)]
pub struct CompareReport {
    /// Always `compare`.
    pub benchmark: &'static str,
    /// The machine it ran on.
    pub machine: Machine,
    /// The device that computed.
    pub device: CompareDevice,
    /// The device's name, as the device reports it.
    pub device_name: String,
    /// The name of the checkpoint.
    pub model: String,
    /// The sizes of the model's parts.
    pub weights: Weights,
    /// The programs that were compared, with their versions.
    pub programs: Vec<Program>,
    /// What was not measured, and why.
    pub skipped: Vec<Skipped>,
    /// The figures.
    pub sections: Vec<Section>,
    /// The limits of the machine or its GPU before the run.
    pub limits_before: MachineLimits,
    /// The limits after the run; `None` before it has ended, or if they could not be measured any more.
    pub limits_after: Option<MachineLimits>,
    /// Disturbances during the run.
    pub noise: Noise,
    /// The duration of the run in seconds.
    pub elapsed_s: f64,
    /// Gavel's failure, which ended the run; `None` if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The numbers of weights in matrix products of a model.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Weights {
    /// Weights of the decoder's layers.
    pub decoder: usize,
    /// Weights of the output head, which computes logits.
    pub head: usize,
    /// Weights of the vision tower's layers.
    pub tower: usize,
}

/// A program that took part.
#[derive(Debug, Clone, Serialize)]
pub struct Program {
    /// The program's name.
    pub name: &'static str,
    /// The program's version, as the program reports it.
    pub version: String,
}

/// Something that was not measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// What was not measured.
    pub what: String,
    /// The reason.
    pub why: String,
}

/// Figures of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct Section {
    /// What is measured.
    pub title: String,
    /// The unit of the figures.
    pub unit: Unit,
    /// One figure for each program in each setting.
    pub figures: Vec<Figure>,
    /// How much faster Gavel is than its peers.
    pub ratios: Vec<Ratio>,
    /// The label of the horizontal axis if the figures form a curve, with numbers as settings.
    pub curve: Option<&'static str>,
    /// How far Gavel's probabilities of verdicts are from those of a peer that judged the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
}

/// A unit, which also determines whether lower or higher values are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Lower is better.
    Seconds,
    /// Higher is better.
    TokensPerSecond,
    /// 10^6 bytes; lower is better.
    Megabytes,
}

impl Unit {
    /// The unit's symbol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::TokensPerSecond => "tokens/s",
            Self::Megabytes => "MB",
        }
    }

    /// How many times better `one` is than `other`.
    fn times(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Seconds | Self::Megabytes => other / one,
            Self::TokensPerSecond => one / other,
        }
    }
}

/// The measurement of one program in one setting.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// The setting.
    pub setting: String,
    /// The position on the horizontal axis of a curve.
    pub x: Option<f64>,
    /// The program, and the form of its weights.
    pub program: String,
    /// The median of all samples.
    pub median: f64,
    /// The lowest and the highest sample.
    pub spread: [f64; 2],
    /// All samples, in chronological order.
    pub samples: Vec<f64>,
    /// The best value that the machine's limits allow for the necessary work.
    pub limit: Option<f64>,
    /// The value to reach.
    pub target: Option<f64>,
    /// Further information.
    pub note: String,
}

/// How much better Gavel is than a peer in one setting.
#[derive(Debug, Clone, Serialize)]
pub struct Ratio {
    /// The setting.
    pub setting: String,
    /// Gavel, with the form of its weights.
    pub gavel: String,
    /// The peer, with the form of its weights.
    pub peer: String,
    /// How many times faster Gavel is, from the medians.
    pub times: f64,
    /// The target for that.
    pub target: Option<f64>,
}

impl Section {
    pub(crate) fn new(title: impl Into<String>, unit: Unit) -> Self {
        let (figures, ratios) = (Vec::new(), Vec::new());
        Self { title: title.into(), unit, figures, ratios, curve: None, agreement: None }
    }

    /// Adds a sample to the figure of `program` in `setting`, whose first sample sets the limit, and logs it,
    /// so that it is recorded even if this process is killed.
    pub(crate) fn sample(
        &mut self,
        (setting, program): (&str, &str),
        value: f64,
        limit: Option<f64>,
    ) -> &mut Figure {
        tracing::info!(section = self.title, setting, program, value, unit = self.unit.name(), "measured");
        let known =
            self.figures.iter().position(|figure| figure.setting == setting && figure.program == program);
        let index = known.unwrap_or_else(|| {
            self.figures.push(Figure {
                setting: setting.to_owned(),
                x: None,
                program: program.to_owned(),
                median: value,
                spread: [value; 2],
                samples: Vec::new(),
                limit,
                target: None,
                note: String::new(),
            });
            self.figures.len() - 1
        });
        let figure = &mut self.figures[index];
        figure.samples.push(value);
        let mut sorted = figure.samples.clone();
        sorted.sort_by(f64::total_cmp);
        figure.median = f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        figure.spread = [sorted[0], sorted[sorted.len() - 1]];
        figure
    }

    /// Compares a form of Gavel with a peer in every setting in which both have figures.
    pub(crate) fn compare(&mut self, gavel: &str, peer: &str, target: Option<f64>) {
        let pairs = self.figures.iter().filter(|own| own.program == gavel).flat_map(|own| {
            let beside = |other: &&Figure| other.program == peer && other.setting == own.setting;
            self.figures.iter().filter(beside).map(move |other| (own, other)).collect::<Vec<_>>()
        });
        let ratios: Vec<Ratio> = pairs
            .map(|(own, other)| Ratio {
                setting: own.setting.clone(),
                gavel: gavel.to_owned(),
                peer: peer.to_owned(),
                times: self.unit.times(own.median, other.median),
                target,
            })
            .collect();
        self.ratios.extend(ratios);
    }
}

#[cfg(test)]
mod tests {
    use super::{Section, Unit};

    #[test]
    fn medians_are_compared_in_the_direction_of_the_unit() {
        for (unit, times) in [(Unit::Seconds, 0.5), (Unit::TokensPerSecond, 2.0)] {
            let mut section = Section::new("t", unit);
            for value in [9.0, 4.0, 1.0, 4.0] {
                section.sample(("s", "Gavel"), value, Some(1.0));
            }
            section.sample(("s", "peer"), 2.0, None);
            section.sample(("other", "peer"), 7.0, None);
            section.compare("Gavel", "peer", Some(1.5));
            assert_eq!((section.figures[0].median, section.figures[0].spread), (4.0, [1.0, 9.0]));
            let found: Vec<_> =
                section.ratios.iter().map(|ratio| (ratio.setting.as_str(), ratio.times)).collect();
            assert_eq!(found, [("s", times)]);
        }
    }
}
