//! Distributes requests over several servers: rows with the same images go to one server, and a request that a
//! server does not answer goes to another.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail, ensure};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header, uri::Authority};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use super::critic_pool::{JudgeReply, Refusal};
use crate::{error::ErrorCode, options::Urls, request::retry_after::retry_after};

/// The pause after a server's first failure; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause after failures of a server.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The run ends if every server has failed and none has answered anything for this long, beyond the time limit of an
/// attempt. Results so far are kept, and the run can be resumed.
const MAX_SILENCE: Duration = Duration::from_secs(300);
/// The number of failed attempts at a row, on any server, after which the row is recorded as failed.
const MAX_FAILED_ATTEMPTS: usize = 5;
/// Timeout for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit of a GET request: its answer needs no critic.
const GET_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle time of a connection before TCP probes, and the time between probes. With [`KEEPALIVE_PROBES`], a host that
/// vanished without closing its connections is noticed within a minute, although an answer may take much longer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Number of unanswered TCP probes after which a connection is given up.
const KEEPALIVE_PROBES: u32 = 3;

/// Servers with the same critic.
pub(crate) struct Servers {
    /// Pools connections without a limit of its own: there are as many as rows in flight.
    client: Client<HttpConnector, Full<Bytes>>,
    servers: Vec<Server>,
    /// The `Authorization` header, if there is a key.
    bearer: Option<HeaderValue>,
    /// Time limit of an attempt at a POST request, from connecting to the end of the answer.
    answer_timeout: Duration,
    /// How long no server may answer anything, once all have failed.
    max_silence: Duration,
    /// When any server last answered. The lock is held only for an assignment.
    last_answered: Mutex<Instant>,
}

/// A server, and whether requests are sent to it.
struct Server {
    authority: Authority,
    /// The lock is held only for an assignment.
    state: Mutex<ServerState>,
}

/// When a server may be used again.
#[derive(Clone, Copy)]
struct ServerState {
    /// No request is sent to the server before this time.
    paused_until: Instant,
    /// The number of failures since the last answer.
    failures: u32,
}

/// A complete answer of a server.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

/// The result of one attempt.
enum Attempt {
    /// The server answered, or refused the row.
    Answered(Result<Value, Refusal>),
    /// The server is busy or unreachable; the row is not to blame.
    Unavailable {
        reason: String,
        /// The value of `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The server failed on this row.
    Failed {
        reason: String,
        /// The refusal, if the server sent one.
        refusal: Option<Refusal>,
    },
}

impl Servers {
    /// A client for these servers. Their URLs must be `http` with host and port only; the key is sent as a bearer
    /// token.
    ///
    /// # Errors
    /// If a URL has another form, or the key cannot be sent in a header.
    pub(super) fn at(Urls { url: urls, api_key, answer_timeout_s }: &Urls) -> anyhow::Result<Self> {
        let bearer = api_key.as_ref().map(|key| HeaderValue::try_from(format!("Bearer {key}"))).transpose();
        // The error does not contain the key.
        let mut bearer = bearer.map_err(|_| anyhow!("--api-key is no key that can be sent"))?;
        if let Some(bearer) = &mut bearer {
            bearer.set_sensitive(true);
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_keepalive(Some(KEEPALIVE_INTERVAL));
        connector.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
        connector.set_keepalive_retries(Some(KEEPALIVE_PROBES));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let servers = urls.iter().map(|url| Server::at(url)).collect::<anyhow::Result<_>>()?;
        let answer_timeout = Duration::from_secs(*answer_timeout_s);
        let max_silence = MAX_SILENCE.saturating_add(answer_timeout);
        let last_answered = Mutex::new(Instant::now());
        Ok(Self { client, servers, bearer, answer_timeout, max_silence, last_answered })
    }

    /// The number of servers.
    pub(super) fn count(&self) -> usize {
        self.servers.len()
    }

    /// The name of the critic, which all reachable servers must share.
    pub(super) async fn model(&self) -> anyhow::Result<String> {
        let (mut common, mut unreachable): (Option<String>, Vec<String>) = (None, Vec::new());
        for server in &self.servers {
            match self.send(server, Method::GET, "/health", Bytes::new()).await {
                Ok(answer) if answer.status != StatusCode::OK => {
                    let refusal = Refusal::new(answer.status, &answer.body);
                    bail!("{} refuses: {}", server.authority, refusal.message);
                }
                Ok(answer) => {
                    let model = answer.body["model"].as_str().unwrap_or_default().to_owned();
                    match &common {
                        Some(other) if *other != model => {
                            bail!("the servers have different critics: {other} and {model}")
                        }
                        _ => common = Some(model),
                    }
                }
                Err(error) => unreachable.push(format!("{}: {error:#}", server.authority)),
            }
        }
        let Some(model) = common else {
            bail!("none of the servers can be reached: {}", unreachable.join("; "))
        };
        for reason in unreachable {
            tracing::warn!("a server cannot be reached: {reason}");
        }
        Ok(model)
    }

    /// Sends a GET request to the servers in turn, and returns the first successful answer.
    pub(super) async fn get(&self, route: &str) -> anyhow::Result<Value> {
        for server in &self.servers {
            match self.send(server, Method::GET, route, Bytes::new()).await {
                Ok(answer) if answer.status == StatusCode::OK => return Ok(answer.body),
                Ok(answer) => {
                    tracing::warn!(server = %server.authority, status = %answer.status, route, "no answer")
                }
                Err(error) => tracing::warn!(server = %server.authority, "cannot be reached: {error:#}"),
            }
        }
        bail!("none of the servers answers {route}")
    }

    /// Sends a POST request to the server preferred for `key`, or to the next one while that server is paused.
    pub(super) async fn post(&self, route: &str, body: &Value, key: &str) -> JudgeReply {
        let body = Bytes::from(body.to_string());
        let order = self.order(key);
        let start = Instant::now();
        let silent = || self.last_answer().max(start).elapsed();
        let mut failures = 0;
        loop {
            let Some(server) = order.iter().find(|server| server.is_available()) else {
                let next = order.iter().map(|server| server.state().paused_until).min();
                tokio::time::sleep_until(next.unwrap_or_else(Instant::now).into()).await;
                continue;
            };
            match classify(self.send(server, Method::POST, route, body.clone()).await) {
                Attempt::Answered(answer) => {
                    server.reset_failures();
                    *self.last_answered.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                    return Ok(answer);
                }
                Attempt::Unavailable { reason, retry_after } => server.pause(&reason, retry_after),
                Attempt::Failed { reason, refusal } => {
                    failures += 1;
                    if failures >= MAX_FAILED_ATTEMPTS {
                        let lost = Refusal { code: "server_failed".into(), message: reason };
                        return Ok(Err(refusal.unwrap_or(lost)));
                    }
                    server.pause(&reason, None);
                }
            }
            // A server that has not failed may still answer, however long the attempts at others took.
            let all_failed = order.iter().all(|server| server.state().failures > 0);
            ensure!(
                !all_failed || silent() < self.max_silence,
                "no server has answered for {} seconds; what was done is kept",
                self.max_silence.as_secs()
            );
        }
    }

    fn last_answer(&self) -> Instant {
        *self.last_answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All servers in the order of preference for `key`, by the hash of server and key (rendezvous hashing): if a
    /// server disappears, only its own keys move.
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

    /// Sends a request once.
    ///
    /// # Errors
    /// If there is no complete answer in JSON within the time limit, which is [`GET_TIMEOUT`] for GET requests.
    async fn send(
        &self,
        server: &Server,
        method: Method,
        route: &str,
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let limit = if method == Method::GET { GET_TIMEOUT } else { self.answer_timeout };
        let answer = tokio::time::timeout(limit, self.exchange(server, method, route, body)).await;
        answer.map_err(|_| anyhow!("there is no complete answer after {limit:?}"))?
    }

    /// Sends a request once, without a time limit.
    async fn exchange(
        &self,
        server: &Server,
        method: Method,
        route: &str,
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

/// What the answer to a request, or its failure, means for the row and for the server.
fn classify(answer: anyhow::Result<Answer>) -> Attempt {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let reason = format!("{error:#}");
            let is_connect = error
                .downcast_ref::<hyper_util::client::legacy::Error>()
                .is_some_and(hyper_util::client::legacy::Error::is_connect);
            return if is_connect {
                Attempt::Unavailable { reason, retry_after: None }
            } else {
                Attempt::Failed { reason, refusal: None }
            };
        }
    };
    let Answer { status, headers, body } = answer;
    if let Some(refusal) = Refusal::inside(&body) {
        return Attempt::Failed { reason: refusal.message.clone(), refusal: Some(refusal) };
    }
    let refusal = Refusal::new(status, &body);
    let reason = format!("status {status}: {}", refusal.message);
    match status {
        StatusCode::OK => Attempt::Answered(Ok(body)),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            let retry_after = retry_after(&headers).map(|pause| pause.min(MAX_SILENCE / 2));
            Attempt::Unavailable { reason, retry_after }
        }
        // The critic's text is not a verdict, and would not be one on another server either.
        StatusCode::BAD_GATEWAY if refusal.code == ErrorCode::UnparsableVerdict.as_str() => {
            Attempt::Answered(Err(refusal))
        }
        status if status.is_server_error() => Attempt::Failed { reason, refusal: Some(refusal) },
        _ => Attempt::Answered(Err(refusal)),
    }
}

impl Server {
    /// The server at a URL.
    fn at(url: &str) -> anyhow::Result<Self> {
        let wrong = || format!("{url:?} is no address of a server, such as http://127.0.0.1:8080");
        // The URL is not repeated here: it may contain a password.
        ensure!(!url.contains('@'), "--url takes host and port only; a key is given with --api-key");
        let uri: Uri = url.parse().with_context(wrong)?;
        // The parser drops fragments.
        let is_bare = uri.path() == "/" && uri.query().is_none() && !url.contains('#');
        ensure!(uri.scheme_str() == Some("http") && is_bare, wrong());
        let authority = uri.authority().cloned().with_context(wrong)?;
        let state = ServerState { paused_until: Instant::now(), failures: 0 };
        Ok(Self { authority, state: Mutex::new(state) })
    }

    fn state(&self) -> ServerState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_available(&self) -> bool {
        self.state().paused_until <= Instant::now()
    }

    fn reset_failures(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failures = 0;
    }

    /// Pauses the server for the time that it requested, or for a time that grows with its failures.
    fn pause(&self, reason: &str, retry_after: Option<Duration>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Rows that fail at the same time count as one failure.
        if state.paused_until > Instant::now() {
            return;
        }
        let pause = retry_after
            .unwrap_or_else(|| FIRST_PAUSE.saturating_mul(1 << state.failures.min(10)).min(LONGEST_PAUSE));
        state.paused_until = Instant::now() + pause;
        state.failures += 1;
        tracing::warn!(server = %self.authority, ?pause, "rests: {reason}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(url: &[&str]) -> anyhow::Result<Servers> {
        let url = url.iter().map(|url| (*url).to_owned()).collect();
        Servers::at(&Urls { url, api_key: None, answer_timeout_s: 1 })
    }

    #[test]
    fn keys_spread_over_servers_and_stay_when_another_goes() {
        let urls = ["http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"];
        let (all, fewer) = (servers(&urls).unwrap(), servers(&urls[..2]).unwrap());
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
        for url in ["http://a:1", "http://127.0.0.1", "http://[::1]:8080/"] {
            assert!(servers(&[url]).is_ok(), "{url}");
        }
        for url in [
            "127.0.0.1:8080",
            "https://a:1",
            "http://a/b",
            "http://a?b=c",
            "http://a/?b",
            "http://a#b",
            "http://",
            "",
        ] {
            assert!(servers(&[url]).is_err(), "{url}");
        }
        let refused = servers(&["http://name:secret@a:1"]).err().unwrap().to_string();
        assert!(refused.contains("--api-key") && !refused.contains("secret"), "{refused}");
    }

    #[tokio::test]
    async fn a_server_that_accepts_and_never_answers_is_given_up() {
        // The system accepts the connection; nobody reads from it.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let servers = servers(&[&format!("http://{}", silent.local_addr().unwrap())]).unwrap();
        let sent = servers.send(&servers.servers[0], Method::POST, "/judge", Bytes::from("{}")).await;
        let Attempt::Failed { reason, refusal: None } = classify(sent) else { panic!("it was no failure") };
        assert!(reason.contains("no complete answer after 1s"), "{reason}");
    }

    #[tokio::test]
    async fn a_request_goes_to_another_server_after_one_was_silent() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let answering = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let urls = [silent.local_addr().unwrap(), answering.local_addr().unwrap()]
            .map(|address| format!("http://{address}"));
        let verdict = serde_json::json!({ "score": 7 });
        let answer = verdict.clone();
        let router = axum::Router::new()
            .route("/judge", axum::routing::post(move || std::future::ready(axum::Json(answer.clone()))));
        tokio::spawn(async move { axum::serve(answering, router).await });
        // An attempt takes longer than any silence that is allowed.
        let impatient = |urls: &[&str]| Servers { max_silence: Duration::ZERO, ..servers(urls).unwrap() };
        let both = impatient(&[&urls[0], &urls[1]]);
        let first = |key: &String| urls[0].ends_with(both.order(key)[0].authority.as_str());
        let key = (0..).map(|key| key.to_string()).find(first).unwrap();
        let body = serde_json::json!({});
        assert_eq!(both.post("/judge", &body, &key).await.unwrap().unwrap(), verdict);
        // Where there is no other server, the run ends.
        let gone = impatient(&[&urls[0]]).post("/judge", &body, &key).await.unwrap_err();
        assert!(gone.to_string().contains("no server has answered"), "{gone}");
    }

    #[test]
    fn answers_tell_whom_to_blame() {
        let answer = |status: u16, code: &str| {
            let body = serde_json::json!({ "error": { "code": code, "message": "m" } });
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, "7".parse().unwrap());
            classify(Ok(Answer { status: StatusCode::from_u16(status).unwrap(), headers, body }))
        };
        assert!(
            matches!(answer(503, "overloaded"), Attempt::Unavailable { retry_after: Some(pause), .. } if pause.as_secs() == 7)
        );
        assert!(matches!(answer(429, "overloaded"), Attempt::Unavailable { retry_after: Some(_), .. }));
        assert!(matches!(answer(500, "engine_failure"), Attempt::Failed { refusal: Some(_), .. }));
        assert!(matches!(answer(502, "unparsable_verdict"), Attempt::Answered(Err(_))));
        assert!(matches!(answer(400, "invalid_request"), Attempt::Answered(Err(_))));
        // Of several responses, a part was compared before the time was over, or as far as they fit.
        let rewards = |code: &str| {
            let error = serde_json::json!({ "code": code, "message": "m" });
            let body =
                serde_json::json!({ "rewards": [1, null], "failures": [{ "first": 0, "error": error }] });
            classify(Ok(Answer { status: StatusCode::OK, headers: HeaderMap::new(), body }))
        };
        let Attempt::Failed { refusal: Some(refusal), .. } = rewards("draining") else {
            panic!("no failure")
        };
        assert_eq!(
            (refusal.code.as_str(), refusal.message.as_str()),
            ("draining", "1 of its verdicts failed, one because: m")
        );
        assert!(matches!(rewards("context_length_exceeded"), Attempt::Answered(Ok(_))));
    }

    #[tokio::test]
    async fn a_server_that_failed_rests_longer_each_time() {
        let servers = servers(&["http://127.0.0.1:1"]).unwrap();
        let server = &servers.servers[0];
        assert!(server.is_available());
        server.pause("once", None);
        let first = server.state().paused_until;
        server.pause("together with the first", None);
        assert_eq!((server.state().failures, server.state().paused_until), (1, first));
        tokio::time::sleep_until(first.into()).await;
        assert!(server.is_available());
        server.pause("twice", None);
        assert!(server.state().paused_until > first + FIRST_PAUSE);
        server.reset_failures();
        assert_eq!(server.state().failures, 0);
    }
}
