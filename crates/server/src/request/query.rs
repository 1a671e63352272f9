//! Parameters of URLs, with the same errors as those of bodies.

use axum::{
    extract::{Query, rejection::QueryRejection},
    http::Uri,
};
use serde::de::{DeserializeOwned, value};

use crate::{
    error::{ApiError, ErrorCode, causes},
    json::errors,
};

/// Parameters that gateways and SDKs add to every URL on their own. They are ignored.
const ADDED: [&str; 7] =
    ["api-version", "token", "access_token", "key", "api_key", "api-key", "subscription-key"];

/// Parses the parameters of a URL, which may be `known` ones and those that gateways add.
///
/// # Errors
/// `invalid_query` for any other parameter, since a misspelt one would have no effect, and for a value of the wrong
/// form.
pub(crate) fn read<T: DeserializeOwned>(uri: &Uri, known: &[&str]) -> Result<T, ApiError> {
    let query = uri.query().unwrap_or_default();
    let is_known = |name: &str| known.contains(&name) || ADDED.contains(&name);
    if let Some((name, _)) = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| !is_known(name)) {
        let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        // In the words of the parser.
        let reason = format!("unknown field `{name}`, expected one of {}", names.join(", "));
        return Err(invalid_query(&name, &reason));
    }
    Query::try_from_uri(uri).map(|Query(read)| read).map_err(|error| refused(&error))
}

/// The error for parameters that cannot be parsed.
pub(crate) fn refused(error: &QueryRejection) -> ApiError {
    let found =
        causes(error).find_map(|cause| cause.downcast_ref::<serde_path_to_error::Error<value::Error>>());
    match found {
        Some(error) => {
            let (path, reason) = (error.path().to_string(), error.inner().to_string());
            let reason =
                if is_no_number(&reason) { "invalid value: string, expected usize" } else { &reason };
            invalid_query(&path, reason)
        }
        None => invalid_query("", &error.body_text()),
    }
}

/// Whether `reason` is the standard library's error for a text that is not a whole number.
fn is_no_number(reason: &str) -> bool {
    ["invalid digit", "cannot parse integer", "number too large"]
        .iter()
        .any(|start| reason.starts_with(start))
}

fn invalid_query(path: &str, reason: &str) -> ApiError {
    errors::refusal((path, "parameter"), reason).with_code(ErrorCode::InvalidQuery)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Asked {
        order: Option<Order>,
        limit: Option<usize>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Order {
        Given,
        Both,
    }

    fn asked(query: &str) -> Result<Asked, (String, String)> {
        let uri: Uri = format!("/?{query}").parse().unwrap();
        let told = |error: ApiError| {
            assert_eq!(error.code(), ErrorCode::InvalidQuery);
            (error.param().unwrap_or_default().to_owned(), error.message().to_owned())
        };
        read(&uri, &["order", "limit"]).map_err(told)
    }

    #[test]
    fn a_wrong_parameter_is_named_in_plain_words() {
        let both = Asked { order: Some(Order::Both), limit: Some(3) };
        assert_eq!(asked("order=both&limit=3&api-version=2024-06-01").unwrap(), both);
        assert_eq!(asked("").unwrap(), Asked { order: None, limit: None });
        for (query, param, message) in [
            (
                "ordr=both",
                "ordr",
                "Unknown parameter `ordr`; did you mean `order`? Known here: `order` and `limit`.",
            ),
            ("order=best", "order", "order must be `given` or `both`, not `best`."),
            ("limit=many", "limit", "limit must be a whole number from 0."),
            ("order=both&order=given", "order", "order is there twice."),
        ] {
            let (told, words) = asked(query).unwrap_err();
            assert_eq!((told.as_str(), words.as_str()), (param, message), "{query}");
        }
    }
}
