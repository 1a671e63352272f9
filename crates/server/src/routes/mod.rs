//! All routes, and the middleware around them: request ids, panics, metrics, and errors in JSON.

pub(crate) mod admin;
pub(crate) mod health;
mod not_found;
pub(crate) mod openapi;
mod page;

use std::any::Any;

use axum::{
    Extension, Router,
    http::{HeaderName, HeaderValue, StatusCode},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    access::{QuotaPolicy, guard, rate_limit},
    dialects,
    error::{ApiError, ErrorCode},
    metrics,
    request::{body_memory::BodyMemory, head, id, times::RequestTimes},
    service::{
        RequestLimits, Service,
        lifecycle::{self, Lifecycle},
        paths::Paths,
        state::AppState,
    },
};

/// The header of every response with the name of the checkpoint, whatever name the request uses.
const MODEL: HeaderName = HeaderName::from_static("x-gavel-model");

/// The router of the whole service.
pub(crate) fn router(service: Service, limits: RequestLimits) -> Router {
    let (routes, state) = routes(service, limits);
    routes.with_state(state)
}

/// The routes of the main port, and the state of their handlers.
pub(crate) fn routes(service: Service, limits: RequestLimits) -> (Router<AppState>, AppState) {
    let (guarded, mut document) = guarded_routes(&service.lifecycle, limits.times).split_for_parts();
    let (probes, probes_document) = health::probes().split_for_parts();
    document.merge(probes_document);
    let openapi = document.to_pretty_json().expect("a generated document can be written as JSON");
    let state = AppState {
        service,
        limits,
        body_memory: BodyMemory::new(limits.max_bodies_bytes),
        batch_endpoints: dialects::openai::batch_endpoints(&document),
        paths: Paths::of(&document).into(),
        openapi: openapi.into(),
    };
    let routes = guarded
        .method_not_allowed_fallback(not_found::wrong_method)
        // All routes so far require a key, including any added to them later. Only the routes below are public.
        .layer(middleware::from_fn_with_state(state.access.clone(), guard))
        .merge(probes.method_not_allowed_fallback(not_found::wrong_method))
        // A browser cannot send a key for a page. Pages are the same in every copy of the program, and reveal nothing
        // of this server.
        .merge(page::routes())
        .route("/openapi.json", get(openapi::document))
        .fallback(not_found::unknown);
    (around_all(routes, &state), state)
}

/// The routes that require a key on a server with keys: those that cause work, for which the server must be ready and
/// the key have quota left, and those that look something up.
fn guarded_routes(lifecycle: &Lifecycle, times: RequestTimes) -> OpenApiRouter<AppState> {
    let working = OpenApiRouter::with_openapi(openapi::Document::openapi())
        .merge(dialects::native::routes())
        .merge(dialects::openai::routes())
        .merge(dialects::engines::routes())
        .merge(other_paths().into());
    let scoring = dialects::scoring::routes().merge(dialects::scoring::aliases().into());
    let tei = dialects::scoring::tei_routes();
    admitted(working, lifecycle, QuotaPolicy::Refuse)
        .merge(admitted(dialects::reward::routes(), lifecycle, QuotaPolicy::ByBody(times.whole)))
        .merge(
            admitted(scoring, lifecycle, QuotaPolicy::Wait(times.whole))
                .layer(middleware::from_fn(dialects::scoring::finish_response)),
        )
        .merge(
            admitted(tei, lifecycle, QuotaPolicy::Wait(times.whole))
                .layer(middleware::from_fn(dialects::scoring::finish_tei_response)),
        )
        .merge(dialects::native::rules())
        .merge(health::figures())
        .route("/metrics", get(admin::metrics_on_main))
        // The outermost, so that what a dialect says of its own routes replaces it.
        .layer(Extension(dialects::BODY_FORM))
}

/// The routes, with admission by the phase of the server and by the quota of the key.
fn admitted(
    routes: OpenApiRouter<AppState>,
    lifecycle: &Lifecycle,
    policy: QuotaPolicy,
) -> OpenApiRouter<AppState> {
    // The first layer is the outermost, so that a request that is not admitted uses no quota.
    let layers = ServiceBuilder::new()
        .layer(middleware::from_fn_with_state(lifecycle.clone(), lifecycle::admit))
        .layer(middleware::from_fn_with_state(policy, rate_limit));
    routes.layer(layers)
}

/// The routes with the middleware for every request and every response.
fn around_all(routes: Router<AppState>, state: &AppState) -> Router<AppState> {
    let checkpoint = HeaderValue::from_str(state.names.checkpoint_name()).ok();
    routes
        // Inside all others, which treat its JSON response as any other.
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(state.limits.head, head::check))
        // A layer of the routes, so that it knows which one was matched.
        .layer(middleware::from_fn_with_state(state.metrics.clone(), metrics::count_request))
        .layer(middleware::map_response(move |response: Response| named(checkpoint.clone(), response)))
        .layer(middleware::from_fn(id::name_request))
}

/// Aliases of documented paths, without those of reward servers.
fn other_paths() -> Router<AppState> {
    dialects::openai::aliases().merge(dialects::engines::aliases())
}

/// Adds the checkpoint's name to the response, if a header can contain it.
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
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::InternalError,
        "The server failed on this request.",
    )
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
