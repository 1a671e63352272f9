//! What was compared, with what, and by how much.

use serde::Serialize;

use super::{CompareDevice, noise::Noise};
use crate::bounds::MachineLimits;
use crate::machine::Machine;

/// All figures of a run.
#[derive(Debug, Clone, Serialize)]
pub struct CompareReport {
    /// Always `compare`.
    pub benchmark: &'static str,
    /// On what it ran.
    pub machine: Machine,
    /// What was computed on.
    pub device: CompareDevice,
    /// As it tells itself.
    pub device_name: String,
    /// Name of the checkpoint.
    pub model: String,
    /// Of how many weights it is made.
    pub weights: Weights,
    /// What was compared, and of which version.
    pub programs: Vec<Program>,
    /// What was not measured, and why.
    pub skipped: Vec<Skipped>,
    /// The figures.
    pub sections: Vec<Section>,
    /// What the machine, or its GPU, can do, before everything and after it.
    pub limits: [MachineLimits; 2],
    /// What disturbed it.
    pub noise: Noise,
    /// How long all of it took.
    pub elapsed_s: f64,
}

/// Weights of the products of a model.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Weights {
    /// Of the decoder's layers.
    pub decoder: usize,
    /// Of the product that makes logits.
    pub head: usize,
    /// Of the vision tower's layers.
    pub tower: usize,
}

/// A program that took part.
#[derive(Debug, Clone, Serialize)]
pub struct Program {
    /// What it is called.
    pub name: &'static str,
    /// As it tells itself.
    pub version: String,
}

/// Something that was not measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

/// Figures of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct Section {
    /// What is measured.
    pub title: String,
    /// In what.
    pub unit: Unit,
    /// Each program in each setting.
    pub figures: Vec<Figure>,
    /// How much faster Gavel is.
    pub ratios: Vec<Ratio>,
    /// What a curve of the figures has on its horizontal axis, when a figure's setting is a number.
    pub curve: Option<&'static str>,
}

/// A unit, and with it which figures are the better ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Less is better.
    Seconds,
    /// More is better.
    TokensPerSecond,
    /// 10^6 bytes; less is better.
    Megabytes,
}

impl Unit {
    /// As people write it.
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

/// One program in one setting.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was asked.
    pub setting: String,
    /// Where it stands on the horizontal axis of a curve.
    pub x: Option<f64>,
    /// Which program, and in which form.
    pub program: String,
    /// The middle of all samples.
    pub median: f64,
    /// The lowest and the highest sample.
    pub spread: [f64; 2],
    /// All samples, in order of time.
    pub samples: Vec<f64>,
    /// The best that the machine's limits allow for the work that is needed.
    pub limit: Option<f64>,
    /// What it is to reach.
    pub target: Option<f64>,
    /// What else is to be known of it.
    pub note: String,
}

/// By how much Gavel is better than a peer in the same setting.
#[derive(Debug, Clone, Serialize)]
pub struct Ratio {
    /// What was asked.
    pub setting: String,
    /// Gavel, in which form.
    pub gavel: String,
    /// The peer, in which form.
    pub peer: String,
    /// How many times faster, by medians.
    pub times: f64,
    /// How many times it is to be.
    pub target: Option<f64>,
}

impl Section {
    pub(crate) fn new(title: impl Into<String>, unit: Unit) -> Self {
        Self { title: title.into(), unit, figures: Vec::new(), ratios: Vec::new(), curve: None }
    }

    /// Adds a sample to the figure of `program` in `setting`, the first one with the limit.
    pub(crate) fn sample(
        &mut self,
        (setting, program): (&str, &str),
        value: f64,
        limit: Option<f64>,
    ) -> &mut Figure {
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

    /// Compares a form of Gavel with a peer wherever both have figures.
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
