//! The definition of a judgement: renders a [`Case`] under a [`Rubric`] into a prompt, and parses the critic's text
//! into a [`Verdict`].
//!
//! A [`Rubric`] defines the criteria and the scale; a [`Profile`] defines the prompt formats and answer forms on
//! which one family of checkpoints was trained. They are separate so that a new critic needs no new rubrics.
//! Everything is pure except [`RubricLibrary`], which can read a folder.

mod answer;
mod case;
mod choices;
mod degenerate;
mod distribution;
mod error;
mod flag;
mod form;
mod invisible;
mod justification;
mod library;
mod nearest;
mod parser;
mod problem;
mod profile;
mod rubric;
mod template;
mod verdict;

pub use answer::AnswerForm;
pub use case::{Case, Responses};
pub use choices::Choices;
pub use degenerate::certain_outcome;
pub use distribution::Distribution;
pub use error::RubricError;
pub use flag::Flag;
pub use form::{
    EachItem, Escape, Form, FormPart, ItemChoice, Items, Judged, Options, Points, Restraint, StatedScale,
};
pub use justification::Justification;
pub use library::RubricLibrary;
pub use nearest::nearest;
pub use parser::{Ending, ParserEvent, VerdictParser};
pub use problem::{Problem, Problems};
pub use profile::{Format, Profile};
pub use rubric::{CaseField, Direction, Kind, Reading, Rubric, Scale};
pub use verdict::{Confidence, Grade, Outcome, Preference, ScorePair, Strength, Verdict, VerdictError};
