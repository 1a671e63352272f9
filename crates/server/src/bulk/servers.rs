//! Several servers as one: rows of one image go to one of them, and what a server does not answer goes to another.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header, uri::Authority};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use super::panel::{Asked, Refusal};

/// The first pause after a failure; each further failure doubles it,
const PAUSE: Duration = Duration::from_millis(250);
/// up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long no server may answer at all before the run ends. What was done is kept, and the run can go on later.
const PATIENCE: Duration = Duration::from_secs(300);
/// How many failures of its own a row may have, on whatever servers, before it counts as one that cannot be judged.
const MOST_FAILURES: usize = 5;
/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);

/// Servers with the same critic.
pub(crate) struct Servers {
    /// Keeps its connections, without a bound of its own: there are as many as rows at a time.
    client: Client<HttpConnector, Full<Bytes>>,
    servers: Vec<Server>,
    /// The header that shows the key, if there is one.
    bearer: Option<HeaderValue>,
    /// When any server last answered. A lock that is held for an assignment only.
    answered: Mutex<Instant>,
}

struct Server {
    authority: Authority,
    /// A lock that is held for an assignment only.
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct State {
    /// Nothing is asked before.
    rests_until: Instant,
    failures: u32,
}

/// An answer that was read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

/// What one attempt came to.
enum Attempt {
    Answered(Result<Value, Refusal>),
    /// The server is busy or away; the row is not to blame.
    Away(String, Option<Duration>),
    /// The server failed on this row.
    Failed(String, Option<Refusal>),
}

impl Servers {
    /// The servers at these `http` URLs, of which nothing but host and port may be given, and the key that they ask for.
    pub(super) fn at(urls: &[String], key: Option<&str>) -> anyhow::Result<Self> {
        let bearer = key.map(|key| HeaderValue::try_from(format!("Bearer {key}"))).transpose();
        // The key itself is not told.
        let mut bearer = bearer.map_err(|_| anyhow::anyhow!("--api-key is no key that can be sent"))?;
        if let Some(bearer) = &mut bearer {
            bearer.set_sensitive(true);
        }
        let server = |url: &String| {
            let wrong = || format!("{url:?} is no address of a server, such as http://127.0.0.1:8080");
            let uri: Uri = url.parse().with_context(wrong)?;
            ensure!(uri.scheme_str() == Some("http") && uri.path() == "/", wrong());
            let authority = uri.authority().cloned().with_context(wrong)?;
            let state = State { rests_until: Instant::now(), failures: 0 };
            Ok(Server { authority, state: Mutex::new(state) })
        };
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let servers = urls.iter().map(server).collect::<anyhow::Result<_>>()?;
        Ok(Self { client, servers, bearer, answered: Mutex::new(Instant::now()) })
    }

    pub(super) fn count(&self) -> usize {
        self.servers.len()
    }

    /// The name of the critic that all servers have which can be reached.
    pub(super) async fn model(&self) -> anyhow::Result<String> {
        let (mut found, mut away): (Option<String>, Vec<String>) = (None, Vec::new());
        for server in &self.servers {
            match self.send(server, (Method::GET, "/health"), Bytes::new()).await {
                Ok(answer) if answer.status != StatusCode::OK => {
                    let refusal = Refusal::new(answer.status, &answer.body);
                    bail!("{} refuses: {}", server.authority, refusal.message);
                }
                Ok(answer) => {
                    let model = answer.body["model"].as_str().unwrap_or_default().to_owned();
                    match &found {
                        Some(other) if *other != model => {
                            bail!("the servers have different critics: {other} and {model}")
                        }
                        _ => found = Some(model),
                    }
                }
                Err(error) => away.push(format!("{}: {error:#}", server.authority)),
            }
        }
        let Some(found) = found else { bail!("none of the servers can be reached: {}", away.join("; ")) };
        for reason in away {
            tracing::warn!("a server cannot be reached: {reason}");
        }
        Ok(found)
    }

    /// Asks the first server that answers.
    pub(super) async fn get(&self, route: &str) -> anyhow::Result<Value> {
        for server in &self.servers {
            match self.send(server, (Method::GET, route), Bytes::new()).await {
                Ok(answer) if answer.status == StatusCode::OK => return Ok(answer.body),
                Ok(answer) => {
                    tracing::warn!(server = %server.authority, status = %answer.status, route, "no answer")
                }
                Err(error) => tracing::warn!(server = %server.authority, "cannot be reached: {error:#}"),
            }
        }
        bail!("none of the servers answers {route}")
    }

    /// Asks the server of `key`, or the next one while that one rests.
    pub(super) async fn post(&self, route: &str, body: &Value, key: &str) -> Asked {
        let body = Bytes::from(body.to_string());
        let order = self.order(key);
        let start = Instant::now();
        let silent = || self.last_answer().max(start).elapsed();
        let mut failures = 0;
        loop {
            let Some(server) = order.iter().find(|server| server.is_awake()) else {
                let next = order.iter().map(|server| server.state().rests_until).min();
                tokio::time::sleep_until(next.unwrap_or_else(Instant::now).into()).await;
                continue;
            };
            match attempt(self.send(server, (Method::POST, route), body.clone()).await) {
                Attempt::Answered(answer) => {
                    server.recovered();
                    *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                    return Ok(answer);
                }
                Attempt::Away(reason, retry_after) => server.rest(&reason, retry_after),
                Attempt::Failed(reason, refusal) => {
                    failures += 1;
                    if failures >= MOST_FAILURES {
                        let lost = Refusal { code: "server_failed".into(), message: reason };
                        return Ok(Err(refusal.unwrap_or(lost)));
                    }
                    server.rest(&reason, None);
                }
            }
            ensure!(
                silent() < PATIENCE,
                "no server has answered for {} seconds; what was done is kept",
                PATIENCE.as_secs()
            );
        }
    }

    fn last_answer(&self) -> Instant {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All servers, that of `key` first: by the highest hash of server and key, so that a server which goes takes only its
    /// own keys along.
    fn order(&self, key: &str) -> Vec<&Server> {
        let weight = |server: &&Server| {
            let mut hasher = DefaultHasher::new();
            (server.authority.as_str(), key).hash(&mut hasher);
            hasher.finish()
        };
        let mut order: Vec<&Server> = self.servers.iter().collect();
        order.sort_by_cached_key(|server| std::cmp::Reverse(weight(server)));
        order
    }

    async fn send(
        &self,
        server: &Server,
        (method, route): (Method, &str),
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let uri = Uri::builder().scheme("http").authority(server.authority.clone()).path_and_query(route);
        let mut request = Request::builder()
            .method(method)
            .uri(uri.build()?)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        if let Some(bearer) = &self.bearer {
            request.headers_mut().insert(header::AUTHORIZATION, bearer.clone());
        }
        let (head, body) = self.client.request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let body = serde_json::from_slice(&body)
            .with_context(|| format!("the answer with status {} is no JSON", head.status))?;
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

fn attempt(sent: anyhow::Result<Answer>) -> Attempt {
    let answer = match sent {
        Ok(answer) => answer,
        Err(error) => {
            let reason = format!("{error:#}");
            let connecting = error
                .downcast_ref::<hyper_util::client::legacy::Error>()
                .is_some_and(hyper_util::client::legacy::Error::is_connect);
            return if connecting { Attempt::Away(reason, None) } else { Attempt::Failed(reason, None) };
        }
    };
    let Answer { status, headers, body } = answer;
    let refusal = Refusal::new(status, &body);
    let reason = format!("status {status}: {}", refusal.message);
    match status {
        StatusCode::OK => Attempt::Answered(Ok(body)),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            Attempt::Away(reason, retry_after(&headers))
        }
        // What the critic wrote is no verdict, there or anywhere.
        StatusCode::BAD_GATEWAY if refusal.code == "unparsable_verdict" => Attempt::Answered(Err(refusal)),
        status if status.is_server_error() => Attempt::Failed(reason, Some(refusal)),
        _ => Attempt::Answered(Err(refusal)),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(PATIENCE / 2))
}

impl Server {
    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_awake(&self) -> bool {
        self.state().rests_until <= Instant::now()
    }

    fn recovered(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failures = 0;
    }

    /// Leaves the server alone for as long as it said, or a while that grows with its failures.
    fn rest(&self, reason: &str, retry_after: Option<Duration>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Rows that failed together are one failure.
        if state.rests_until > Instant::now() {
            return;
        }
        let pause = retry_after
            .unwrap_or_else(|| PAUSE.saturating_mul(1 << state.failures.min(10)).min(LONGEST_PAUSE));
        state.rests_until = Instant::now() + pause;
        state.failures += 1;
        tracing::warn!(server = %self.authority, ?pause, "rests: {reason}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spread_over_servers_and_stay_when_another_goes() {
        let urls: Vec<String> = (1..=3).map(|port| format!("http://127.0.0.1:{port}")).collect();
        let (all, fewer) = (Servers::at(&urls, None).unwrap(), Servers::at(&urls[..2], None).unwrap());
        let first = |servers: &Servers, key: &str| servers.order(key)[0].authority.to_string();
        let mut counts = std::collections::HashMap::new();
        for key in (0..300).map(|key| format!("picture {key}")) {
            let home = first(&all, &key);
            *counts.entry(home.clone()).or_insert(0) += 1;
            if !home.ends_with(":3") {
                assert_eq!(first(&fewer, &key), home);
            }
        }
        assert!(counts.len() == 3 && counts.values().all(|count| *count > 60), "{counts:?}");
    }

    #[test]
    fn addresses_are_read_or_refused() {
        for url in ["127.0.0.1:8080", "https://a:1", "http://a/b", "http://", ""] {
            assert!(Servers::at(&[url.to_owned()], None).is_err(), "{url}");
        }
    }

    #[test]
    fn answers_tell_whom_to_blame() {
        let answer = |status: u16, code: &str| {
            let body = serde_json::json!({ "error": { "code": code, "message": "m" } });
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, "7".parse().unwrap());
            attempt(Ok(Answer { status: StatusCode::from_u16(status).unwrap(), headers, body }))
        };
        assert!(matches!(answer(503, "overloaded"), Attempt::Away(_, Some(pause)) if pause.as_secs() == 7));
        assert!(matches!(answer(429, "overloaded"), Attempt::Away(_, Some(_))));
        assert!(matches!(answer(500, "engine_failure"), Attempt::Failed(_, Some(_))));
        assert!(matches!(answer(502, "unparsable_verdict"), Attempt::Answered(Err(_))));
        assert!(matches!(answer(400, "invalid_request"), Attempt::Answered(Err(_))));
    }

    #[tokio::test]
    async fn a_server_that_failed_rests_longer_each_time() {
        let servers = Servers::at(&["http://127.0.0.1:1".to_owned()], None).unwrap();
        let server = &servers.servers[0];
        assert!(server.is_awake());
        server.rest("once", None);
        let first = server.state().rests_until;
        server.rest("together with the first", None);
        assert_eq!((server.state().failures, server.state().rests_until), (1, first));
        tokio::time::sleep_until(first.into()).await;
        assert!(server.is_awake());
        server.rest("twice", None);
        assert!(server.state().rests_until > first + PAUSE);
        server.recovered();
        assert_eq!(server.state().failures, 0);
    }
}
