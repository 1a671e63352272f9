//! The tokens of a conversation, for routes that count them and write nothing.

use judge::{Caller, EngineError, JudgeError, Prompt, TokenId};

use super::image_params::ImageParams;
use crate::{
    error::{ApiError, ErrorCode},
    service::state::AppState,
};

/// The tokens of `prompt` with the opening of the critic's turn. `images` are the paths of its images in the body, and
/// `param` is that of its messages.
///
/// # Errors
/// When it is longer than the context, or an image cannot be read.
pub(crate) async fn conversation_tokens(
    state: &AppState,
    caller: &Caller,
    (prompt, images): (Prompt, &ImageParams),
    param: &str,
) -> Result<Vec<TokenId>, ApiError> {
    let tokens = state.judge.conversation_tokens(prompt, caller).await;
    tokens.map_err(|error| match error {
        JudgeError::Engine(EngineError::TooLong { tokens, limit, .. }) => {
            let message = format!("The conversation has at least {tokens} tokens; the limit is {limit}.");
            ApiError::invalid(param, message).with_code(ErrorCode::StringTooLong)
        }
        other => images.api_error(other, param),
    })
}
