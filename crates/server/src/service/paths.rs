//! The paths of the API, for errors about unknown ones and about methods that a path does not take.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use judge::nearest;
use utoipa::openapi::{OpenApi, PathItem};

use crate::error::{ApiError, ErrorCode, LONGEST_VALUE, brief};

/// Prefixes of the paths of other servers.
const PREFIXES: [&str; 4] = ["/api", "/v1", "/v2", "/openai"];

/// The documented paths without path parameters, and the methods of each.
pub(crate) struct Paths(BTreeMap<String, Vec<&'static str>>);

impl Paths {
    /// The paths of the API document.
    pub(crate) fn of(document: &OpenApi) -> Self {
        let paths = document.paths.paths.iter().filter(|(path, _)| !path.contains('{'));
        Self(paths.map(|(path, item)| (path.clone(), methods(item))).collect())
    }

    /// The error for an unknown path.
    pub(crate) fn unknown(&self, path: &str) -> ApiError {
        let message = match self.meant(path) {
            Some(meant) => {
                format!("There is nothing at this path; did you mean {meant}? GET /docs shows all paths.")
            }
            None => "There is nothing at this path. GET /docs shows all paths.".to_owned(),
        };
        ApiError::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, message)
    }

    /// The error for a method that the route at `path` does not take.
    pub(crate) fn wrong_method(&self, method: &Method, path: &str) -> ApiError {
        let method = brief(method.to_string(), LONGEST_VALUE);
        let message = match self.0.get(path) {
            Some(taken) if !taken.is_empty() => {
                format!("This path takes {}, not {method}.", taken.join(" and "))
            }
            Some(_) | None => {
                format!("This path does not take {method}; the header allow names the methods that it takes.")
            }
        };
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::MethodNotAllowed, message)
    }

    /// The known path, with its first method, that an unknown one likely means: it has another prefix, a slash at its
    /// end or a typing error.
    fn meant(&self, path: &str) -> Option<String> {
        let mut rest = path.trim_end_matches('/');
        let last = loop {
            if let Some(found) = self.found(rest) {
                return Some(found);
            }
            let shorter = PREFIXES
                .iter()
                .find_map(|prefix| rest.strip_prefix(prefix).filter(|rest| rest.starts_with('/')));
            match shorter {
                Some(shorter) => rest = shorter,
                None => break rest,
            }
        };
        // Very short paths are close to every other one.
        if last.len() < 4 {
            return None;
        }
        let found = nearest(last, self.0.keys().map(String::as_str).filter(|known| known.len() > 3));
        found.first().and_then(|path| self.found(path))
    }

    /// `path` with its first method if it is known, or else the same path below `/v1`.
    fn found(&self, path: &str) -> Option<String> {
        let below = format!("/v1{path}");
        let (path, methods) = self.0.get_key_value(path).or_else(|| self.0.get_key_value(&below))?;
        Some(format!("{} {path}", methods.first()?))
    }
}

fn methods(item: &PathItem) -> Vec<&'static str> {
    let taken = [
        ("GET", item.get.is_some()),
        ("POST", item.post.is_some()),
        ("PUT", item.put.is_some()),
        ("PATCH", item.patch.is_some()),
        ("DELETE", item.delete.is_some()),
    ];
    taken.into_iter().filter(|(_, is_taken)| *is_taken).map(|(method, _)| method).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> Paths {
        let known = [
            ("/judge", vec!["POST"]),
            ("/reward", vec!["POST"]),
            ("/v1/chat/completions", vec!["POST"]),
            ("/v1/files", vec!["POST", "GET"]),
            ("/rm", vec!["POST"]),
            ("/pooling", vec!["POST"]),
        ];
        Paths(known.into_iter().map(|(path, methods)| (path.to_owned(), methods)).collect())
    }

    #[test]
    fn a_likely_path_is_named() {
        for (path, meant) in [
            ("/v1/judge", Some("POST /judge")),
            ("/api/v1/judge/", Some("POST /judge")),
            ("/judge/", Some("POST /judge")),
            ("/jugde", Some("POST /judge")),
            ("/v1/rewards", Some("POST /reward")),
            ("/api/chat/completions", Some("POST /v1/chat/completions")),
            ("/v1/rm", Some("POST /rm")),
            ("/x", None),
            ("/no/such/path", None),
            ("/nothing", None),
            ("/v1", None),
            ("/", None),
        ] {
            assert_eq!(paths().meant(path).as_deref(), meant, "{path}");
        }
        let told = paths().unknown("/v1/judge");
        assert!(told.message().contains("did you mean POST /judge?") && told.message().contains("GET /docs"));
    }

    #[test]
    fn the_right_method_is_named() {
        let told = |path: &str| paths().wrong_method(&Method::PUT, path).message().to_owned();
        assert_eq!(told("/judge"), "This path takes POST, not PUT.");
        assert_eq!(told("/v1/files"), "This path takes POST and GET, not PUT.");
        assert!(told("/openai/files").contains("header allow"));
    }
}
