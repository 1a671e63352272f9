//! Reasons why a rubric or a profile cannot be used.

use crate::{CaseField, Kind, Problems};

/// Errors of loading rubrics and profiles, and of applying them to a case.
#[derive(Debug, thiserror::Error)]
pub enum RubricError {
    /// There is no rubric of this name.
    #[error("there is no rubric named {name:?}{}", did_you_mean(nearest))]
    Unknown {
        /// The requested name.
        name: String,
        /// Known names with a similar spelling, nearest first.
        nearest: Vec<String>,
    },
    /// The rubric is for a different number of responses.
    #[error("rubric {rubric:?} {}", other_kind(*rubric_kind))]
    WrongKind {
        /// Name of the rubric.
        rubric: String,
        /// The kind that the rubric is for.
        rubric_kind: Kind,
        /// The kind of the case.
        case_kind: Kind,
    },
    /// The case lacks a field that the rubric needs.
    #[error("rubric {rubric:?} needs a {field}")]
    MissingField {
        /// Name of the rubric.
        rubric: String,
        /// The missing field.
        field: CaseField,
    },
    /// The critic's prompt format has no place for a field that the rubric needs.
    #[error("rubric {rubric:?} needs a {field}, for which the critic's format {format:?} has no place")]
    NoPlace {
        /// Name of the rubric.
        rubric: String,
        /// The field that cannot be shown.
        field: CaseField,
        /// Name of the format.
        format: String,
    },
    /// The question is empty.
    #[error("the question is empty")]
    NoQuestion,
    /// The critic has no prompt format of this name for this kind.
    #[error("there is no format named {name:?} for this kind; the critic has {known:?}")]
    UnknownFormat {
        /// The requested name.
        name: String,
        /// The names of the critic's formats of this kind.
        known: Vec<String>,
    },
    /// A rubric is invalid or contradicts itself.
    #[error("rubric {name:?} is not valid: {reason}")]
    InvalidRubric {
        /// Name of the rubric.
        name: String,
        /// The key at fault.
        key: &'static str,
        /// A description of the problem.
        reason: String,
    },
    /// The critic's answer form does not support a requested option.
    #[error("{reason}")]
    Unsupported {
        /// The option at fault.
        key: &'static str,
        /// A description of the problem.
        reason: &'static str,
    },
    /// Files of rubrics, profiles or forms are invalid; all problems are reported at once.
    #[error("{0}")]
    Library(Problems),
}

/// Describes the mismatch in terms of responses, since clients do not know the kinds.
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
