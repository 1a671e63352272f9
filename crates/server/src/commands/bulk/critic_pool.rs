//! Where rows are judged: by the critic in this process, or by remote servers. Both receive the same requests.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{
        Request, StatusCode,
        header::{self, CONTENT_TYPE},
    },
    response::Response,
};
use judge::EngineConfig;
use serde_json::Value;
use tower::ServiceExt;

use super::servers::Servers;
use crate::{
    boot,
    error::ErrorCode,
    options::{CriticOptions, Urls},
    routes,
    service::{RequestLimits, Service},
};

/// The `Host` header of requests within this process.
const HOST: &str = "localhost";

/// The critics that judge the rows.
pub(crate) enum CriticPool {
    /// The whole service in this process, called without a socket.
    Local(Router),
    /// Remote servers.
    Remote(Box<Servers>),
}

/// Why a request has no answer: it was refused, or too many attempts at it failed.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Error code, for programs.
    pub(crate) code: String,
    /// Error message, for people.
    pub(crate) message: String,
}

/// The answer to a request, or its refusal. An outer error ends the whole run.
pub(crate) type JudgeReply = anyhow::Result<Result<Value, Refusal>>;

impl CriticPool {
    /// Uses the servers of `urls` if there are any, otherwise loads the critic that the options choose.
    pub(crate) async fn assemble(
        urls: &Urls,
        critic: CriticOptions,
        config: EngineConfig,
    ) -> anyhow::Result<Self> {
        if !urls.url.is_empty() {
            return Ok(Self::Remote(Box::new(Servers::at(urls)?)));
        }
        let judge = tokio::task::spawn_blocking(move || boot::start(&critic, config)).await??;
        // Wait for the digest of the weights, so that every receipt contains it.
        judge.0.weights_known().await;
        Ok(Self::Local(routes::router(Service::in_process(judge), RequestLimits::in_process())))
    }

    /// The number of critics.
    pub(crate) fn critics(&self) -> usize {
        match self {
            Self::Local(_) => 1,
            Self::Remote(servers) => servers.count(),
        }
    }

    /// The name of the critic.
    ///
    /// # Errors
    /// If no server answers, one refuses, or they have different critics.
    pub(crate) async fn model(&self) -> anyhow::Result<String> {
        match self {
            Self::Local(_) => {
                let health = self.get("/health").await?;
                Ok(health["model"].as_str().unwrap_or_default().to_owned())
            }
            Self::Remote(servers) => servers.model().await,
        }
    }

    /// Sends a GET request, whose answer is the same for all critics.
    pub(crate) async fn get(&self, route: &str) -> anyhow::Result<Value> {
        match self {
            Self::Local(router) => {
                let request = Request::get(route).header(header::HOST, HOST).body(Body::empty())?;
                let (_, body) = read(router.clone().oneshot(request).await?).await?;
                Ok(body)
            }
            Self::Remote(servers) => servers.get(route).await,
        }
    }

    /// Sends a POST request for a verdict. Requests with the same `image_key` go to the same server as long as it
    /// answers.
    pub(crate) async fn post(&self, route: &str, body: &Value, image_key: &str) -> JudgeReply {
        match self {
            Self::Local(router) => {
                let request = Request::post(route)
                    .header(header::HOST, HOST)
                    .header(CONTENT_TYPE, "application/json")
                    .body(Body::from(body.to_string()))?;
                let (status, body) = read(router.clone().oneshot(request).await?).await?;
                Ok(match Refusal::inside(&body) {
                    None if status == StatusCode::OK => Ok(body),
                    None => Err(Refusal::new(status, &body)),
                    Some(refusal) => Err(refusal),
                })
            }
            Self::Remote(servers) => servers.post(route, body, image_key).await,
        }
    }
}

impl Refusal {
    /// The refusal of an answer about several responses, some of whose verdicts failed for a reason that may pass: what
    /// the others lead to would depend on the server's load, and would be kept. `None` for other answers.
    pub(super) fn inside(body: &Value) -> Option<Self> {
        let failures = body["failures"].as_array()?;
        let passes = |failure: &&Value| {
            let code = failure["error"]["code"].as_str();
            PASSING.iter().any(|passing| code == Some(passing.as_str()))
        };
        let Self { code, message } = Self::new(StatusCode::OK, failures.iter().find(passes)?);
        let message = format!("{} of its verdicts failed, one because: {message}", failures.len());
        Some(Self { code, message })
    }

    /// Parses the body of an error response; its status replaces a missing code or message.
    pub(super) fn new(status: StatusCode, body: &Value) -> Self {
        let text = |name: &str| body["error"][name].as_str().map(str::to_owned);
        Self {
            code: text("code").unwrap_or_else(|| status.as_str().to_owned()),
            message: text("message").unwrap_or_else(|| format!("status {status}")),
        }
    }
}

/// The codes of failures that are due to the server's load or end, and not to what it judges.
const PASSING: [ErrorCode; 4] =
    [ErrorCode::DeadlineExceeded, ErrorCode::QueueTimeout, ErrorCode::Draining, ErrorCode::EngineFailure];

/// The status of a response and its body, which must be JSON.
async fn read(response: Response) -> anyhow::Result<(StatusCode, Value)> {
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await?;
    Ok((status, serde_json::from_slice(&body)?))
}
