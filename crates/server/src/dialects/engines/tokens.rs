//! Conversion of text to tokens and back, in vLLM's interface.

use axum::{Json, extract::State, http::StatusCode};
use judge::{EngineError, JudgeError, RawPrompt, TokenId};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use utoipa::ToSchema;

use super::examples;
use crate::{
    caller::RequestCaller,
    dialects::openai::{self, Conversation, image_params::ImageParams},
    error::{ApiError, Dialect, ErrorBody},
    json_body::JsonBytes,
    state::AppState,
};

/// What to tokenize: a text, or a conversation as the critic reads it.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct TokenizeBody {
    /// Any name of up to 256 bytes, unless the server refuses unknown ones.
    model: Option<String>,
    /// A text, in which nothing is parsed as a control token. Without it, the body is that of a chat request; with
    /// `add_generation_prompt` `false`, the opening of the critic's turn is left out.
    prompt: Option<String>,
    /// Whether to return the text of each token; by default `false`.
    return_token_strs: Option<bool>,
}

/// The tokens of a text or conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tokenized {
    /// The number of tokens.
    count: usize,
    /// Maximum number of tokens of prompt and answer together.
    max_model_len: usize,
    /// The token ids. Each image is a run of placeholder tokens.
    tokens: Vec<u32>,
    /// The text of each token; null if it was not requested.
    token_strs: Option<Vec<String>>,
}

/// The maximum length of a text to tokenize, in context lengths: clients also count the tokens of texts that they
/// are about to cut.
const MAX_CONTEXTS: usize = 4;

/// Tokenize a text or a conversation.
#[utoipa::path(
    post,
    path = "/tokenize",
    tag = "engines",
    request_body(content = TokenizeBody, example = json!({ "prompt": "A red circle." })),
    responses(
        (status = 200, description = "The tokens.", body = Tokenized, example = json!(examples::tokenized())),
        (status = 400, description = "The conversation is invalid, or the text is too long.", body = ErrorBody),
        (status = 415, description = "The request body is not JSON.", body = ErrorBody),
        (status = 429, description = "Too many requests are waiting; retry after the time in `Retry-After`.", body = ErrorBody)
    )
)]
pub(super) async fn tokenize(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    body: JsonBytes,
) -> Result<Json<Tokenized>, ApiError> {
    let TokenizeBody { model, prompt, return_token_strs } = body.parse()?;
    state.names.response_name(model)?;
    let mut images = ImageParams::default();
    let tokens = match prompt {
        Some(text) => {
            let limit = state.judge.context_length() * MAX_CONTEXTS;
            // The text does not wait for the engine, but tokenization shares its threads with requests that do, and
            // so their queue.
            let preparing = state.judge.prepare_for(&caller).await;
            let _preparing = preparing.map_err(|error| ApiError::from_judge(error, Dialect::OpenAi))?;
            state.judge.tokens(RawPrompt::Text(text), limit, &caller).await
        }
        None => {
            check_input(&body)?;
            let conversation = openai::conversation(&state, &caller, &body).await?;
            let Conversation { prompt, images: conversation_images, opens_turn } = conversation;
            images = conversation_images;
            let tokens = state.judge.conversation_tokens(prompt, &caller).await;
            if opens_turn { tokens } else { tokens.map(|tokens| state.judge.unopened(tokens)) }
        }
    };
    let tokens = tokens.map_err(|error| match error {
        JudgeError::Engine(EngineError::TooLong { tokens, limit }) => ApiError::new(
            StatusCode::BAD_REQUEST,
            "string_too_long",
            format!("The text has {tokens} tokens or more; those of texts of {limit} at most are told."),
        ),
        other => images.api_error(other),
    })?;
    let text = |token: &TokenId| state.judge.text(std::slice::from_ref(token));
    Ok(Json(Tokenized {
        count: tokens.len(),
        max_model_len: state.judge.context_length(),
        token_strs: return_token_strs.unwrap_or_default().then(|| tokens.iter().map(text).collect()),
        tokens: tokens.into_iter().map(|token| token.0).collect(),
    }))
}

/// Refuses a body with neither `prompt` nor `messages`; a missing `messages` alone would not mention `prompt`.
fn check_input(body: &JsonBytes) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Input {
        messages: Option<IgnoredAny>,
    }
    match body.parse::<Input>()?.messages {
        Some(_) => Ok(()),
        None => Err(ApiError::invalid(
            "prompt",
            "Give prompt, which is a text, or messages, which are a conversation.",
        )),
    }
}

/// Tokens to convert to text.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct DetokenizeBody {
    /// Any name of up to 256 bytes, unless the server refuses unknown ones.
    model: Option<String>,
    /// Token ids of the critic's vocabulary.
    tokens: Vec<u32>,
}

/// The text of tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Detokenized {
    /// The text.
    prompt: String,
}

/// Convert tokens to text.
#[utoipa::path(
    post,
    path = "/detokenize",
    tag = "engines",
    request_body(content = DetokenizeBody, example = json!(examples::tokens())),
    responses(
        (status = 200, description = "The text.", body = Detokenized, example = json!({ "prompt": "A red circle." })),
        (status = 400, description = "A token id is outside the vocabulary.", body = ErrorBody),
        (status = 415, description = "The request body is not JSON.", body = ErrorBody)
    )
)]
pub(super) async fn detokenize(
    State(state): State<AppState>,
    body: JsonBytes,
) -> Result<Json<Detokenized>, ApiError> {
    let DetokenizeBody { model, tokens } = body.parse()?;
    state.names.response_name(model)?;
    let tokens = state.judge.known(tokens.into_iter().map(TokenId).collect());
    let tokens = tokens.map_err(|error| ApiError::from_judge(error, Dialect::OpenAi).with_param("tokens"))?;
    Ok(Json(Detokenized { prompt: state.judge.text(&tokens) }))
}
