//! The OpenAPI document, generated from the handlers.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::OpenApi;

use crate::state::AppState;

/// What the document says beside the routes.
#[derive(OpenApi)]
#[openapi(
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

/// Serves the document.
pub(crate) async fn document(State(state): State<AppState>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], state.openapi.to_string()).into_response()
}
