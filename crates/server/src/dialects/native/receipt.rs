//! Receipts in bodies: what a verdict depended on, and whether that is still so.

use axum::http::StatusCode;
use judge::{Drawing, Receipt};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{error::ApiError, hexadecimal::hexadecimal};

/// What a verdict depended on. Sent back as `expect` with the same request, it asks for the same verdict.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReceiptBody {
    /// Version of the server.
    gavel: String,
    /// Name of the checkpoint.
    model: String,
    /// SHA-256 of the weights file; of several files, that of the lines that `sha256sum *.safetensors` writes. Null until it
    /// is known: a large checkpoint is read for some time after the start.
    weights: Option<String>,
    /// The number type that is computed in.
    precision: String,
    /// How weights are kept in memory: `stored`, `f32`, `q8` or `q4`.
    weight_form: String,
    /// How many GPUs, or threads of a CPU, the critic is split over, whose numbers are added up.
    tensor_parallel: usize,
    /// `exact`: the same request gets the same numbers to the last bit, whatever else runs. `best_effort`: it need not.
    determinism: String,
    /// Name of the critic's profile.
    profile: String,
    /// Name of the prompt format.
    format: String,
    /// Name of the rubric.
    rubric: String,
    /// Its version; 0 for criteria of your own.
    rubric_version: u32,
    /// SHA-256 of what the rubric says.
    rubric_digest: String,
    /// SHA-256 of the rendered prompt, images included.
    prompt_digest: String,
    /// The mode; `trained` when none was asked for.
    mode: String,
    /// Whether all probabilities were asked for.
    distribution: bool,
    /// How the verdict was corrected by what the critic says whatever is answered: `none` or `content_free`.
    calibration: String,
    /// Tokens of reasons at most.
    max_tokens: usize,
    /// 0 when nothing was drawn.
    temperature: f32,
    /// The share of probability that was drawn from.
    top_p: f32,
    /// Start of the random numbers; null when nothing was drawn.
    seed: Option<u64>,
    /// The checkpoint's penalty on tokens already generated, which holds in greedy decoding too; 1 is none.
    repetition_penalty: f32,
    /// The checkpoint's tokens any of which ends a reply.
    end_token_ids: Vec<u32>,
    /// Tokens of the prompt that were not computed again.
    cached_tokens: usize,
    /// Whether the verdict was remembered from an equal request, so that nothing was computed.
    memo: bool,
    /// SHA-256 of the verdict and its justification.
    verdict_digest: String,
}

/// Whether a verdict came out again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReplayBody {
    /// Whether verdict and justification are those of the receipt, to the last letter.
    same: bool,
}

impl From<&Receipt> for ReceiptBody {
    fn from(receipt: &Receipt) -> Self {
        Self {
            gavel: env!("CARGO_PKG_VERSION").into(),
            model: receipt.model.clone(),
            weights: receipt.weights.map(|digest| hexadecimal(&digest)),
            precision: receipt.precision.into(),
            weight_form: receipt.form.into(),
            tensor_parallel: receipt.ranks,
            determinism: if receipt.exact { "exact" } else { "best_effort" }.into(),
            profile: receipt.profile.clone(),
            format: receipt.format.clone(),
            rubric: receipt.rubric.clone(),
            rubric_version: receipt.rubric_version,
            rubric_digest: hexadecimal(&receipt.rubric_digest),
            prompt_digest: hexadecimal(&receipt.prompt_digest),
            mode: receipt.mode.into(),
            distribution: receipt.distribution,
            calibration: receipt.calibration.into(),
            max_tokens: receipt.max_tokens,
            temperature: receipt.temperature,
            top_p: receipt.top_p,
            seed: receipt.seed,
            repetition_penalty: receipt.generation.repetition_penalty,
            end_token_ids: receipt.generation.end_tokens.iter().map(|token| token.0).collect(),
            cached_tokens: receipt.cached_tokens,
            memo: receipt.remembered,
            verdict_digest: hexadecimal(&receipt.verdict_digest),
        }
    }
}

impl ReceiptBody {
    /// How it was drawn.
    pub(super) fn drawing(&self) -> Drawing {
        Drawing { temperature: self.temperature, top_p: self.top_p, seed: self.seed }
    }

    /// Whether the digest of the weights is asked for.
    pub(super) fn names_weights(&self) -> bool {
        self.weights.is_some()
    }

    /// Whether what `now` depends on is what this one says; the error names everything that differs.
    pub(super) fn check(&self, now: &Receipt) -> Result<(), ApiError> {
        let now = Self::from(now);
        let texts = [
            ("model", &self.model, &now.model),
            ("precision", &self.precision, &now.precision),
            ("weight_form", &self.weight_form, &now.weight_form),
            ("determinism", &self.determinism, &now.determinism),
            ("profile", &self.profile, &now.profile),
            ("format", &self.format, &now.format),
            ("rubric", &self.rubric, &now.rubric),
            ("rubric_digest", &self.rubric_digest, &now.rubric_digest),
            ("prompt_digest", &self.prompt_digest, &now.prompt_digest),
            ("mode", &self.mode, &now.mode),
            ("calibration", &self.calibration, &now.calibration),
        ];
        let owned = |name, one: String, other: String| (name, one, other);
        let mut compared: Vec<(&str, String, String)> =
            texts.into_iter().map(|(name, one, other)| owned(name, one.clone(), other.clone())).collect();
        if let (Some(one), Some(other)) = (&self.weights, &now.weights) {
            compared.insert(1, owned("weights", one.clone(), other.clone()));
        }
        let choices = |body: &Self| {
            [
                ("rubric_version", body.rubric_version.to_string()),
                ("tensor_parallel", body.tensor_parallel.to_string()),
                ("distribution", body.distribution.to_string()),
                ("max_tokens", body.max_tokens.to_string()),
                ("temperature", body.temperature.to_string()),
                ("top_p", body.top_p.to_string()),
                ("seed", body.seed.map_or("null".into(), |seed| seed.to_string())),
                ("repetition_penalty", body.repetition_penalty.to_string()),
                ("end_token_ids", format!("{:?}", body.end_token_ids)),
            ]
        };
        let pairs = choices(self).into_iter().zip(choices(&now));
        compared.extend(pairs.map(|((name, one), (_, other))| owned(name, one, other)));
        compared.retain(|(_, one, other)| one != other);
        let Some((first, ..)) = compared.first() else { return Ok(()) };
        let tell = |(name, one, other): &(&str, String, String)| format!("{name} was {one} and is {other}");
        let told: Vec<String> = compared.iter().map(tell).collect();
        let message = format!("This is not what the receipt is of: {}.", told.join("; "));
        let error = ApiError::new(StatusCode::CONFLICT, "receipt_mismatch", message);
        Err(error.with_param(format!("expect.{first}")))
    }

    /// Whether the verdict of `now` is the same.
    pub(super) fn replay(&self, now: &Receipt) -> ReplayBody {
        ReplayBody { same: self.verdict_digest == hexadecimal(&now.verdict_digest) }
    }
}
