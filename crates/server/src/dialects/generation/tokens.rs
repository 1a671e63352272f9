//! Parameters that refer to tokens by id.

use std::collections::HashMap;

use judge::TokenId;

use crate::{
    dialects::values::number_in,
    error::{ApiError, ErrorCode, quoted},
};

/// The maximum number of biases, as at OpenAI.
const MAX_BIASES: usize = 300;
/// The maximum number of tokens whose log-probabilities are returned at each position, as in vLLM.
const MAX_LOGPROBS: usize = 128;

/// The biases of `logit_bias`.
///
/// # Errors
/// When there are too many, a bias is not from -100 to 100, or an id is not in the vocabulary, or not written as a
/// plain number: otherwise two entries could be for the same token.
pub(super) fn biases(
    logit_bias: &HashMap<String, f64>,
    vocabulary: usize,
) -> Result<Vec<(TokenId, f32)>, ApiError> {
    const PARAM: &str = "logit_bias";
    if logit_bias.len() > MAX_BIASES {
        return Err(ApiError::invalid(PARAM, format!("There can be at most {MAX_BIASES} biases.")));
    }
    let bias = |(written, bias): (&String, &f64)| {
        let Some(id) = written.parse::<i64>().ok().filter(|id| id.to_string() == *written) else {
            return Err(ApiError::invalid(PARAM, format!("{} is no id of a token.", quoted(written))));
        };
        Ok((token(id, vocabulary, PARAM)?, number_in(PARAM, *bias, -100.0..=100.0)?))
    };
    let mut biases = logit_bias.iter().map(bias).collect::<Result<Vec<_>, _>>()?;
    // Sorted, so that equal requests have equal parameters.
    biases.sort_by_key(|(token, _)| *token);
    Ok(biases)
}

/// The tokens of `logprob_token_ids`.
///
/// # Errors
/// When there are too many, or an id is not in the vocabulary.
pub(super) fn reported(ids: &[i64], vocabulary: usize) -> Result<Vec<TokenId>, ApiError> {
    const PARAM: &str = "logprob_token_ids";
    if ids.len() > MAX_LOGPROBS {
        return Err(ApiError::invalid(PARAM, format!("There can be at most {MAX_LOGPROBS} ids.")));
    }
    ids.iter().map(|id| token(*id, vocabulary, PARAM)).collect()
}

/// The token with this id, which must be below `vocabulary`.
fn token(id: i64, vocabulary: usize, param: &'static str) -> Result<TokenId, ApiError> {
    u32::try_from(id).ok().filter(|id| (*id as usize) < vocabulary).map(TokenId).ok_or_else(|| {
        let message = format!("There is no token {id}; the critic's vocabulary has {vocabulary}.");
        ApiError::invalid(param, message).with_code(ErrorCode::UnknownToken)
    })
}
