//! The OpenAPI document, generated from the handlers.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        SecurityRequirement,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::service::state::AppState;

/// The parts of the document beside the routes.
#[derive(OpenApi)]
#[openapi(
    modifiers(&Keys),
    info(
        title = "Gavel",
        description = "Judges answers about images with a critic model: scores with reasons, preferences, and chat."
    ),
    tags(
        (name = "judge", description = "Verdicts and rewards. Unknown fields are refused."),
        (name = "openai", description = "OpenAI's interface. Harmless unknown parameters are ignored."),
        (name = "scoring", description = "Interfaces of other reward and ranking servers. Harmless unknown parameters are ignored."),
        (name = "engines", description = "Routes of other inference engines: tokens, versions and descriptions of the model."),
        (name = "health", description = "State of the server.")
    )
)]
pub(crate) struct Document;

/// Adds to the document how a key is sent.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let text =
            "A key of this server, if it asks for keys; `api-key` and `x-api-key` are headers for it too.";
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(text)).build();
        document.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(scheme));
        // Either with a key or, on a server without keys, without one.
        let none: [&str; 0] = [];
        document.security = Some(vec![SecurityRequirement::new("key", none), SecurityRequirement::default()]);
    }
}

/// `GET /openapi.json`: serves the document.
pub(crate) async fn document(State(state): State<AppState>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], state.openapi.to_string()).into_response()
}
