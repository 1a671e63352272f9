//! Refuses unsupported members of bodies with questions.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use crate::{
    dialects::parameters::{self, Members},
    error::ApiError,
    extract::json_body::JsonBytes,
};

/// The values of an object with their names, in the order of the body. No name is there twice: such a body is refused
/// before it is parsed.
#[derive(Debug)]
pub(in super::super) struct Named<T>(pub(in super::super) Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(NamedVisitor(PhantomData))
    }
}

/// Reads an object as [`Named`].
struct NamedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for NamedVisitor<T> {
    type Value = Named<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Named<T>, A::Error> {
        let mut named = Vec::new();
        while let Some(member) = members.next_entry()? {
            named.push(member);
        }
        Ok(Named(named))
    }
}

/// The questions of a body, in a list or by their names.
#[derive(Deserialize)]
#[serde(untagged)]
enum Questions {
    Listed(Vec<Members>),
    Named(Named<Members>),
}

/// Refuses a body with a member, or with a question that has a member, that is neither harmless nor one of those that
/// are read of a body or of this question; the error names the first one.
pub(in super::super) fn check_members(
    body: &JsonBytes,
    of_body: &[&str],
    of_question: impl Fn(&Members) -> &'static [&'static str],
) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Body {
        questions: Questions,
    }
    parameters::check(body, of_body)?;
    let Body { questions } = body.parse()?;
    let check =
        |path: String, members: &Members| parameters::check_members(members, of_question(members), &path);
    match questions {
        Questions::Listed(listed) => {
            let mut listed = listed.iter().enumerate();
            listed.try_for_each(|(index, members)| check(format!("questions[{index}]."), members))
        }
        Questions::Named(Named(named)) => {
            named.iter().try_for_each(|(name, members)| check(format!("questions.{name}."), members))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_the_order_of_the_body() {
        let Named(named) = serde_json::from_str::<Named<u32>>(r#"{"b":1,"a":2}"#).unwrap();
        assert_eq!(named, [("b".to_owned(), 1), ("a".to_owned(), 2)]);
        assert!(serde_json::from_str::<Named<u32>>("[1]").is_err());
    }
}
