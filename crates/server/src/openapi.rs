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

use crate::state::AppState;

/// What the document says beside the routes.
#[derive(OpenApi)]
#[openapi(
    modifiers(&Keys),
    info(
        title = "Gavel",
        description = "Judges answers about images with a critic model: scores with reasons, preferences, and chat."
    ),
    tags(
        (name = "judge", description = "Verdicts on one or two responses. Strict: an unknown field is refused."),
        (name = "openai", description = "OpenAI's interface. Forgiving: harmless unknown parameters are ignored."),
        (name = "scoring", description = "Interfaces of other reward and ranking servers. Forgiving, too."),
        (name = "engines", description = "What programs that know other engines ask beside texts."),
        (name = "health", description = "State of the server.")
    )
)]
pub(crate) struct Document;

/// How a key is sent, for servers that ask for one.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let text =
            "A key of this server, if it asks for keys; `api-key` and `x-api-key` are headers for it too.";
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(text)).build();
        document.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(scheme));
        // Either with a key or, on a server without keys, with none.
        let none: [&str; 0] = [];
        document.security = Some(vec![SecurityRequirement::new("key", none), SecurityRequirement::default()]);
    }
}

/// Serves the document.
pub(crate) async fn document(State(state): State<AppState>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], state.openapi.to_string()).into_response()
}
