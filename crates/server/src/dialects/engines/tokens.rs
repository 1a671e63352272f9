//! Conversion of text to tokens and back, in the interfaces of vLLM and SGLang, which also has lists of texts.

use axum::{Json, extract::State};
use judge::{Caller, EngineError, Judge, JudgeError, RawPrompt, TextsError, TokenId};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use utoipa::ToSchema;

use super::examples;
use crate::{
    dialects::{
        generation::{
            chat::{ChatRequest, read_chat},
            conversation_tokens::conversation_tokens,
        },
        one_or_many::OneOrMany,
    },
    error::{ApiError, Dialect, ErrorBody, ErrorCode, TokenErrors},
    extract::{caller::RequestCaller, json_body::JsonBytes},
    service::state::AppState,
};

/// What to tokenize: a text, a list of texts, or a conversation as the critic reads it.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct TokenizeBody {
    /// Any name of up to 256 bytes, unless the server refuses unknown ones.
    model: Option<String>,
    /// A text or a list of texts, in which nothing is parsed as a control token. Without it, the body is that of a chat
    /// request; with `add_generation_prompt` `false`, the opening of the critic's turn is left out.
    prompt: Option<OneOrMany<String>>,
    /// Whether to return the text of each token; by default `false`.
    return_token_strs: Option<bool>,
}

/// The tokens of a text or a conversation. For a list of texts, all members but `max_model_len` are lists, too, with an
/// element for each text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tokenized {
    /// The number of tokens.
    count: OneOrMany<usize>,
    /// Maximum number of tokens of prompt and answer together.
    max_model_len: usize,
    /// The token ids. Each image is a run of placeholder tokens.
    // An empty list would fit both a list and a list of lists.
    #[schema(value_type = Vec<OneOrMany<u32>>)]
    tokens: OneOrMany<Vec<u32>>,
    /// The text of each token; null if it was not requested.
    #[schema(value_type = Option<Vec<OneOrMany<String>>>)]
    token_strs: Option<OneOrMany<Vec<String>>>,
}

/// The maximum length of a text to tokenize, in context lengths: clients also count the tokens of texts that they
/// are about to cut.
const MAX_CONTEXTS: usize = 4;

/// The maximum number of tokens of a list of texts, which bounds its memory: with `return_token_strs` each takes up to
/// about a hundred bytes.
const MAX_TOKENS_OF_LIST: usize = 1 << 20;

/// Tokenize a text, a list of texts or a conversation.
#[utoipa::path(
    post,
    path = "/tokenize",
    tag = "engines",
    request_body(content = TokenizeBody, example = json!({ "prompt": "A red circle." })),
    responses(
        (status = 200, description = "The tokens.", body = Tokenized, example = json!(examples::tokenized())),
        (status = 400, description = "The conversation is invalid, or the text is too long.", body = ErrorBody),
        TokenErrors
    )
)]
pub(super) async fn tokenize(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    body: JsonBytes,
) -> Result<Json<Tokenized>, ApiError> {
    let TokenizeBody { model, prompt, return_token_strs } = body.parse()?;
    state.names.response_name(model)?;
    let tokens = match prompt {
        Some(texts) => tokens_of_texts(&state, &caller, texts).await?,
        None => {
            check_input(&body)?;
            OneOrMany::One(tokens_of_conversation(&state, &caller, &body).await?)
        }
    };
    let (tokens, token_strs) = if return_token_strs.unwrap_or_default() {
        let converted = converted(&state, &caller, move |judge| {
            let text = |token: &TokenId| judge.text(std::slice::from_ref(token));
            let texts = tokens.map(|tokens| tokens.iter().map(text).collect::<Vec<String>>());
            (tokens, Some(texts))
        });
        converted.await?
    } else {
        (tokens, None)
    };
    Ok(Json(Tokenized {
        count: tokens.map(Vec::len),
        max_model_len: state.judge.context_length(),
        token_strs,
        tokens: tokens.map(|tokens| tokens.iter().map(|token| token.0).collect()),
    }))
}

/// What `work` makes of tokens, which may be a million: it runs on the threads on which texts are tokenised, and so
/// waits in the same queue.
async fn converted<T: Send + 'static>(
    state: &AppState,
    caller: &Caller,
    work: impl FnOnce(&Judge) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let refused = |error| ApiError::from_judge(error, Dialect::OpenAi);
    let _preparing = state.judge.prepare_for(caller).await.map_err(refused)?;
    state.judge.convert(caller, work).await.map_err(refused)
}

/// The tokens of each text of the member `prompt`.
async fn tokens_of_texts(
    state: &AppState,
    caller: &Caller,
    texts: OneOrMany<String>,
) -> Result<OneOrMany<Vec<TokenId>>, ApiError> {
    // Texts do not wait for the engine, but tokenization shares its threads with requests that do, and so their queue.
    let preparing = state.judge.prepare_for(caller).await;
    let _preparing = preparing.map_err(|error| ApiError::from_judge(error, Dialect::OpenAi))?;
    let texts = match texts {
        OneOrMany::One(text) => {
            return tokens_of_text(state, caller, text, "prompt").await.map(OneOrMany::One);
        }
        OneOrMany::Many(texts) => texts,
    };
    let limits = (state.judge.context_length() * MAX_CONTEXTS, MAX_TOKENS_OF_LIST);
    let lists = state.judge.tokens_of_each(texts, limits, caller).await;
    lists.map(OneOrMany::Many).map_err(|error| match error {
        TextsError::Long { index, error } => refused_text(error.into(), &format!("prompt[{index}]")),
        TextsError::Many { limit } => {
            let message =
                format!("The texts have more than {limit} tokens in all, which is the limit for a list.");
            ApiError::invalid("prompt", message).with_code(ErrorCode::StringTooLong)
        }
        TextsError::Failed(error) => ApiError::from_judge(*error, Dialect::OpenAi),
    })
}

/// The tokens of the text at `path`.
async fn tokens_of_text(
    state: &AppState,
    caller: &Caller,
    text: String,
    path: &str,
) -> Result<Vec<TokenId>, ApiError> {
    let limit = state.judge.context_length() * MAX_CONTEXTS;
    let tokens = state.judge.tokens(RawPrompt::Text(text), limit, caller).await;
    tokens.map_err(|error| refused_text(error, path))
}

/// The error for the text at `path` that is not tokenised.
fn refused_text(error: JudgeError, path: &str) -> ApiError {
    match error {
        JudgeError::Engine(EngineError::TooLong { tokens, limit, .. }) => {
            let message = format!(
                "{path} has at least {tokens} tokens; the limit is {limit}, {MAX_CONTEXTS} times the context."
            );
            ApiError::invalid(path, message).with_code(ErrorCode::StringTooLong)
        }
        other => ApiError::from_judge(other, Dialect::OpenAi),
    }
}

/// The tokens of the conversation that a body is.
async fn tokens_of_conversation(
    state: &AppState,
    caller: &Caller,
    body: &JsonBytes,
) -> Result<Vec<TokenId>, ApiError> {
    let ChatRequest { prompt, images, opens_turn, .. } = read_chat(state, caller, body).await?;
    let tokens = conversation_tokens(state, caller, (prompt, &images), "messages").await?;
    Ok(if opens_turn { tokens } else { state.judge.unopened(tokens) })
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
            "Give prompt, which is a text or a list of texts, or messages, which are a conversation.",
        )),
    }
}

/// Tokens to convert to text.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct DetokenizeBody {
    /// Any name of up to 256 bytes, unless the server refuses unknown ones.
    model: Option<String>,
    /// Token ids of the critic's vocabulary.
    tokens: TokenLists,
    /// Whether control tokens are left out of `text`; by default `true`.
    skip_special_tokens: Option<bool>,
}

/// The tokens of a text, or of each of several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum TokenLists {
    /// The tokens of a text.
    // First, so that an empty list is an empty text.
    One(Vec<u32>),
    /// The tokens of each of several texts.
    Many(Vec<Vec<u32>>),
}

/// The text of tokens, or the texts of lists of tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Detokenized {
    /// The text with control tokens as they are written, as vLLM returns it.
    prompt: OneOrMany<String>,
    /// The text without control tokens unless `skip_special_tokens` is `false`, as SGLang returns it.
    text: OneOrMany<String>,
}

/// Convert tokens to text.
#[utoipa::path(
    post,
    path = "/detokenize",
    tag = "engines",
    request_body(content = DetokenizeBody, example = json!(examples::tokens())),
    responses(
        (status = 200, description = "The text.", body = Detokenized, example = json!({ "prompt": "A red circle.", "text": "A red circle." })),
        (status = 400, description = "A token id is outside the vocabulary.", body = ErrorBody),
        TokenErrors
    )
)]
pub(super) async fn detokenize(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    body: JsonBytes,
) -> Result<Json<Detokenized>, ApiError> {
    let DetokenizeBody { model, tokens, skip_special_tokens } = body.parse()?;
    state.names.response_name(model)?;
    let judge = &state.judge;
    let known = |tokens: Vec<u32>, path: &str| {
        let known = judge.known(tokens.into_iter().map(TokenId).collect());
        known.map_err(|error| ApiError::from_judge(error, Dialect::OpenAi).with_param(path))
    };
    let tokens = match tokens {
        TokenLists::One(tokens) => OneOrMany::One(known(tokens, "tokens")?),
        TokenLists::Many(lists) => {
            let lists = lists.into_iter().enumerate();
            let lists = lists.map(|(index, tokens)| known(tokens, &format!("tokens[{index}]")));
            OneOrMany::Many(lists.collect::<Result<Vec<_>, ApiError>>()?)
        }
    };
    let without_control = skip_special_tokens.unwrap_or(true);
    let texts = converted(&state, &caller, move |judge| {
        let text = |tokens: &Vec<TokenId>| {
            if without_control { judge.text(&judge.without_control(tokens)) } else { judge.text(tokens) }
        };
        Detokenized { prompt: tokens.map(|tokens| judge.text(tokens)), text: tokens.map(text) }
    });
    texts.await.map(Json)
}
