//! Refuses unsupported members of bodies with questions.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    dialects::parameters::{self, Members},
    error::ApiError,
    json_body::JsonBytes,
};

/// The questions of a body, in a list or by their names.
#[derive(Deserialize)]
#[serde(untagged)]
enum Questions {
    Listed(Vec<Members>),
    Named(BTreeMap<String, Members>),
}

/// Refuses a body with a member, or with a question that has a member, that is neither harmless nor one of those that
/// are read of a body or of a question; the error names the first one.
pub(in super::super) fn check_members(
    body: &JsonBytes,
    of_body: &[&str],
    of_question: &[&str],
) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Body {
        questions: Questions,
    }
    parameters::check(body, of_body)?;
    let Body { questions } = body.parse()?;
    let check = |path: String, members: &Members| parameters::check_members(members, of_question, &path);
    match questions {
        Questions::Listed(listed) => {
            let mut listed = listed.iter().enumerate();
            listed.try_for_each(|(index, members)| check(format!("questions[{index}]."), members))
        }
        Questions::Named(named) => {
            named.iter().try_for_each(|(name, members)| check(format!("questions.{name}."), members))
        }
    }
}
