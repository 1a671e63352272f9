//! `POST /v1/responses/input_tokens`: the number of tokens of a response's input.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::Deployment,
    examples, read_request,
    request::{ResponseRequest, ResponsesBody},
};
use crate::{
    dialects::generation::conversation_tokens::conversation_tokens,
    error::{ApiError, ErrorBody, TokenErrors},
    extract::{caller::RequestCaller, json_body::JsonBytes},
    service::state::AppState,
};

/// The number of tokens of an input.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::dialects::openai) struct InputTokens {
    /// Always `response.input_tokens`.
    object: &'static str,
    /// Tokens of the prompt, images included, as in `usage` of the response.
    input_tokens: usize,
}

/// Count the tokens of a response's input.
///
/// The body is that of a request to `/v1/responses`, which is not answered.
#[utoipa::path(
    post,
    path = "/v1/responses/input_tokens",
    operation_id = "count_input_tokens",
    tag = "openai",
    request_body(content = ResponsesBody, example = json!(examples::whole())),
    responses(
        (
            status = 200,
            description = "The number of tokens.",
            body = InputTokens,
            example = json!({ "object": "response.input_tokens", "input_tokens": 13 })
        ),
        (status = 400, description = "The request is invalid, or its input is too long.", body = ErrorBody),
        TokenErrors
    )
)]
pub(in crate::dialects::openai) async fn count(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    deployment: Deployment,
    body: JsonBytes,
) -> Result<Json<InputTokens>, ApiError> {
    let ResponseRequest { prompt, images, model, .. } = read_request(&state, &caller, &body).await?;
    let _memory = body.into_memory();
    state.names.response_name(deployment.or(model))?;
    let tokens = conversation_tokens(&state, &caller, (prompt, &images), "input").await?;
    Ok(Json(InputTokens { object: "response.input_tokens", input_tokens: tokens.len() }))
}
