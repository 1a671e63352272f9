//! The measurements, one file for each kind of figures.

mod growth;
mod image;
mod language;
mod reward;
mod startup;

pub(crate) use growth::{against_context, against_responses};
pub(crate) use image::{ImagePlan, image};
pub(crate) use language::{Batch, LanguagePlan, language};
pub(crate) use reward::{Judging, reward};
pub(crate) use startup::startup;
