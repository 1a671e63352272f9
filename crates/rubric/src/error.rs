//! Why a rubric or a profile cannot be used.

use crate::{CaseField, Kind, Problems};

/// Why rubrics and profiles could not be loaded, or do not fit a case.
#[derive(Debug, thiserror::Error)]
pub enum RubricError {
    /// No rubric of this name is known.
    #[error("there is no rubric named {name:?}{}", did_you_mean(nearest))]
    Unknown {
        /// What was asked for.
        name: String,
        /// Known names that are spelt alike, nearest first.
        nearest: Vec<String>,
    },
    /// The rubric is for another number of responses.
    #[error("rubric {rubric:?} {}", other_kind(*rubric_kind))]
    WrongKind {
        /// Name of the rubric.
        rubric: String,
        /// What the rubric is for.
        rubric_kind: Kind,
        /// What the case has.
        case_kind: Kind,
    },
    /// The case lacks what the rubric judges by.
    #[error("rubric {rubric:?} needs a {field}")]
    MissingField {
        /// Name of the rubric.
        rubric: String,
        /// What is missing.
        field: CaseField,
    },
    /// The critic would not be shown what the rubric judges by.
    #[error("rubric {rubric:?} needs a {field}, for which the critic's format {format:?} has no place")]
    NoPlace {
        /// Name of the rubric.
        rubric: String,
        /// What cannot be shown.
        field: CaseField,
        /// Name of the format.
        format: String,
    },
    /// Nothing was asked.
    #[error("the question is empty")]
    NoQuestion,
    /// The critic has no such prompt format.
    #[error("there is no format named {name:?} for this kind; the critic has {known:?}")]
    UnknownFormat {
        /// What was asked for.
        name: String,
        /// The formats of the kind.
        known: Vec<String>,
    },
    /// A rubric contradicts itself.
    #[error("rubric {name:?} is not valid: {reason}")]
    InvalidRubric {
        /// Name of the rubric.
        name: String,
        /// Which of its keys is to blame.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The critic's way of answering does not allow what is asked of it.
    #[error("{reason}")]
    Unsupported {
        /// Which choice is to blame.
        key: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// Files of rubrics and profiles cannot be used; all that is wrong is told at once.
    #[error("{0}")]
    Library(Problems),
}

/// In the words of people who ask: they name no kinds.
fn other_kind(rubric: Kind) -> &'static str {
    match rubric {
        Kind::Pointwise => "scores one response, and here two are compared",
        Kind::Pairwise => "compares two responses, and here one is scored",
    }
}

fn did_you_mean(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        [name] => format!("; the nearest is {name}"),
        names => format!("; the nearest are {}", names.join(", ")),
    }
}
