//! The body of a request to `/judge`.

use judge::{Caller, Case, EncodedImage, ImageTiling, JudgeOptions, Mode, Remembering, Responses, Sampling};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    chosen_rubric::{ChosenRubric, RubricWithPlace},
    evaluations,
    guards::{CalibrationBody, DegenerateBody, InvisibleBody, guards},
    receipt::ReceiptBody,
    requested_answer::{ImageAblation, Orders, Procedure, RequestedAnswer},
    scale::ScaleBody,
};
use crate::{
    dialects::null_as_default, error::ApiError, images::ImageReader, json::object::object_or_null,
    service::content_limits::ContentLimits,
};

/// A case to judge, and how it is judged. Unknown fields are refused, and `null` is the same as an absent field.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JudgeBody {
    /// The question that was asked. It must not be empty.
    question: String,
    /// The images that the question is about, in order: each a data URL, bare base64, the id (`file-…`) or SHA-256
    /// of a registered image, or, where the operator allows it, a URL. Absent means none.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    images: Vec<String>,
    /// The frames of a video that the question is about, in order, in the same forms as `images`. Send as few as
    /// the critic should see: all are shown.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    frames: Vec<String>,
    /// How several images are cut: `trained`, one padded tile each, or `anyres`, each at its own resolution.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    tiling: TilingBody,
    /// The response to score.
    response: Option<String>,
    /// In place of `response`: two responses to compare, or one to score.
    #[schema(min_items = 1, max_items = 2)]
    responses: Option<Vec<String>>,
    /// Your id of `response`, exported as `gen_ai.response.id` with the evaluation event in traces. 1 to 256 bytes.
    #[schema(max_length = 256)]
    response_id: Option<String>,
    /// Your ids of `responses`, one for each.
    #[schema(max_items = 2)]
    response_ids: Option<Vec<String>>,
    /// An answer that is known to be right.
    reference: Option<String>,
    /// A description of the images in words.
    description: Option<String>,
    /// Name of a rubric, or criteria of your own. If absent, the critic's default for the number of responses.
    rubric: Option<ChosenRubric>,
    /// Several rubrics in place of one: the answer has `verdicts`, in order, each a verdict or an error.
    #[schema(min_items = 1, max_items = 64)]
    rubrics: Option<Vec<ChosenRubric>>,
    /// Criteria of your own, in place of `rubric`.
    criteria: Option<String>,
    /// The scale that belongs to `criteria`, if one response is scored.
    #[serde(default, deserialize_with = "object_or_null")]
    scale: Option<ScaleBody>,
    /// Name of another of the critic's prompt formats, to measure how it reacts to other wordings. If absent, its
    /// default.
    format: Option<String>,
    /// Maximum number of tokens of reasons.
    #[schema(default = 512, minimum = 1)]
    max_tokens: Option<usize>,
    /// Whether reasons are written, and whether they come before or after the verdict. If absent, as the critic was
    /// trained.
    mode: Option<ModeBody>,
    /// Whether the answer has the probability of every possible verdict. The modes `score` and `explain_then_score`
    /// always add it.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    distribution: bool,
    /// The orders in which two responses are judged. `both` cancels a preference for a position: the preference is
    /// by the mean of both distributions. With `agreed`, it is a tie unless both orders have the same winner.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    order: OrderBody,
    /// Number of verdicts to draw. With more than one, the answer has their mean or majority, their spread and each
    /// of them.
    #[schema(default = 1, minimum = 1, maximum = 64)]
    samples: Option<usize>,
    /// Temperature of sampling; 0 is greedy. If absent, 0 for one verdict and 1 for several samples, or that of the
    /// receipt in `expect`.
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    /// Draws only from the smallest set of tokens whose probabilities reach this sum. If absent, 1, or that of the
    /// receipt in `expect`.
    #[schema(default = 1, exclusive_minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    /// Seed of the random numbers: the same request with the same seed draws the same. If absent, a random one, or
    /// that of the receipt in `expect`. Sample i uses the seed plus i.
    #[schema(format = "uint64")] // the document says int64 otherwise
    seed: Option<u64>,
    /// Whether the critic's verdict on answers without content is divided out of its probabilities. Only with the
    /// mode `score`, and neither streamed nor drawn.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    calibration: CalibrationBody,
    /// How a response without an answer is judged.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    degenerate: DegenerateBody,
    /// How invisible characters in responses are treated.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    invisible: InvisibleBody,
    /// Whether the case is also judged without its images: the answer has that verdict in `blind`, and the
    /// difference in `visual_delta`.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    blind: bool,
    /// Whether the remembered verdict on an equal request may be returned.
    #[schema(default = true)]
    memo: Option<bool>,
    /// The receipt of an earlier verdict, to replay it with its sampling parameters: `replay` in the answer reports
    /// whether the verdict is the same. If something else would be judged, the error `receipt_mismatch` names the
    /// differences.
    #[serde(default, deserialize_with = "object_or_null")]
    expect: Option<ReceiptBody>,
    /// Whether the answer is sent as server-sent events, with the justification while it is written. Only for a
    /// single verdict.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    stream: bool,
}

/// Whether reasons are written, and whether they come before or after the verdict.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ModeBody {
    /// The verdict alone, read from the critic's logits. No text is written, so this is the fastest mode.
    Score,
    /// The verdict, then the reasons.
    ScoreThenExplain,
    /// The reasons, then the verdict, read from the logits after them.
    ExplainThenScore,
}

impl From<ModeBody> for Mode {
    fn from(body: ModeBody) -> Self {
        match body {
            ModeBody::Score => Self::Score,
            ModeBody::ScoreThenExplain => Self::ScoreThenExplain,
            ModeBody::ExplainThenScore => Self::ExplainThenScore,
        }
    }
}

/// How several images are cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TilingBody {
    /// A single image at its own resolution, several as one padded tile each.
    #[default]
    Trained,
    /// Every image at its own resolution, which takes many tokens.
    Anyres,
}

impl From<TilingBody> for ImageTiling {
    fn from(body: TilingBody) -> Self {
        match body {
            TilingBody::Trained => Self::Trained,
            TilingBody::Anyres => Self::OwnResolution,
        }
    }
}

/// The orders in which two responses are judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OrderBody {
    /// The given order.
    #[default]
    Given,
    /// The given order and the reverse.
    Both,
    /// As `both`, but a tie unless both orders have the same winner.
    Agreed,
}

/// The maximum number of samples of a request.
const MAX_SAMPLES: usize = 64;

/// The maximum number of rubrics of a request.
const MAX_RUBRICS: usize = 64;

/// The rubric of a request, or its list of rubrics.
enum Rubrics {
    One(RubricWithPlace),
    Several(Vec<RubricWithPlace>),
}

impl From<OrderBody> for Orders {
    fn from(body: OrderBody) -> Self {
        match body {
            OrderBody::Given => Self::Given,
            OrderBody::Both => Self::Both,
            OrderBody::Agreed => Self::Agreed,
        }
    }
}

/// A validated request to `/judge`.
pub(super) struct RequestedJudgement {
    pub(super) case: Case,
    pub(super) options: JudgeOptions,
    pub(super) answer: RequestedAnswer,
    /// The client's ids of the responses; empty if there are none.
    pub(super) response_ids: Vec<String>,
}

impl JudgeBody {
    /// Refuses values above the server's limits.
    pub(super) fn check(&self, limits: &ContentLimits) -> Result<(), ApiError> {
        check_max_tokens(self.max_tokens, limits)
    }

    /// Validates the body and reads its images.
    pub(super) fn into_request(
        mut self,
        caller: Caller,
        reader: &ImageReader<'_>,
        limits: &ContentLimits,
    ) -> Result<RequestedJudgement, ApiError> {
        check_text(&self.question, "question")?;
        let responses = self.take_responses()?;
        let response_ids = self.take_response_ids(evaluations::response_count(&responses))?;
        let answer = self.requested_answer(&responses)?;
        if self.max_tokens == Some(0) {
            return Err(ApiError::invalid("max_tokens", "max_tokens must be at least 1."));
        }
        let options = JudgeOptions {
            format: self.format.take(),
            mode: self.mode.map_or(Mode::Trained, Mode::from),
            distribution: self.distribution(&answer),
            max_tokens: self.max_tokens.unwrap_or_else(|| default_max_tokens(limits)),
            sampling: self.sampling(&answer)?,
            tiling: self.tiling.into(),
            remembering: self.remembering(&answer),
            guards: guards(self.calibration, self.degenerate, self.invisible),
            caller,
        };
        let CaseImages { images, frames } = read_images(&self.images, &self.frames, "", reader)?;
        let case = Case {
            question: self.question,
            images,
            frames,
            responses,
            reference: self.reference,
            description: self.description,
        };
        Ok(RequestedJudgement { case, options, answer, response_ids })
    }

    /// The one or two responses, from `response` or `responses`.
    fn take_responses(&mut self) -> Result<Responses, ApiError> {
        let mut responses = match (self.response.take(), self.responses.take()) {
            (Some(response), None) => vec![response],
            (None, Some(responses)) => responses,
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid("response", "Give response or responses, not both."));
            }
            (None, None) => return Err(ApiError::invalid("response", "There is no response to judge.")),
        };
        match (responses.pop(), responses.pop(), responses.pop()) {
            (Some(one), None, None) => Ok(Responses::One(one)),
            (Some(second), Some(first), None) => Ok(Responses::Pair(first, second)),
            _ => Err(ApiError::invalid("responses", "Give one response to score or two to compare.")),
        }
    }

    /// The ids of `count` responses, from `response_id` or `response_ids`; empty if the body has none.
    fn take_response_ids(&mut self, count: usize) -> Result<Vec<String>, ApiError> {
        let (path, ids) = match (self.response_id.take(), self.response_ids.take()) {
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid("response_id", "Give response_id or response_ids, not both."));
            }
            (Some(id), None) => ("response_id", vec![id]),
            (None, ids) => ("response_ids", ids.unwrap_or_default()),
        };
        evaluations::check_ids(&ids, count, path)?;
        Ok(ids)
    }

    /// The rubric, from `rubric` or `criteria` and `scale`, or the rubrics of `rubrics`.
    fn take_rubrics(&mut self) -> Result<Rubrics, ApiError> {
        let (rubric, criteria, scale) = (self.rubric.take(), self.criteria.take(), self.scale.take());
        match self.rubrics.take() {
            None => Ok(Rubrics::One(RubricWithPlace::choose(rubric, criteria, scale)?)),
            Some(_) if rubric.is_some() || criteria.is_some() || scale.is_some() => {
                Err(ApiError::invalid("rubrics", "Give one rubric or several, not both."))
            }
            Some(several) if several.is_empty() || several.len() > MAX_RUBRICS => {
                Err(ApiError::invalid("rubrics", format!("Give 1 to {MAX_RUBRICS} rubrics.")))
            }
            Some(several) => {
                let with_place = |(index, rubric): (usize, ChosenRubric)| {
                    RubricWithPlace::new(rubric.into(), format!("rubrics[{index}]."))
                };
                Ok(Rubrics::Several(several.into_iter().enumerate().map(with_place).collect()))
            }
        }
    }

    /// The kind of answer that the body asks for. If options exclude each other, the error names one of them.
    fn requested_answer(&mut self, responses: &Responses) -> Result<RequestedAnswer, ApiError> {
        let procedure = self.procedure(responses)?;
        let is_single = procedure.verdict_count() == 1;
        match (self.take_rubrics()?, self.expect.take(), self.stream) {
            (Rubrics::One(rubric), None, false) => Ok(RequestedAnswer::One(rubric, procedure)),
            (Rubrics::Several(rubrics), None, false) => Ok(RequestedAnswer::Several(rubrics, procedure)),
            (Rubrics::One(rubric), None, true) if is_single => Ok(RequestedAnswer::Stream(rubric)),
            (Rubrics::One(rubric), Some(receipt), false) if is_single => {
                Ok(RequestedAnswer::Replay(rubric, Box::new(receipt)))
            }
            // Only here is another order all that prevents a stream.
            (Rubrics::One(_), None, true) if self.order != OrderBody::Given => {
                Err(ApiError::invalid("order", "Only a verdict in the given order is streamed."))
            }
            (Rubrics::One(_) | Rubrics::Several(_), _, true) => {
                Err(ApiError::invalid("stream", "Only a single verdict is streamed."))
            }
            (Rubrics::One(_) | Rubrics::Several(_), Some(_), false) => {
                Err(ApiError::invalid("expect", "A receipt is of a single verdict."))
            }
        }
    }

    /// How the verdict by each rubric is obtained.
    fn procedure(&self, responses: &Responses) -> Result<Procedure, ApiError> {
        let refuse = |param: &str, message: &str| Err(ApiError::invalid(param, message));
        let (samples, orders) = (self.samples.unwrap_or(1), Orders::from(self.order));
        if samples == 0 || samples > MAX_SAMPLES {
            return Err(ApiError::invalid("samples", format!("Give 1 to {MAX_SAMPLES} samples.")));
        }
        if orders != Orders::Given && matches!(responses, Responses::One(_)) {
            return refuse("order", "Only two responses can be judged in both orders; there is one.");
        }
        if orders != Orders::Given && samples > 1 {
            return refuse("samples", "Samples are drawn in one order.");
        }
        if self.calibration != CalibrationBody::None && (self.stream || samples > 1) {
            return refuse("calibration", "What is streamed or drawn is not calibrated.");
        }
        if self.blind && self.images.is_empty() && self.frames.is_empty() {
            return refuse("blind", "There is no image to leave out.");
        }
        if self.blind && (samples > 1 || self.stream || self.expect.is_some()) {
            return refuse("blind", "What is drawn, streamed or replayed is not judged blind.");
        }
        let ablation = if self.blind { ImageAblation::On } else { ImageAblation::Off };
        Ok(if samples > 1 { Procedure::Samples(samples) } else { Procedure::Verdict(orders, ablation) })
    }

    /// Whether a remembered verdict may be returned. Samples and replays are always computed.
    fn remembering(&self, answer: &RequestedAnswer) -> Remembering {
        let is_computed = matches!(
            answer,
            RequestedAnswer::Replay(..)
                | RequestedAnswer::One(_, Procedure::Samples(_))
                | RequestedAnswer::Several(_, Procedure::Samples(_))
        );
        if is_computed || !self.memo.unwrap_or(true) { Remembering::Off } else { Remembering::Allowed }
    }

    /// Whether all probabilities are read. A replay reads them if the receipt's verdict had them: with both orders,
    /// or with `blind`, it has them without a request for `distribution`.
    fn distribution(&self, answer: &RequestedAnswer) -> bool {
        self.distribution || matches!(answer, RequestedAnswer::Replay(_, receipt) if receipt.distribution())
    }

    /// The sampling parameters; those that the body lacks are taken from the receipt, if there is one.
    fn sampling(&self, answer: &RequestedAnswer) -> Result<Sampling, ApiError> {
        let has_samples = matches!(
            answer,
            RequestedAnswer::One(_, Procedure::Samples(_))
                | RequestedAnswer::Several(_, Procedure::Samples(_))
        );
        let defaults = match answer {
            RequestedAnswer::Replay(_, receipt) => receipt.sampling(),
            _ if has_samples => Sampling { temperature: 1.0, ..Sampling::default() },
            _ => Sampling::default(),
        };
        // Checked before they are narrowed: a number just outside of its range may be rounded into it.
        let temperature = self.temperature.unwrap_or_else(|| defaults.temperature.into());
        let top_p = self.top_p.unwrap_or_else(|| defaults.top_p.into());
        if !(0.0..=2.0).contains(&temperature) {
            return Err(ApiError::invalid("temperature", "The temperature is from 0 to 2."));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(ApiError::invalid("top_p", "top_p is above 0 and at most 1."));
        }
        let (temperature, top_p) = (temperature as f32, (top_p as f32).max(f32::MIN_POSITIVE));
        if has_samples && temperature == 0.0 {
            return Err(ApiError::invalid("temperature", "At temperature 0 all samples are the same."));
        }
        Ok(Sampling { temperature, top_p, seed: self.seed.or(defaults.seed) })
    }
}

/// Refuses a `max_tokens` above the server's output limit. Only our own interface does so: clients of OpenAI's
/// interface send any large number to mean all the room there is.
pub(super) fn check_max_tokens(max_tokens: Option<usize>, limits: &ContentLimits) -> Result<(), ApiError> {
    let limit = limits.output_tokens;
    if max_tokens.is_some_and(|tokens| tokens > limit) {
        let message = format!("max_tokens must be at most {limit} (max_output_tokens).");
        return Err(ApiError::out_of_bounds("max_tokens", message));
    }
    Ok(())
}

/// The maximum number of tokens where a request names none.
pub(super) fn default_max_tokens(limits: &ContentLimits) -> usize {
    JudgeOptions::default().max_tokens.min(limits.output_tokens)
}

/// Refuses a text at `path` that is empty or white space only.
pub(super) fn check_text(text: &str, path: &str) -> Result<(), ApiError> {
    if text.trim().is_empty() { Err(ApiError::invalid(path, format!("{path} is empty."))) } else { Ok(()) }
}

/// The images of a case and the frames of its video.
pub(super) struct CaseImages {
    pub(super) images: Vec<EncodedImage>,
    pub(super) frames: Vec<EncodedImage>,
}

/// Reads the images and frames of a case; `path` is the prefix of their paths in the body.
pub(super) fn read_images(
    images: &[String],
    frames: &[String],
    path: &str,
    reader: &ImageReader<'_>,
) -> Result<CaseImages, ApiError> {
    let read_all = |images: &[String], field: &str| {
        let path = format!("{path}{field}");
        let read = |(index, image): (usize, &String)| reader.read(image, &format!("{path}[{index}]"));
        images.iter().enumerate().map(read).collect::<Result<_, ApiError>>()
    };
    Ok(CaseImages { images: read_all(images, "images")?, frames: read_all(frames, "frames")? })
}
