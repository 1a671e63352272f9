//! Receipts in bodies: what a verdict depended on, and whether that is unchanged.

use axum::http::StatusCode;
use judge::{Calibration, Conditions, Receipt, Sampling};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    error::{ApiError, ErrorCode},
    hexadecimal::hexadecimal,
};

/// What a verdict depended on. Sent as `expect` with the same request, it replays the verdict.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReceiptBody {
    /// Version of the server.
    gavel: String,
    /// Name of the checkpoint.
    model: String,
    /// SHA-256 of the weights file; of several files, that of the output of `sha256sum *.safetensors`. Null until
    /// it is computed, which takes some time after the start for a large checkpoint.
    weights: Option<String>,
    /// Number type of the computation, such as `f32`.
    precision: String,
    /// How weights are kept in memory: `stored`, `f32`, `q8` or `q4`.
    weight_form: String,
    /// Number of ranks (GPUs, or threads of a CPU) that the critic is split over. It determines the order of sums.
    tensor_parallel: usize,
    /// `exact`: equal requests get the same numbers to the last bit, whatever else runs. `best_effort`: not
    /// guaranteed.
    determinism: String,
    /// Name of the critic's profile.
    profile: String,
    /// Name of the prompt format.
    format: String,
    /// Name of the rubric.
    rubric: String,
    /// Version of the rubric; 0 for criteria of your own.
    rubric_version: u32,
    /// SHA-256 of the rubric's content.
    rubric_digest: String,
    /// SHA-256 of the rendered prompt, images included.
    prompt_digest: String,
    /// The mode; `trained` if the request had none.
    mode: String,
    /// Whether the probabilities of all verdicts were requested, which is always so with both orders and with
    /// `blind`. A replay reads them again.
    distribution: bool,
    /// The calibration of the verdict: `none` or `content_free`.
    calibration: String,
    /// Maximum number of tokens of reasons.
    max_tokens: usize,
    /// Temperature of sampling; 0 if nothing was drawn.
    temperature: f32,
    /// Top-p threshold of sampling.
    top_p: f32,
    /// Seed of the random numbers; null if nothing was drawn.
    seed: Option<u64>,
    /// The checkpoint's penalty on tokens already generated, applied in greedy decoding too; 1 means none.
    repetition_penalty: f32,
    /// The checkpoint's end tokens; any of them ends a reply.
    end_token_ids: Vec<u32>,
    /// Prompt tokens that were taken from the prefix cache instead of computed.
    cached_tokens: usize,
    /// Whether the verdict was remembered from an equal request, so that nothing was computed.
    memo: bool,
    /// SHA-256 of the verdict, its finish reason and its justification.
    verdict_digest: String,
}

/// Whether a replayed verdict is the same.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReplayBody {
    /// Whether verdict and justification are identical to those of the receipt.
    same: bool,
}

impl From<&Receipt> for ReceiptBody {
    fn from(receipt: &Receipt) -> Self {
        Self {
            cached_tokens: receipt.cached_tokens(),
            memo: receipt.is_remembered(),
            verdict_digest: hexadecimal(&receipt.verdict_digest()),
            ..Self::before(receipt.conditions(), receipt.calibration())
        }
    }
}

impl ReceiptBody {
    /// The part of a receipt that is known before the verdict, with nothing in place of the rest.
    fn before(conditions: &Conditions, calibration: Calibration) -> Self {
        // Every field by name, so that this does not compile until it is decided whether a new one belongs here.
        let Conditions {
            model,
            weights,
            precision,
            form,
            ranks,
            exact,
            profile,
            format,
            // It follows from the format and the rubric.
            answer: _,
            rubric,
            rubric_version,
            rubric_digest,
            prompt_digest,
            mode,
            distribution,
            max_tokens,
            temperature,
            top_p,
            seed,
            generation,
        } = conditions;
        Self {
            gavel: env!("CARGO_PKG_VERSION").into(),
            model: model.clone(),
            weights: weights.map(|digest| hexadecimal(&digest)),
            precision: (*precision).into(),
            weight_form: (*form).into(),
            tensor_parallel: *ranks,
            determinism: if *exact { "exact" } else { "best_effort" }.into(),
            profile: profile.clone(),
            format: format.clone(),
            rubric: rubric.clone(),
            rubric_version: *rubric_version,
            rubric_digest: hexadecimal(rubric_digest),
            prompt_digest: hexadecimal(prompt_digest),
            mode: mode.as_str().into(),
            distribution: *distribution,
            calibration: calibration.as_str().into(),
            max_tokens: *max_tokens,
            temperature: *temperature,
            top_p: *top_p,
            seed: *seed,
            repetition_penalty: generation.repetition_penalty,
            end_token_ids: generation.end_tokens.iter().map(|token| token.0).collect(),
            cached_tokens: 0,
            memo: false,
            verdict_digest: String::new(),
        }
    }

    /// The sampling parameters of the verdict.
    pub(super) fn sampling(&self) -> Sampling {
        Sampling { temperature: self.temperature, top_p: self.top_p, seed: self.seed }
    }

    /// Whether the receipt has a digest of the weights, so that a comparison has to wait for the server's own.
    pub(super) fn has_weights_digest(&self) -> bool {
        self.weights.is_some()
    }

    /// Whether the probabilities of all verdicts were requested.
    pub(super) fn distribution(&self) -> bool {
        self.distribution
    }

    /// Checks that a judgement under the conditions `now`, to be calibrated by `calibration`, depends on the same as
    /// that of the receipt.
    ///
    /// # Errors
    /// 409 `receipt_mismatch`, which names every difference.
    pub(super) fn check(&self, now: &Conditions, calibration: Calibration) -> Result<(), ApiError> {
        let mut now = Self::before(now, calibration);
        // A digest that is not known yet, on either side, is not a difference.
        if self.weights.is_none() || now.weights.is_none() {
            now.weights.clone_from(&self.weights);
        }
        let mut differences: Vec<_> = self.conditions().into_iter().zip(now.conditions()).collect();
        differences.retain(|(before, now)| before != now);
        let Some(((first, _), _)) = differences.first() else { return Ok(()) };
        let describe = |((name, before), (_, now)): &((&str, String), (&str, String))| {
            format!("{name} was {before} and is {now}")
        };
        let descriptions: Vec<String> = differences.iter().map(describe).collect();
        let message = format!("This is not what the receipt is of: {}.", descriptions.join("; "));
        let error = ApiError::new(StatusCode::CONFLICT, ErrorCode::ReceiptMismatch, message);
        Err(error.with_param(format!("expect.{first}")))
    }

    /// The conditions that must be equal for the same verdict, by name.
    fn conditions(&self) -> Vec<(&'static str, String)> {
        let Self {
            // Another version may well give the same verdict.
            gavel: _,
            model,
            weights,
            precision,
            weight_form,
            tensor_parallel,
            determinism,
            profile,
            format,
            rubric,
            rubric_version,
            rubric_digest,
            prompt_digest,
            mode,
            distribution,
            calibration,
            max_tokens,
            temperature,
            top_p,
            seed,
            repetition_penalty,
            end_token_ids,
            // How much computation was saved, which changes no verdict.
            cached_tokens: _,
            memo: _,
            // The result of the judgement, compared by `replay`.
            verdict_digest: _,
        } = self;
        let null = || "null".to_owned();
        vec![
            ("model", model.clone()),
            ("weights", weights.clone().unwrap_or_else(null)),
            ("precision", precision.clone()),
            ("weight_form", weight_form.clone()),
            ("determinism", determinism.clone()),
            ("profile", profile.clone()),
            ("format", format.clone()),
            ("rubric", rubric.clone()),
            ("rubric_digest", rubric_digest.clone()),
            ("prompt_digest", prompt_digest.clone()),
            ("mode", mode.clone()),
            ("calibration", calibration.clone()),
            ("rubric_version", rubric_version.to_string()),
            ("tensor_parallel", tensor_parallel.to_string()),
            ("distribution", distribution.to_string()),
            ("max_tokens", max_tokens.to_string()),
            ("temperature", temperature.to_string()),
            ("top_p", top_p.to_string()),
            ("seed", seed.map_or_else(null, |seed| seed.to_string())),
            ("repetition_penalty", repetition_penalty.to_string()),
            ("end_token_ids", format!("{end_token_ids:?}")),
        ]
    }

    /// Compares the verdict of `now` with that of this receipt.
    pub(super) fn replay(&self, now: &Receipt) -> ReplayBody {
        ReplayBody { same: self.verdict_digest == hexadecimal(&now.verdict_digest()) }
    }
}
