//! Judging the judge: labelled sets in several forms, the requests to send to a critic about them, and figures
//! from its answers.
//!
//! This crate sends no requests itself: a plan lists requests of `POST /judge` and `POST /reward` as JSON, the
//! caller sends them and collects the bodies of the answers, and a report is made of these.

mod answer;
mod attack;
mod error;
mod figures;
mod forms;
mod item;
mod plan;
mod report;
pub mod statistics;

pub use answer::{Answers, Outcome, standing};
pub use attack::{Attack, Change, Guard, Method, Search, attacks};
pub use error::EvaluationError;
pub use figures::{Answered, AttackReport, Evaluation, SearchFigures, Searched, evaluate, search_starts};
pub use forms::{Form, LabelledSet, LeftOut, read};
pub use item::{Criteria, Image, Item, Label, ReferenceScale};
pub use plan::{Ask, Asking, DefaultRubrics, Format, attack_plan, plan};
