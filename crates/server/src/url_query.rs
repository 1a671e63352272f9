//! Parameters in URLs, refused in the words in which those of bodies are.

use std::error::Error;

use axum::{
    extract::{Query, rejection::QueryRejection},
    http::Uri,
};
use serde::de::{DeserializeOwned, value};

use crate::{error::ApiError, json_words};

/// The code of all of them.
const CODE: &str = "invalid_query";

/// What gateways and SDKs add to every URL on their own. It means nothing here.
const ADDED: [&str; 7] =
    ["api-version", "token", "access_token", "key", "api_key", "api-key", "subscription-key"];

/// The parameters of a URL, of which there are none but `known` ones and those that gateways add.
///
/// # Errors
/// When another is there, since a misspelt one would be without effect, or one has the wrong form.
pub(crate) fn read<T: DeserializeOwned>(uri: &Uri, known: &[&str]) -> Result<T, ApiError> {
    let query = uri.query().unwrap_or_default();
    let is_known = |name: &str| known.contains(&name) || ADDED.contains(&name);
    if let Some((name, _)) = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| !is_known(name)) {
        let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        // As the parser would say it.
        let reason = format!("unknown field `{name}`, expected one of {}", names.join(", "));
        return Err(told(&name, &reason));
    }
    Query::try_from_uri(uri).map(|Query(read)| read).map_err(|error| refused(&error))
}

/// The refusal of parameters that cannot be read.
pub(crate) fn refused(error: &QueryRejection) -> ApiError {
    let mut causes =
        std::iter::successors(Error::source(error), |cause: &&(dyn Error + 'static)| Error::source(*cause));
    let found = causes.find_map(|cause| cause.downcast_ref::<serde_path_to_error::Error<value::Error>>());
    match found {
        Some(error) => {
            let (path, reason) = (error.path().to_string(), error.inner().to_string());
            let reason =
                if is_no_number(&reason) { "invalid value: string, expected usize" } else { &reason };
            told(&path, reason)
        }
        None => told("", &error.body_text()),
    }
}

/// Whether the standard library says that a text is no whole number.
fn is_no_number(reason: &str) -> bool {
    ["invalid digit", "cannot parse integer", "number too large"]
        .iter()
        .any(|start| reason.starts_with(start))
}

fn told(path: &str, reason: &str) -> ApiError {
    json_words::refusal((path, "parameter"), reason).with_code(CODE)
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
            assert_eq!(error.code(), CODE);
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
