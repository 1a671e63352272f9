//! Lenient reading of parameter values, and checks of their range.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use crate::error::{ApiError, brief};

/// Below this, an f64 represents every whole number exactly.
const EXACT_LIMIT: f64 = (1_u64 << 53) as f64;

/// The maximum length of a number in a message, in characters: the largest one has 309 digits.
const MAX_DIGITS: usize = 24;

/// Reads a value leniently: `null` is `None`, a list of one element is that element, and `1.0` is the whole number 1.
pub(super) fn lenient<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    source: D,
) -> Result<Option<T>, D::Error> {
    let mut value = Value::deserialize(source)?;
    if let Some([_]) = value.as_array().map(Vec::as_slice) {
        value = value[0].take();
    }
    if let Some(float) = value.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT_LIMIT) {
        #[expect(clippy::cast_possible_truncation, reason = "it is a whole number that fits")]
        let whole = float as i64;
        value = whole.into();
    }
    serde_json::from_value(value).map_err(serde::de::Error::custom)
}

/// The value as a size.
///
/// # Errors
/// When it is outside of `range`; the error names the parameter `name`.
pub(super) fn in_range(
    name: &str,
    value: i64,
    range: std::ops::RangeInclusive<i64>,
) -> Result<usize, ApiError> {
    usize::try_from(value).ok().filter(|_| range.contains(&value)).ok_or_else(|| {
        let (low, high) = range.into_inner();
        let message = if high == i64::MAX {
            format!("{name} must be at least {low}, not {value}.")
        } else {
            format!("{name} must be from {low} to {high}, not {value}.")
        };
        ApiError::invalid(name, message)
    })
}

/// The value in 32 bits. It is compared as it was written, since one just outside of `range` may be rounded into it.
///
/// # Errors
/// When it is outside of `range`; the error names the parameter `name`.
pub(super) fn number_in(
    name: &str,
    value: f64,
    range: std::ops::RangeInclusive<f64>,
) -> Result<f32, ApiError> {
    if range.contains(&value) {
        return Ok(value as f32);
    }
    let (low, high) = range.into_inner();
    let message =
        format!("{name} must be from {low} to {high}, not {}.", brief(value.to_string(), MAX_DIGITS));
    Err(ApiError::invalid(name, message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_whole_number_may_be_written_as_a_float_or_alone_in_a_list() {
        let read = |value: Value| lenient::<i64, _>(value).ok();
        for (written, expected) in [
            (json!(6), Some(Some(6))),
            (json!(6.0), Some(Some(6))),
            (json!([6.0]), Some(Some(6))),
            (json!(-1.0), Some(Some(-1))),
            (json!(i64::MAX), Some(Some(i64::MAX))),
            (json!(null), Some(None)),
            (json!(6.5), None),
            (json!(1e300), None),
            (json!("6"), None),
        ] {
            assert_eq!(read(written.clone()), expected, "{written}");
        }
        assert_eq!(lenient::<f64, _>(json!(1.0)).unwrap(), Some(1.0));
    }

    #[test]
    fn a_number_is_not_rounded_into_its_range() {
        let read = |value: f64| number_in("top_p", value, 0.0..=1.0).ok();
        assert_eq!((read(1.0), read(0.1), read(-0.0)), (Some(1.0), Some(0.1), Some(0.0)));
        for outside in [1.000_000_01, -1e-60, 1e300] {
            assert_eq!(read(outside), None, "{outside}");
        }
        let message = number_in("top_p", 1e300, 0.0..=1.0).unwrap_err().message().to_owned();
        assert!(message.chars().count() < 64, "{message}");
    }
}
