//! The report of a comparison.

use serde::Serialize;

use super::{
    CompareDevice,
    agreement::Agreement,
    contender::{Contender, ProgramName},
    noise::Noise,
};
use crate::{machine::Machine, quantile::median, steps::MachineLimits};

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

impl Program {
    pub(crate) fn new(name: ProgramName, version: String) -> Self {
        Self { name: name.as_str(), version }
    }
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
    pub program: Contender,
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
    pub gavel: Contender,
    /// The peer, with the form of its weights.
    pub peer: Contender,
    /// How many times faster Gavel is, from the medians.
    pub times: f64,
    /// The target for that.
    pub target: Option<f64>,
}

/// A sample of a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) value: f64,
    /// The best value that the machine's limits allow, if it is known.
    pub(crate) limit: Option<f64>,
}

impl Measured {
    pub(crate) fn new(value: f64) -> Self {
        Self { value, limit: None }
    }

    pub(crate) fn with_limit(value: f64, limit: f64) -> Self {
        Self { value, limit: Some(limit) }
    }
}

impl Section {
    pub(crate) fn new(title: impl Into<String>, unit: Unit) -> Self {
        let (figures, ratios) = (Vec::new(), Vec::new());
        Self { title: title.into(), unit, figures, ratios, curve: None, agreement: None }
    }

    /// Adds a sample to the figure of `program` in `setting`, whose first sample sets the limit, and logs it,
    /// so that it is recorded even if this process is killed.
    pub(crate) fn sample(&mut self, setting: &str, program: Contender, measured: Measured) -> &mut Figure {
        let Measured { value, limit } = measured;
        let unit = self.unit.name();
        tracing::info!(section = self.title, setting, %program, value, unit, "measured");
        let known =
            self.figures.iter().position(|figure| figure.setting == setting && figure.program == program);
        let index = known.unwrap_or_else(|| {
            self.figures.push(Figure {
                setting: setting.to_owned(),
                x: None,
                program,
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
        figure.median = median(&figure.samples).unwrap_or(value);
        figure.spread = [figure.spread[0].min(value), figure.spread[1].max(value)];
        figure
    }

    /// Compares a form of Gavel with a peer in every setting in which both have figures.
    pub(crate) fn compare(&mut self, gavel: Contender, peer: Contender, target: Option<f64>) {
        let pairs = self.figures.iter().filter(|own| own.program == gavel).flat_map(|own| {
            let beside = |other: &&Figure| other.program == peer && other.setting == own.setting;
            self.figures.iter().filter(beside).map(move |other| (own, other)).collect::<Vec<_>>()
        });
        let ratios: Vec<Ratio> = pairs
            .map(|(own, other)| Ratio {
                setting: own.setting.clone(),
                gavel,
                peer,
                times: self.unit.times(own.median, other.median),
                target,
            })
            .collect();
        self.ratios.extend(ratios);
    }
}

#[cfg(test)]
mod tests {
    use super::{CompareDevice, Contender, Measured, Section, Unit};
    use crate::weight_form::Form;

    #[test]
    fn medians_are_compared_in_the_direction_of_the_unit() {
        let gavel = Contender::gavel(CompareDevice::Cpu, Form::F32);
        let peer = Contender::transformers(CompareDevice::Cpu);
        for (unit, times) in [(Unit::Seconds, 0.5), (Unit::TokensPerSecond, 2.0)] {
            let mut section = Section::new("t", unit);
            for value in [9.0, 4.0, 1.0, 4.0] {
                section.sample("s", gavel, Measured::with_limit(value, 1.0));
            }
            section.sample("s", peer, Measured::new(2.0));
            section.sample("other", peer, Measured::new(7.0));
            section.compare(gavel, peer, Some(1.5));
            assert_eq!((section.figures[0].median, section.figures[0].spread), (4.0, [1.0, 9.0]));
            let found: Vec<_> =
                section.ratios.iter().map(|ratio| (ratio.setting.as_str(), ratio.times)).collect();
            assert_eq!(found, [("s", times)]);
        }
    }
}
