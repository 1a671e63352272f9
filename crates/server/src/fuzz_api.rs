//! The interface for the fuzzer: untrusted input goes in as it is, and results are returned as plain values.
//!
//! There is no logic of its own here; each function calls the same code as the server.

use std::{
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::header,
    middleware::{self, Next},
};
use clap::Parser;
use judge::{Caller, Case, CompletionParams, Judge, JudgeOptions, Prompt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Runtime,
};
use tower::ServiceExt;

use crate::{
    batches::{Lines, validate},
    connections::{ConnectionLimits, serve_one},
    dialects,
    error::ApiError,
    extract::json_body::JsonBytes,
    images,
    json::body_form::BodyForm,
    metrics::Metrics,
    options::{Command, CommandLine},
    remote_images::{self, Policy},
    routes,
    serve::Bounds,
    service::{Service, lifecycle::Lifecycle, state::AppState},
    settings::check_configuration,
};

/// Time limit for the server's side of a connection to end after its client has left.
const ENDING: Duration = Duration::from_secs(5);

/// Number of successive polls without new data after which a client leaves.
const QUIET: usize = 24;

/// A server in this process, without keys and with the default limits.
pub struct FuzzApi {
    runtime: Runtime,
    router: Router,
    state: AppState,
    connections: ConnectionLimits,
    lifecycle: Lifecycle,
}

/// The response to a request.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The media type; empty if there is no such header.
    pub content_type: String,
    /// The whole body.
    pub body: Vec<u8>,
}

/// What happened on a connection.
#[derive(Debug)]
pub struct Conversation {
    /// The methods of the requests that were parsed, in order.
    pub methods: Vec<String>,
    /// All bytes that the server wrote.
    pub written: Vec<u8>,
    /// Whether the server's side of the connection ended after the client had left.
    pub ended: bool,
}

/// What a body requests, or the error code of its refusal.
pub type Asked<T> = Result<T, &'static str>;

impl FuzzApi {
    /// Starts a server with `judge`.
    ///
    /// # Errors
    /// When the runtime cannot be created.
    pub fn start(judge: Judge) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let command = CommandLine::parse_from(["gavel", "serve"]).command;
        let Command::Serve(options) = command else { unreachable!("it was asked to serve") };
        let Bounds { limits, connections, .. } =
            Bounds::new(&options.http, &options.connections, &options.limits);
        let metrics = Metrics::new(judge.model(), "none");
        let service = Service::in_process((judge, metrics));
        let lifecycle = service.lifecycle.clone();
        let (routes, state) = runtime.block_on(async { routes::routes(service, limits) });
        Ok(Self { runtime, router: routes.with_state(state.clone()), state, connections, lifecycle })
    }

    /// Sends a `POST` of JSON to `path`, one of the documented routes.
    pub fn post(&self, path: &str, body: &[u8]) -> Answer {
        let request = Request::post(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_vec()))
            .expect("the path is one of ours");
        self.runtime.block_on(async {
            let response = match self.router.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let content_type = response.headers().get(header::CONTENT_TYPE);
            let content_type =
                content_type.and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), usize::MAX).await.map(Vec::from).unwrap_or_default();
            Answer { status, content_type, body }
        })
    }

    /// Acts as a client that sends `pieces` on a new connection, reads until no more data arrives, and leaves.
    pub fn converse(&self, pieces: &[&[u8]]) -> Conversation {
        let methods: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = methods.clone();
        let noting = move |request: Request, next: Next| {
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(request.method().to_string());
            next.run(request)
        };
        let service = self.router.clone().layer(middleware::from_fn(noting));
        let (written, ended) = self.runtime.block_on(async {
            // The size of a socket's buffer, which is larger than any of the fuzzer's inputs.
            let (mut client, server) = tokio::io::duplex(64 << 10);
            let serving = tokio::spawn(serve_one(server, self.connections, service));
            let mut written = Vec::new();
            for piece in pieces {
                // The server may close before it has read everything.
                if client.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let mut quiet = 0;
            while quiet < QUIET {
                tokio::select! {
                    biased;
                    read = client.read_buf(&mut written) => match read {
                        Ok(0) | Err(_) => break,
                        Ok(_) => quiet = 0,
                    },
                    () = self.pause() => quiet += 1,
                }
            }
            drop(client);
            (written, tokio::time::timeout(ENDING, serving).await.is_ok_and(|joined| joined.is_ok()))
        });
        let methods = std::mem::take(&mut *methods.lock().unwrap_or_else(PoisonError::into_inner));
        Conversation { methods, written, ended }
    }

    /// Lets the server make progress: yields, and sleeps briefly while a request runs or other threads work.
    async fn pause(&self) {
        let stats = self.state.judge.stats();
        let working = stats.running > 0 || stats.waiting() > 0;
        if working || self.lifecycle.running() > 0 {
            tokio::time::sleep(Duration::from_micros(if working { 500 } else { 50 })).await;
        } else {
            tokio::task::yield_now().await;
        }
    }

    /// What the body of a chat request asks for: the conversation, the parameters and the number of the completions.
    ///
    /// # Errors
    /// The error code of the refusal.
    pub fn chat(&self, body: &[u8]) -> Asked<(Prompt, CompletionParams, usize)> {
        let body = self.json(body, dialects::openai::BODY_FORM)?;
        let caller = Caller::default();
        let request = dialects::openai::parse_request(&self.state, &caller, &body);
        let request = self.runtime.block_on(request).map_err(|error| error.code().as_str())?;
        Ok((request.prompt, request.params, request.text_count))
    }

    /// What the body of a request to judge asks for: the case, the options and the number of verdicts.
    ///
    /// # Errors
    /// The error code of the refusal.
    pub fn judge(&self, body: &[u8]) -> Asked<(Case, JudgeOptions, usize)> {
        let body = self.json(body, dialects::native::BODY_FORM)?;
        let caller = Caller::default();
        let request = dialects::native::parse_request(&self.state, &caller, &body);
        let request = self.runtime.block_on(request).map_err(|error| error.code().as_str())?;
        Ok((request.case, request.options, request.verdicts))
    }

    fn json(&self, body: &[u8], form: BodyForm) -> Asked<JsonBytes> {
        let bytes = Bytes::copy_from_slice(body);
        let body = JsonBytes::checked(bytes, &self.state.limits.content.shape, form);
        body.map_err(|error| error.code().as_str())
    }

    /// Size of the critic's vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.state.judge.vocabulary()
    }

    /// All documented routes that accept a `POST` of JSON: the path, and the documented statuses of its responses.
    pub fn json_routes(&self) -> Vec<(String, Vec<u16>)> {
        let document: serde_json::Value =
            serde_json::from_str(&self.state.openapi).expect("the document is JSON");
        let paths = document["paths"].as_object().into_iter().flatten();
        let takes_json = |operation: &serde_json::Value| {
            !operation["requestBody"]["content"]["application/json"].is_null()
        };
        let statuses = |operation: &serde_json::Value| {
            let responses = operation["responses"].as_object().into_iter().flatten();
            responses.filter_map(|(status, _)| status.parse().ok()).collect()
        };
        paths
            .map(|(path, operations)| (path, &operations["post"]))
            .filter(|(_, operation)| takes_json(operation))
            .map(|(path, operation)| (path.clone(), statuses(operation)))
            .collect()
    }
}

/// The bytes of an image in a body: a data URL, or base64 alone.
///
/// # Errors
/// The error code of the refusal.
pub fn image(text: &str) -> Asked<Vec<u8>> {
    images::decoded(text, "image")
        .map(|image| image.bytes().to_vec())
        .map_err(|error: ApiError| error.code().as_str())
}

/// Number of requests in the input of a batch for `endpoint`, or its errors as code and line; the line is `None` for
/// an error of the whole input.
pub fn batch_input(text: &[u8], endpoint: &str) -> Result<i64, Vec<(String, Option<i64>)>> {
    let mut lines = Lines::new(text, MAX_LINE_BYTES);
    match validate(&mut lines, endpoint, MAX_LINES) {
        Ok(Ok(count)) => Ok(count),
        Ok(Err(errors)) => Err(errors.into_iter().map(|error| (error.code, error.line)).collect()),
        Err(error) => unreachable!("what is in memory can be read: {error}"),
    }
}

/// Small, so that the fuzzer reaches these limits.
const MAX_LINE_BYTES: usize = 1000;
const MAX_LINES: usize = 20;

/// The URL that would be fetched for an image at `text`; `None` if it is refused. `hosts` are the allowed hosts in
/// the syntax of the command line; if none of them is valid, all public hosts are allowed.
pub fn fetched_from(text: &str, hosts: &[&str]) -> Option<String> {
    let hosts: Vec<_> = hosts.iter().filter_map(|host| host.parse().ok()).collect();
    let policy = if hosts.is_empty() { Policy::AnyPublic(hosts) } else { Policy::Hosts(hosts) };
    policy.check(text).ok().map(|url| url.as_str().to_owned())
}

/// Whether the server may connect to an address that a host name resolves to.
pub fn is_public(address: IpAddr) -> bool {
    remote_images::is_public(address)
}

/// Number of settings and of keys in the configuration file at `path`.
///
/// # Errors
/// All problems of the file, as they are printed.
pub fn configuration(path: &Path) -> Result<(usize, usize), String> {
    check_configuration(path).map_err(|error| error.to_string())
}
