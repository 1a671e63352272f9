//! The path by which a request is routed. Users set the base URL of a client to the full URL of a route, or with a
//! slash at its end, and the client appends a path of its own.

use std::borrow::Cow;

use axum::{
    extract::Request,
    http::{Uri, uri::PathAndQuery},
};

/// Paths without a version of the routes that operators use. They have no other spelling, so that a rule of a proxy for
/// one of them holds.
const EXACT: [&str; 2] = ["/metrics", "/rubrics/reload"];

/// Ends of the full URLs that users set as a base. The longest comes first, since others are a part of it.
const FULL: [&str; 3] = ["/chat/completions", "/completions", "/responses"];

/// What may precede such an end, besides an Azure deployment.
const BASES: [&str; 4] = ["", "/v1", "/openai", "/openai/v1"];

/// The beginnings of the paths that clients append to a version.
const AFTER_VERSION: [&str; 3] = ["v1", "v2", "openai"];

/// The beginnings of the paths that clients append to a full URL. The routes of operators and of Gavel's own interface
/// are not among them.
const AFTER_FULL: [&str; 11] = [
    "v1",
    "v2",
    "openai",
    "chat",
    "completions",
    "responses",
    "embeddings",
    "models",
    "files",
    "batches",
    "rerank",
];

/// Extension with the URI of a request that is routed by another path: logs and limits are about what was sent.
#[derive(Debug, Clone)]
struct SentUri(Uri);

/// The URI as the client sent it.
pub(crate) fn sent(request: &Request) -> &Uri {
    request.extensions().get::<SentUri>().map_or(request.uri(), |SentUri(uri)| uri)
}

/// The request with the path of its route. It is changed before routing and access control, which thus see one path.
pub(crate) fn routed(mut request: Request) -> Request {
    if let Some(uri) = routed_uri(request.uri()) {
        let sent = std::mem::replace(request.uri_mut(), uri);
        request.extensions_mut().insert(SentUri(sent));
    }
    request
}

/// The URI with the path of its route; `None` if that is the path which it has.
fn routed_uri(uri: &Uri) -> Option<Uri> {
    let path = routed_path(uri.path())?;
    let path_and_query = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path_and_query).ok()?);
    Uri::from_parts(parts).ok()
}

/// The path of the route; `None` if that is `path` itself.
fn routed_path(path: &str) -> Option<String> {
    let plain = without_extra_slashes(path);
    let route = appended(&plain);
    (route != path && !EXACT.contains(&route)).then(|| route.to_owned())
}

/// The path with one slash for each run of them, and none at its end. `*` of a request with the method OPTIONS is not a
/// path.
fn without_extra_slashes(path: &str) -> Cow<'_, str> {
    let has_extra = path.contains("//") || (path.len() > 1 && path.ends_with('/'));
    if !has_extra || !path.starts_with('/') {
        return Cow::Borrowed(path);
    }
    let mut plain = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        plain.push('/');
        plain.push_str(segment);
    }
    if plain.is_empty() { Cow::Borrowed("/") } else { Cow::Owned(plain) }
}

/// The path that a client has appended to its base, if the base ends with a version or is a full URL, or else `path`.
fn appended(mut path: &str) -> &str {
    while let Some(rest) = after_version(path).or_else(|| after_full(path)) {
        path = rest;
    }
    path
}

/// What follows `/v1` at the beginning, if that is the beginning of another path.
fn after_version(path: &str) -> Option<&str> {
    path.strip_prefix("/v1").filter(|rest| begins_with_one_of(rest, &AFTER_VERSION))
}

/// What follows a full URL at the beginning, if that is the beginning of another path.
fn after_full(path: &str) -> Option<&str> {
    FULL.into_iter().find_map(|full| {
        let (base, rest) = path.split_once(full)?;
        let is_base = BASES.contains(&base) || is_deployment(base);
        (is_base && begins_with_one_of(rest, &AFTER_FULL)).then_some(rest)
    })
}

/// Whether a base is that of a deployment in Azure.
fn is_deployment(base: &str) -> bool {
    base.strip_prefix("/openai/deployments/").is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

/// Whether the first segment of a path is one of `names`.
fn begins_with_one_of(path: &str, names: &[&str]) -> bool {
    let first = path.strip_prefix('/').and_then(|rest| rest.split('/').next());
    first.is_some_and(|first| names.contains(&first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_path_that_a_client_appended_counts() {
        for (path, route) in [
            ("//judge", "/judge"),
            ("/reward/", "/reward"),
            ("//", "/"),
            ("/v1/", "/v1"),
            ("//v1//models//a/b/", "/v1/models/a/b"),
            ("/v1/v1/chat/completions", "/v1/chat/completions"),
            ("/v1/v1/v1/models", "/v1/models"),
            ("/v1/v2/rerank", "/v2/rerank"),
            ("/v1/openai/deployments/x/embeddings", "/openai/deployments/x/embeddings"),
            ("/v1/chat/completions/v1/chat/completions", "/v1/chat/completions"),
            ("/v1/chat/completions//chat/completions/", "/chat/completions"),
            ("/v1/chat/completions/chat/completions/chat/completions", "/chat/completions"),
            ("/v1/chat/completions/completions", "/completions"),
            ("/v1/chat/completions/responses", "/responses"),
            ("/v1/chat/completions/models/a/b", "/models/a/b"),
            ("/chat/completions/files/file-1/content", "/files/file-1/content"),
            ("/openai/v1/chat/completions/v1/batches", "/v1/batches"),
            ("/v1/responses/responses", "/responses"),
            ("/v1/completions/completions", "/completions"),
            (
                "/openai/deployments/x/chat/completions/openai/deployments/y/chat/completions",
                "/openai/deployments/y/chat/completions",
            ),
        ] {
            assert_eq!(routed_path(path).as_deref(), Some(route), "{path}");
        }
    }

    #[test]
    fn other_paths_stay_as_they_are() {
        for path in [
            "",
            "*",
            "/",
            "/v1",
            "/judge",
            "/v1/chat/completions",
            "/v1/models/chat/completions/models",
            "/v1/models/v1",
            "/v1x/v1/models",
            "/chat/completionsx/models",
            "/openai/deployments/completions/chat/completions",
            "/openai/deployments/x/chat/completions",
            "/v1/responses/resp_1",
            "/v1/judge",
            // No other spelling leads to what operators use.
            "/metrics/",
            "//metrics",
            "//rubrics//reload/",
            "/v1/chat/completions/metrics",
            "/v1/chat/completions/rubrics/reload",
            "/v1/chat/completions/judge",
            "/v1/metrics",
        ] {
            assert_eq!(routed_path(path), None, "{path}");
        }
    }

    #[test]
    fn the_rest_of_a_uri_is_kept_and_what_was_sent_is_known() {
        for (uri, expected) in [
            ("//judge/?a=/b//c/", "/judge?a=/b//c/"),
            ("http://host:80//v1/v1/models", "http://host:80/v1/models"),
            ("/v1/models?a", "/v1/models?a"),
        ] {
            let request = routed(Request::builder().uri(uri).body(axum::body::Body::empty()).unwrap());
            assert_eq!(request.uri(), expected);
            assert_eq!(sent(&request), uri);
        }
    }
}
