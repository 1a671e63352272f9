//! All routes, and what holds for all of them: names, panics, and JSON for whatever does not fit.

use std::{any::Any, path::PathBuf, sync::Arc};

use axum::{
    Router,
    http::{HeaderName, HeaderValue, StatusCode},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use judge::Judge;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    access::{Access, UsedUp, guard, spend},
    body_memory::BodyMemory,
    caller::RequestTimes,
    command::ModelOptions,
    connections::{ConnectionFigures, Tls},
    content_limits::ContentLimits,
    dialects,
    edge::{self, HeadLimits},
    error::ApiError,
    health,
    judging_log::JudgingLog,
    lifecycle::{self, Lifecycle, Phase},
    metrics::{self, Metrics},
    model_names::ModelNames,
    openapi, page,
    paths::{self, Paths},
    remote_images::RemoteImages,
    request_id,
    state::AppState,
    storage::Storage,
    telemetry::Telemetry,
};

/// In every response: name of the checkpoint, whatever the request calls it.
const MODEL: HeaderName = HeaderName::from_static("x-gavel-model");

/// Bounds of what one request may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestLimits {
    /// The largest body, in bytes.
    pub(crate) max_body_bytes: usize,
    /// The most bytes of the bodies of all requests.
    pub(crate) max_bodies_bytes: usize,
    /// What it may hold.
    pub(crate) content: ContentLimits,
    /// How long it may take.
    pub(crate) times: RequestTimes,
    /// Whether an answer has the form that its prompt asks for when the request does not say.
    pub(crate) forms_by_prompt: bool,
    /// How large a head may be.
    pub(crate) head: HeadLimits,
}

/// What is served.
pub(crate) struct Service {
    /// The critic.
    pub(crate) judge: Judge,
    /// By which names it is called.
    pub(crate) names: ModelNames,
    /// What Prometheus is told.
    pub(crate) metrics: Metrics,
    /// What a collector of traces is told.
    pub(crate) telemetry: Telemetry,
    /// Who may ask.
    pub(crate) access: Access,
    /// The certificates that can be read again.
    pub(crate) tls: Option<Arc<Tls>>,
    /// How many connections there are.
    pub(crate) connections: Arc<ConnectionFigures>,
    /// The folder of rubrics that can be read again.
    pub(crate) config_dir: Option<PathBuf>,
    /// Whether the server starts, runs or stops.
    pub(crate) lifecycle: Lifecycle,
    /// Where verdicts are logged, if they are.
    pub(crate) judging_log: Option<JudgingLog>,
    /// What fetches images, where that is allowed.
    pub(crate) remote_images: RemoteImages,
    /// What is kept for clients.
    pub(crate) storage: Storage,
}

impl Service {
    /// A service that is ready, is open to everybody, reads no folder again, logs no verdicts and keeps nothing.
    pub(crate) fn plain((judge, metrics): (Judge, Metrics)) -> Self {
        let lifecycle = Lifecycle::new();
        lifecycle.enter(Phase::Ready);
        let names = ModelNames::new(judge.model(), ModelOptions::default());
        Self {
            judge,
            names,
            metrics,
            telemetry: Telemetry::default(),
            access: Access::default(),
            tls: None,
            connections: Arc::default(),
            config_dir: None,
            lifecycle,
            judging_log: None,
            remote_images: RemoteImages::default(),
            storage: Storage::default(),
        }
    }
}

/// The whole service.
pub(crate) fn router(service: Service, limits: RequestLimits) -> Router {
    let (routes, state) = routes(service, limits);
    routes.with_state(state)
}

/// The routes of the main port, and what their handlers use.
pub(crate) fn routes(service: Service, limits: RequestLimits) -> (Router<AppState>, AppState) {
    let Service {
        judge,
        names,
        metrics,
        telemetry,
        access,
        tls,
        connections,
        config_dir,
        lifecycle,
        judging_log,
        remote_images,
        storage,
    } = service;
    let admitting = middleware::from_fn_with_state(lifecycle.clone(), lifecycle::admit);
    // The first layer is the outermost: whoever is not let in has nothing taken from a quota.
    let working = |used_up: UsedUp| {
        ServiceBuilder::new().layer(admitting.clone()).layer(middleware::from_fn_with_state(used_up, spend))
    };
    let (working, patient) = (working(UsedUp::Refused), working(UsedUp::Waits(limits.times.whole)));
    let scoring = ServiceBuilder::new().layer(middleware::from_fn(dialects::scoring::told)).layer(patient);
    let (guarded, mut document) = OpenApiRouter::with_openapi(openapi::Document::openapi())
        .merge(dialects::native::routes())
        .merge(dialects::openai::routes())
        .merge(dialects::engines::routes())
        .layer(working.clone())
        .merge(dialects::scoring::routes().layer(scoring.clone()))
        .merge(dialects::native::rules())
        .merge(health::figures())
        .split_for_parts();
    let (probes, probes_document) = health::probes().split_for_parts();
    document.merge(probes_document);
    let batch_endpoints = dialects::openai::batch_endpoints(&document);
    let paths = Paths::of(&document).into();
    let document = document.to_pretty_json().expect("a generated document can be written as JSON");
    let RequestLimits { max_body_bytes, max_bodies_bytes, content, times, forms_by_prompt, head } = limits;
    let counting = middleware::from_fn_with_state(metrics.clone(), metrics::count_request);
    let config_dir = config_dir.map(|folder| Arc::new(tokio::sync::Mutex::new(folder.into_boxed_path())));
    let openapi = document.into();
    let true_name = HeaderValue::from_str(names.truth()).ok();
    let guarding = middleware::from_fn_with_state(access.clone(), guard);
    let state = AppState {
        judge,
        names,
        access,
        tls,
        connections,
        lifecycle,
        metrics,
        telemetry,
        judging_log,
        remote_images,
        config_dir,
        content,
        max_body_bytes,
        body_memory: BodyMemory::new(max_bodies_bytes),
        times,
        forms_by_prompt,
        storage,
        batch_endpoints,
        paths,
        openapi,
    };
    // A panic gets its JSON first, then the response its request id.
    let layers = ServiceBuilder::new()
        .layer(middleware::from_fn(request_id::name_request))
        .layer(CatchPanicLayer::custom(panicked));
    let routes = guarded
        .merge(other_paths().layer(working))
        .merge(dialects::scoring::aliases().layer(scoring))
        .route("/metrics", get(metrics::scrape_on_main))
        .method_not_allowed_fallback(paths::wrong_method)
        // All routes so far are for keys, those that somebody adds above too. Only what comes below is for everybody.
        .layer(guarding)
        .merge(probes.method_not_allowed_fallback(paths::wrong_method))
        // A browser cannot show a key for a page. These are what every copy of the program has, and tell nothing of this server.
        .merge(page::routes())
        .route("/openapi.json", get(openapi::document))
        .fallback(paths::unknown)
        .layer(middleware::from_fn_with_state(head, edge::edge))
        // Of a route, so that it knows which one it is.
        .layer(counting)
        .layer(middleware::map_response(move |response: Response| named(true_name.clone(), response)))
        .layer(layers);
    (routes, state)
}

/// Paths that lead to what is documented under another, those of reward servers left out.
fn other_paths() -> Router<AppState> {
    dialects::openai::aliases().merge(dialects::engines::aliases())
}

/// The response, which tells the checkpoint's name where a header can.
async fn named(name: Option<HeaderValue>, mut response: Response) -> Response {
    if let Some(name) = name {
        response.headers_mut().insert(MODEL, name);
    }
    response
}

#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
    tracing::error!(text, "a handler panicked");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "The server failed on this request.")
        .into_response()
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::to_bytes, routing::get};
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;

    #[tokio::test]
    async fn a_panic_becomes_the_one_error_body() {
        async fn handler() -> &'static str {
            panic!("the text stays in the log")
        }
        let router = Router::new().route("/", get(handler)).layer(CatchPanicLayer::custom(super::panicked));
        let request = axum::http::Request::get("/").body(axum::body::Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 500);
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["code"], "internal_error");
        assert!(!body.to_string().contains("the text stays"));
    }
}
