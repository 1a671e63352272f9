//! A value where clients may send a list.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A value, or a list of values.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum OneOrMany<T> {
    /// A list.
    Many(Vec<T>),
    /// A single value.
    One(T),
}

impl<T> OneOrMany<T> {
    /// All values, in order.
    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            Self::Many(values) => values,
            Self::One(value) => vec![value],
        }
    }

    /// What `convert` makes of each value, as a list if these are one.
    pub(super) fn map<U>(&self, mut convert: impl FnMut(&T) -> U) -> OneOrMany<U> {
        match self {
            Self::Many(values) => OneOrMany::Many(values.iter().map(convert).collect()),
            Self::One(value) => OneOrMany::One(convert(value)),
        }
    }
}
