//! Who judges the rows: the critic inside this process, or servers elsewhere. Both are asked the same requests.

use std::time::Duration;

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
    caller::RequestTimes,
    command::{CriticOptions, LimitOptions, Urls},
    content_limits::ContentLimits,
    edge::HeadLimits,
    router::{self, RequestLimits, Service},
};

/// Bounds inside one process: nobody else is to be protected from these requests, so that only what a request may hold is bounded.
fn limits() -> RequestLimits {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    RequestLimits {
        max_body_bytes: 1 << 30,
        max_bodies_bytes: 1 << 40,
        content: ContentLimits::from(&LimitOptions::default()),
        times: RequestTimes { queue: DAY, whole: DAY },
        forms_by_prompt: false,
        head: HeadLimits::NONE,
    }
}

/// What requests inside one process call it.
const HERE: &str = "localhost";

/// Who judges.
pub(crate) enum Panel {
    /// The whole service in this process, asked without a socket.
    Here(Router),
    /// Servers.
    There(Servers),
}

/// Why a request had no answer, when the request itself is to blame.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// For programs.
    pub(crate) code: String,
    /// For people.
    pub(crate) message: String,
}

/// What became of a request; an error ends the whole run.
pub(crate) type Asked = anyhow::Result<Result<Value, Refusal>>;

impl Panel {
    /// Servers, if any are named; else the critic that the options choose.
    pub(crate) async fn assemble(
        urls: &Urls,
        critic: CriticOptions,
        config: EngineConfig,
    ) -> anyhow::Result<Self> {
        if !urls.url.is_empty() {
            return Ok(Self::There(Servers::at(&urls.url, urls.api_key.as_deref())?));
        }
        let judge = tokio::task::spawn_blocking(move || boot::start(&critic, config)).await??;
        // So that every receipt has the digest of the weights.
        judge.0.weights_known().await;
        Ok(Self::Here(router::router(Service::plain(judge), limits())))
    }

    /// How many critics there are.
    pub(crate) fn critics(&self) -> usize {
        match self {
            Self::Here(_) => 1,
            Self::There(servers) => servers.count(),
        }
    }

    /// Name of the critic.
    ///
    /// # Errors
    /// When no server answers, or they have different critics.
    pub(crate) async fn model(&self) -> anyhow::Result<String> {
        match self {
            Self::Here(_) => {
                let health = self.get("/health").await?;
                Ok(health["model"].as_str().unwrap_or_default().to_owned())
            }
            Self::There(servers) => servers.model().await,
        }
    }

    /// Asks for something that all critics know.
    pub(crate) async fn get(&self, route: &str) -> anyhow::Result<Value> {
        match self {
            Self::Here(router) => {
                let request = Request::get(route).header(header::HOST, HERE).body(Body::empty())?;
                Ok(read(router.clone().oneshot(request).await?).await?.1)
            }
            Self::There(servers) => servers.get(route).await,
        }
    }

    /// Asks for a verdict. Requests of the same `key` go to the same server as long as it answers.
    pub(crate) async fn post(&self, route: &str, body: &Value, key: &str) -> Asked {
        match self {
            Self::Here(router) => {
                let request = Request::post(route)
                    .header(header::HOST, HERE)
                    .header(CONTENT_TYPE, "application/json")
                    .body(Body::from(body.to_string()))?;
                let (status, body) = read(router.clone().oneshot(request).await?).await?;
                Ok(if status == StatusCode::OK { Ok(body) } else { Err(Refusal::new(status, &body)) })
            }
            Self::There(servers) => servers.post(route, body, key).await,
        }
    }
}

impl Refusal {
    /// From the body of an error.
    pub(super) fn new(status: StatusCode, body: &Value) -> Self {
        let text = |name: &str| body["error"][name].as_str().map(str::to_owned);
        Self {
            code: text("code").unwrap_or_else(|| status.as_str().to_owned()),
            message: text("message").unwrap_or_else(|| format!("status {status}")),
        }
    }
}

async fn read(response: Response) -> anyhow::Result<(StatusCode, Value)> {
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await?;
    Ok((status, serde_json::from_slice(&body)?))
}
