//! The sampling parameters that all interfaces share in which the critic writes text.

use std::collections::HashMap;

use judge::CompletionParams;
use serde::Deserialize;
use utoipa::ToSchema;

use super::tokens;
use crate::{
    dialects::values::{in_range, number_in},
    error::ApiError,
};

/// The maximum number of stop strings, as at OpenAI, and of bytes of each: text that may begin a stop string is
/// held back.
const MAX_STOPS: usize = 4;
const MAX_STOP_BYTES: usize = 64;

/// One string or several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Stop {
    /// One string.
    One(String),
    /// Several strings.
    Several(Vec<String>),
}

impl Stop {
    fn strings(&self) -> &[String] {
        match self {
            Self::One(stop) => std::slice::from_ref(stop),
            Self::Several(stops) => stops,
        }
    }
}

/// The maximum number of tokens to write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenLimit {
    /// The parameter that sets it.
    pub(crate) param: &'static str,
    pub(crate) value: Option<i64>,
    /// The limit of requests that set none.
    pub(crate) default: usize,
}

/// How a text is sampled, as a request says it. What it does not say is `None`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sampling<'a> {
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) top_k: Option<i64>,
    pub(crate) min_p: Option<f64>,
    pub(crate) repetition_penalty: Option<f64>,
    pub(crate) presence_penalty: Option<f64>,
    pub(crate) frequency_penalty: Option<f64>,
    pub(crate) logit_bias: Option<&'a HashMap<String, f64>>,
    pub(crate) seed: Option<i64>,
    pub(crate) stop: Option<&'a Stop>,
    pub(crate) min_tokens: Option<i64>,
    pub(crate) max_tokens: TokenLimit,
    pub(crate) ignore_eos: Option<bool>,
    pub(crate) skip_special_tokens: Option<bool>,
}

impl Sampling<'_> {
    /// What a request says that has nothing but a limit.
    pub(crate) fn limited(max_tokens: TokenLimit) -> Self {
        Self {
            temperature: None,
            top_p: None,
            top_k: None,
            min_p: None,
            repetition_penalty: None,
            presence_penalty: None,
            frequency_penalty: None,
            logit_bias: None,
            seed: None,
            stop: None,
            min_tokens: None,
            max_tokens,
            ignore_eos: None,
            skip_special_tokens: None,
        }
    }

    /// The parameters of a completion; ids of tokens must be below `vocabulary`.
    ///
    /// # Errors
    /// When a value is out of its range. The error names the parameter, which has the name of its field here unless
    /// it is the limit.
    pub(crate) fn params(&self, vocabulary: usize) -> Result<CompletionParams, ApiError> {
        let (min_tokens, max_tokens) = self.token_bounds()?;
        // A sum of 0 is reached by no token, which can only mean the most probable one.
        let top_p = number_in("top_p", self.top_p.unwrap_or(1.0), 0.0..=1.0)?.max(f32::MIN_POSITIVE);
        let top_k = match self.top_k.unwrap_or(0) {
            -1 | 0 => None,
            top_k => Some(in_range("top_k", top_k, 1..=i64::MAX)?),
        };
        // Checked when it is narrowed: a number near 0 may become 0, and a large one infinite.
        let repetition_penalty = self.repetition_penalty.map(|penalty| penalty as f32);
        if repetition_penalty.is_some_and(|penalty| !penalty.is_finite() || penalty <= 0.0) {
            return Err(ApiError::invalid("repetition_penalty", "repetition_penalty must be above 0."));
        }
        let penalty = |name, value: Option<f64>| number_in(name, value.unwrap_or(0.0), -2.0..=2.0);
        let biases = self.logit_bias.map(|biases| tokens::biases(biases, vocabulary)).transpose()?;
        Ok(CompletionParams {
            temperature: number_in("temperature", self.temperature.unwrap_or(0.0), 0.0..=2.0)?,
            top_p,
            top_k,
            seed: self.seed.map(i64::cast_unsigned),
            repetition_penalty,
            presence_penalty: penalty("presence_penalty", self.presence_penalty)?,
            frequency_penalty: penalty("frequency_penalty", self.frequency_penalty)?,
            logit_bias: biases.unwrap_or_default(),
            min_p: number_in("min_p", self.min_p.unwrap_or(0.0), 0.0..=1.0)?,
            min_tokens,
            stop: self.stop_strings()?,
            ignore_end: self.ignore_eos.unwrap_or_default(),
            show_control: !self.skip_special_tokens.unwrap_or(true),
            ..CompletionParams::greedy(max_tokens)
        })
    }

    /// The minimum and the maximum number of tokens to write.
    fn token_bounds(&self) -> Result<(usize, usize), ApiError> {
        let TokenLimit { param, value, default } = self.max_tokens;
        let max = value.map_or(Ok(default), |max| in_range(param, max, 1..=i64::MAX))?;
        let min = in_range("min_tokens", self.min_tokens.unwrap_or(0), 0..=i64::MAX)?;
        if min > max {
            let message = format!("min_tokens cannot be above the bound of {max} tokens.");
            return Err(ApiError::invalid("min_tokens", message));
        }
        Ok((min, max))
    }

    /// The strings that end the text.
    fn stop_strings(&self) -> Result<Vec<String>, ApiError> {
        let stop = self.stop.map_or(&[][..], Stop::strings);
        if stop.len() > MAX_STOPS {
            let message = format!("There can be at most {MAX_STOPS} stop strings.");
            return Err(ApiError::invalid("stop", message));
        }
        if stop.iter().any(|stop| stop.len() > MAX_STOP_BYTES) {
            let message = format!("A stop string has at most {MAX_STOP_BYTES} bytes.");
            return Err(ApiError::invalid("stop", message));
        }
        Ok(stop.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: TokenLimit = TokenLimit { param: "max_output_tokens", value: None, default: 16 };

    #[test]
    fn an_error_names_the_parameter() {
        let refused = |sampling: Sampling<'_>| sampling.params(300).unwrap_err().param().map(str::to_owned);
        let plain = Sampling::limited(LIMIT);
        let none = TokenLimit { value: Some(0), ..LIMIT };
        assert_eq!(refused(Sampling::limited(none)).as_deref(), Some("max_output_tokens"));
        assert_eq!(refused(Sampling { min_tokens: Some(17), ..plain }).as_deref(), Some("min_tokens"));
        assert_eq!(refused(Sampling { temperature: Some(2.5), ..plain }).as_deref(), Some("temperature"));
        let stop = Stop::Several(vec!["a".into(); 5]);
        assert_eq!(refused(Sampling { stop: Some(&stop), ..plain }).as_deref(), Some("stop"));
        let biases = HashMap::from([("300".to_owned(), 1.0)]);
        assert_eq!(refused(Sampling { logit_bias: Some(&biases), ..plain }).as_deref(), Some("logit_bias"));
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let params = Sampling::limited(LIMIT).params(300).unwrap();
        assert_eq!((params.max_tokens, params.min_tokens, params.temperature), (16, 0, 0.0));
        assert_eq!((params.top_p, params.top_k, params.repetition_penalty), (1.0, None, None));
        assert!(params.stop.is_empty() && !params.ignore_end && !params.show_control);
        let all = Sampling { top_k: Some(-1), top_p: Some(0.0), ..Sampling::limited(LIMIT) };
        let params = all.params(300).unwrap();
        assert!(params.top_k.is_none() && params.top_p > 0.0, "{params:?}");
    }
}
