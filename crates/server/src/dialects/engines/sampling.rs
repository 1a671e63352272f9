//! The sampling parameters of SGLang's interface.

use std::collections::HashMap;

use judge::{RawPrompt, Shape};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    dialects::generation::{
        continuation::{Continuation, Prompts},
        sampling::{Sampling, Stop, TokenLimit},
        shape::{self, RequestedShape, schema_of},
        text_counts::TextCounts,
    },
    error::ApiError,
    json::object::only_from_objects,
};

/// The path of these parameters in the body.
pub(super) const PATH: &str = "sampling_params.";

/// The default of `max_new_tokens`, as SGLang's clients expect.
const DEFAULT_MAX_NEW_TOKENS: i64 = 128;

/// The members that are read of `sampling_params`. The last one, which SGLang's clients always send, has no effect.
pub(super) const KNOWN_MEMBERS: [&str; 18] = [
    "max_new_tokens",
    "min_new_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "stop",
    "n",
    "sampling_seed",
    "ignore_eos",
    "skip_special_tokens",
    "regex",
    "json_schema",
    "spaces_between_special_tokens",
];

/// How a text is continued. Decoding is greedy unless `temperature` is above 0.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub(super) struct SamplingBody {
    /// Maximum number of tokens to write; a value above the remaining context means all of it. With 0 the request is
    /// checked, the tokens of its prompt are counted, and nothing is written.
    #[schema(minimum = 0, default = 128)]
    max_new_tokens: Option<i64>,
    /// Minimum number of tokens before the text may end.
    #[schema(minimum = 0, default = 0)]
    min_new_tokens: Option<i64>,
    /// Temperature of sampling; 0 is greedy.
    #[schema(minimum = 0.0, maximum = 2.0, default = 0.0)]
    temperature: Option<f64>,
    /// Draws only from the smallest set of tokens whose probabilities reach this sum.
    #[schema(minimum = 0.0, maximum = 1.0, default = 1.0)]
    top_p: Option<f64>,
    /// Draws only from this many most probable tokens; 0 and -1 mean all.
    top_k: Option<i64>,
    /// Draws only from tokens with at least this fraction of the most probable token's probability.
    #[schema(minimum = 0.0, maximum = 1.0, default = 0.0)]
    min_p: Option<f64>,
    /// Penalty on tokens already written, above 0; 1 means none. By default that of the checkpoint.
    repetition_penalty: Option<f64>,
    /// Subtracted from the logit of each token that was already written.
    #[schema(minimum = -2.0, maximum = 2.0, default = 0.0)]
    presence_penalty: Option<f64>,
    /// Subtracted from a token's logit once for each time that it was written.
    #[schema(minimum = -2.0, maximum = 2.0, default = 0.0)]
    frequency_penalty: Option<f64>,
    /// Added to the logits of tokens, by token id; at most 300, each from -100 to 100.
    logit_bias: Option<HashMap<String, f64>>,
    /// Up to four strings, of at most 64 bytes each, that end the text and are not part of it.
    stop: Option<Stop>,
    /// Number of texts to return for each text. With more than one the answer is a list.
    #[schema(minimum = 1, maximum = 128, default = 1)]
    pub(super) n: Option<i64>,
    /// Seed of the random numbers; if absent, a random one.
    sampling_seed: Option<i64>,
    /// Whether to write until the maximum number of tokens, ignoring end tokens.
    ignore_eos: Option<bool>,
    /// Whether control tokens are left out of the text; by default `true`.
    skip_special_tokens: Option<bool>,
    /// A regular expression that the whole text matches.
    regex: Option<String>,
    /// A JSON schema for the text, as an object or as JSON in a string.
    json_schema: Option<Value>,
}

only_from_objects!(SamplingBody);

impl SamplingBody {
    /// Whether the prompt is read, and nothing is written.
    pub(super) fn is_prefill_only(&self) -> bool {
        self.max_new_tokens == Some(0)
    }

    /// The continuation of `texts` with these parameters; ids of tokens must be below `vocabulary`. It has room for a
    /// token also if nothing is to be written, so that the parameters can be checked alike.
    ///
    /// # Errors
    /// When a parameter is out of its range, or the schema is not JSON.
    pub(super) fn continuation(&self, texts: &[String], vocabulary: usize) -> Result<Continuation, ApiError> {
        let inside = |error: ApiError| error.inside(PATH);
        let params = self.sampling().and_then(|sampling| sampling.params(vocabulary)).map_err(inside)?;
        let counts = TextCounts::new(self.n, None, None).map_err(inside)?;
        let prompts = texts.iter().cloned().map(RawPrompt::Text).collect();
        Continuation::new(Prompts { all: prompts, param: "text" }, params, counts, self.shape()?)
    }

    /// The parameters that all interfaces share.
    ///
    /// # Errors
    /// When the numbers of tokens make no sense; the error names the parameter as it is called here.
    fn sampling(&self) -> Result<Sampling<'_>, ApiError> {
        let max_tokens = self.max_new_tokens.unwrap_or(DEFAULT_MAX_NEW_TOKENS);
        let min_tokens = self.min_new_tokens.unwrap_or(0);
        let refused =
            |name: &str, words: String| Err(ApiError::invalid(name, format!("{name} must be {words}.")));
        if max_tokens < 0 {
            return refused("max_new_tokens", format!("at least 0, not {max_tokens}"));
        }
        if !(0..=max_tokens).contains(&min_tokens) {
            return refused("min_new_tokens", format!("from 0 to {max_tokens}, not {min_tokens}"));
        }
        let (param, value) = ("max_new_tokens", Some(max_tokens.max(1)));
        Ok(Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            logit_bias: self.logit_bias.as_ref(),
            seed: self.sampling_seed,
            stop: self.stop.as_ref(),
            min_tokens: Some(min_tokens),
            max_tokens: TokenLimit { param, value, default: 1 },
            ignore_eos: self.ignore_eos,
            skip_special_tokens: self.skip_special_tokens,
        })
    }

    /// The shape of the texts.
    ///
    /// # Errors
    /// When the schema is no JSON or null, the pattern is empty, or both are given.
    fn shape(&self) -> Result<Option<RequestedShape>, ApiError> {
        const SCHEMA: &str = "sampling_params.json_schema";
        const PATTERN: &str = "sampling_params.regex";
        let no_schema = || ApiError::invalid(SCHEMA, "json_schema is no schema as JSON.");
        let schema = self.json_schema.as_ref().map(|schema| schema_of(schema).ok_or_else(no_schema));
        let schema = schema.transpose()?;
        let schema = schema.map(|schema| RequestedShape { shape: Shape::Schema(schema), param: SCHEMA });
        let pattern = self.regex.as_ref().map(|pattern| shape::of_pattern(pattern, PATTERN)).transpose()?;
        shape::single(schema.into_iter().chain(pattern).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::parameters;

    #[test]
    fn the_members_are_those_of_the_schema() {
        parameters::assert_covers::<SamplingBody>(&KNOWN_MEMBERS, &["spaces_between_special_tokens"]);
    }

    #[test]
    fn the_bounds_of_tokens_are_named_as_in_the_request() {
        let texts = ["a".to_owned()];
        let refused = |sampling: SamplingBody| sampling.continuation(&texts, 300).err().unwrap();
        let negative = refused(SamplingBody { max_new_tokens: Some(-1), ..SamplingBody::default() });
        assert_eq!(negative.param(), Some("sampling_params.max_new_tokens"));
        let none = SamplingBody { max_new_tokens: Some(0), ..SamplingBody::default() };
        assert!(none.is_prefill_only() && none.continuation(&texts, 300).is_ok());
        let few =
            SamplingBody { max_new_tokens: Some(3), min_new_tokens: Some(4), ..SamplingBody::default() };
        assert_eq!(refused(few).message(), "min_new_tokens must be from 0 to 3, not 4.");
        assert!(SamplingBody::default().continuation(&texts, 300).is_ok());
    }

    #[test]
    fn an_error_names_the_parameter_of_this_interface() {
        let texts = ["a".to_owned()];
        let refused = |sampling: SamplingBody, texts: &[String]| {
            let error = sampling.continuation(texts, 300).err().unwrap();
            error.param().unwrap_or_default().to_owned()
        };
        let default = SamplingBody::default;
        let hot = SamplingBody { temperature: Some(3.0), ..default() };
        assert_eq!(refused(hot, &texts), "sampling_params.temperature");
        assert_eq!(refused(SamplingBody { n: Some(0), ..default() }, &texts), "sampling_params.n");
        for text in ["{", "null"] {
            let schema = SamplingBody { json_schema: Some(text.into()), ..default() };
            assert_eq!(refused(schema, &texts), "sampling_params.json_schema", "{text}");
        }
        let pattern = SamplingBody { regex: Some(String::new()), ..default() };
        assert_eq!(refused(pattern, &texts), "sampling_params.regex");
        assert_eq!(refused(default(), &[]), "text");
    }
}
