//! The body of a request to `/reward`.

use judge::{Caller, Candidates, Case, Method, Reasons, Responses, RewardOptions, Signal};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    dialects::{
        native::{
            chosen_rubric::{ChosenRubric, RubricPlace, RubricWithPlace},
            evaluations,
            guards::{CalibrationBody, DegenerateBody, InvisibleBody, guards},
            request::{
                CaseImages, TilingBody, check_max_tokens, check_text, default_max_tokens, read_images,
            },
            scale::ScaleBody,
        },
        null_as_default,
    },
    error::{ApiError, ErrorCode},
    images::ImageReader,
    json::object::{object_or_null, only_from_objects},
    service::content_limits::ContentLimits,
};

/// Responses to one question, or `prompts` with responses each, and how rewards are computed. Unknown fields are
/// refused, and `null` is the same as an absent field.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RewardBody {
    /// The question that was asked. Required without `prompts`.
    question: Option<String>,
    /// The images that the question is about, in order: each a data URL, bare base64, the id (`file-…`) or SHA-256
    /// of a registered image, or, where the operator allows it, a URL. Absent means none.
    images: Option<Vec<String>>,
    /// The frames of a video that the question is about, in order, in the same forms as `images`.
    frames: Option<Vec<String>>,
    /// The responses: at least two where they are compared. Required without `prompts`.
    responses: Option<Vec<String>>,
    /// Your ids of the responses, one for each, of 1 to 256 bytes, exported as `gen_ai.response.id` with the
    /// evaluation events in traces.
    response_ids: Option<Vec<String>>,
    /// An answer that is known to be right.
    reference: Option<String>,
    /// A description of the images in words.
    description: Option<String>,
    /// Several questions, each with its responses, in place of the seven fields above.
    #[schema(min_items = 1)]
    prompts: Option<Vec<PromptBody>>,
    /// How rewards are computed from verdicts.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    method: MethodBody,
    /// Which part of a verdict counts.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    signal: SignalBody,
    /// Name of a rubric, or criteria of your own. If absent, the critic's default for the method.
    rubric: Option<ChosenRubric>,
    /// Criteria of your own, in place of `rubric`.
    criteria: Option<String>,
    /// The scale that belongs to `criteria`, if responses are scored one by one.
    #[serde(default, deserialize_with = "object_or_null")]
    scale: Option<ScaleBody>,
    /// Name of one of the critic's prompt formats. If absent, its default.
    format: Option<String>,
    /// For `pointwise` and `scalar`: whether the critic writes reasons before its verdict is read. If absent, only
    /// for `scalar`, as such critics were trained.
    critique: Option<bool>,
    /// Maximum number of tokens of such reasons.
    #[schema(default = 512, minimum = 1)]
    max_tokens: Option<usize>,
    /// How several images are cut.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    tiling: TilingBody,
    /// Whether the critic's verdict on answers without content is divided out of its probabilities. Not with a
    /// critique or `scalar`.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    calibration: CalibrationBody,
    /// How responses without an answer are judged.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    degenerate: DegenerateBody,
    /// How invisible characters in responses are treated.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    invisible: InvisibleBody,
    /// Whether results are sent as server-sent events, in order, as they become known.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    stream: bool,
}

/// A question and its responses.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
struct PromptBody {
    /// The question that was asked. It must not be empty.
    question: String,
    /// The images that the question is about, in order, in the same forms as `images` of the request.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    images: Vec<String>,
    /// The frames of a video that the question is about, in order, in the same forms as `images`.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    frames: Vec<String>,
    /// The responses: at least two where they are compared.
    responses: Vec<String>,
    /// Your ids of the responses, one for each.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    response_ids: Vec<String>,
    /// An answer that is known to be right.
    reference: Option<String>,
    /// A description of the images in words.
    description: Option<String>,
}

only_from_objects!(PromptBody);

/// How rewards are computed from verdicts.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MethodBody {
    /// All ordered pairs are compared; a reward is what the response wins in second place less what it loses in
    /// first place, as in LLaVA-Critic.
    #[default]
    RoundRobin,
    /// All ordered pairs are compared; rewards are strengths of the Bradley-Terry model, with mean 0.
    BradleyTerry,
    /// Neighbours are compared in both orders, and winners meet winners: 2 (K - 1) comparisons of K responses if
    /// none fails. Only the best response is certain. A reward is the number of rounds in which the response
    /// stayed. After a failed comparison, both responses stay and meet others.
    Tournament,
    /// Each response is scored alone; a reward is its score, negated if lower scores are better.
    Pointwise,
    /// Each response is rated alone by the critic's reward head, on no fixed scale.
    Scalar,
}

/// Which part of a verdict counts.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SignalBody {
    /// Its probability: P(second) - P(first) of a pair, or the expected score.
    #[default]
    Probability,
    /// The verdict itself: 1, -1 or 0 for a tie, or the score.
    Verdict,
    /// As `verdict`, but a pair counts only if both orders have the same winner.
    Agreed,
    /// By how many points the second response of a pair is scored better, under a rubric that scores both, such as
    /// `llava-bench-pair`.
    Scores,
}

impl From<MethodBody> for Method {
    fn from(body: MethodBody) -> Self {
        match body {
            MethodBody::RoundRobin => Self::RoundRobin,
            MethodBody::BradleyTerry => Self::BradleyTerry,
            MethodBody::Tournament => Self::Tournament,
            MethodBody::Pointwise => Self::Pointwise,
            MethodBody::Scalar => Self::Scalar,
        }
    }
}

/// A validated request to `/reward`.
pub(super) struct RewardRequest {
    pub(super) rubric_place: RubricPlace,
    pub(super) prompts: Vec<RewardPrompt>,
    pub(super) options: RewardOptions,
    pub(super) method: MethodBody,
    /// Whether the body has `prompts`, even a single one.
    pub(super) has_prompts: bool,
    /// Whether results are sent as server-sent events.
    pub(super) stream: bool,
}

/// A question with its responses, and the client's ids of these.
pub(super) struct RewardPrompt {
    pub(super) candidates: Candidates,
    /// One for each response, or empty.
    pub(super) response_ids: Vec<String>,
}

impl RewardBody {
    /// Refuses values above the server's limits.
    pub(super) fn check(&self, limits: &ContentLimits) -> Result<(), ApiError> {
        check_max_tokens(self.max_tokens, limits)?;
        let too_long = |path: String, what: &str, limit: usize, option: &str| {
            let message = format!("There are more than {limit} {what}, which is the limit ({option}).");
            Err(ApiError::invalid(path, message).with_code(ErrorCode::ArrayTooLong))
        };
        let prompts = self.prompts.as_deref().unwrap_or_default();
        if prompts.len() > limits.reward_prompts {
            return too_long("prompts".into(), "prompts", limits.reward_prompts, "max_reward_prompts");
        }
        let of_prompts = prompts.iter().enumerate();
        let of_prompts =
            of_prompts.map(|(index, prompt)| (format!("prompts[{index}].responses"), &prompt.responses));
        let of_body = self.responses.iter().map(|responses| ("responses".to_owned(), responses));
        for (path, responses) in of_body.chain(of_prompts) {
            if responses.len() > limits.responses {
                return too_long(path, "responses", limits.responses, "max_responses");
            }
        }
        Ok(())
    }

    /// Validates the body and reads its images.
    pub(super) fn into_request(
        mut self,
        caller: Caller,
        reader: &ImageReader<'_>,
        limits: &ContentLimits,
    ) -> Result<RewardRequest, ApiError> {
        let has_prompts = self.prompts.is_some();
        let prompts = self.take_prompts(reader)?;
        let rubric = RubricWithPlace::choose(self.rubric, self.criteria, self.scale)?;
        let options = RewardOptions {
            method: self.method.into(),
            signal: match self.signal {
                SignalBody::Probability => Signal::Probability,
                SignalBody::Verdict => Signal::Verdict,
                SignalBody::Agreed => Signal::Agreed,
                SignalBody::Scores => Signal::Scores,
            },
            rubric: rubric.choice,
            format: self.format,
            reasons: reasons(self.critique, self.max_tokens, self.method, limits)?,
            tiling: self.tiling.into(),
            guards: guards(self.calibration, self.degenerate, self.invisible),
            caller,
        };
        let (method, stream) = (self.method, self.stream);
        Ok(RewardRequest { rubric_place: rubric.place, prompts, options, method, has_prompts, stream })
    }

    /// The questions with their responses: those of `prompts`, or the single one of the body.
    fn take_prompts(&mut self, reader: &ImageReader<'_>) -> Result<Vec<RewardPrompt>, ApiError> {
        match (self.prompts.take(), self.question.take(), self.responses.take()) {
            (Some(prompts), None, None) if !self.has_prompt_fields() => {
                if prompts.is_empty() {
                    return Err(ApiError::invalid("prompts", "prompts is empty: give one at least."));
                }
                (prompts.into_iter())
                    .enumerate()
                    .map(|(index, prompt)| prompt.into_reward_prompt(&format!("prompts[{index}]."), reader))
                    .collect()
            }
            (Some(_), _, _) => {
                Err(ApiError::invalid("prompts", "Give prompts, or one question with its responses."))
            }
            (None, Some(question), Some(responses)) => {
                let prompt = PromptBody {
                    question,
                    images: self.images.take().unwrap_or_default(),
                    frames: self.frames.take().unwrap_or_default(),
                    responses,
                    response_ids: self.response_ids.take().unwrap_or_default(),
                    reference: self.reference.take(),
                    description: self.description.take(),
                };
                Ok(vec![prompt.into_reward_prompt("", reader)?])
            }
            (None, None, _) => Err(ApiError::invalid("question", "There is no question.")),
            (None, _, None) => Err(ApiError::invalid("responses", "There are no responses to judge.")),
        }
    }

    /// Whether the body itself has a field that belongs to a prompt, besides `question` and `responses`.
    fn has_prompt_fields(&self) -> bool {
        self.images.is_some()
            || self.frames.is_some()
            || self.reference.is_some()
            || self.description.is_some()
            || self.response_ids.is_some()
    }
}

/// Whether reasons are written, and the maximum number of their tokens.
fn reasons(
    critique: Option<bool>,
    max_tokens: Option<usize>,
    method: MethodBody,
    limits: &ContentLimits,
) -> Result<Reasons, ApiError> {
    let compares = !matches!(method, MethodBody::Pointwise | MethodBody::Scalar);
    let default = matches!(method, MethodBody::Scalar);
    if critique == Some(true) && compares {
        return Err(ApiError::invalid("critique", "Comparisons are read without a critique."));
    }
    match (critique.unwrap_or(default), max_tokens) {
        (_, Some(0)) => Err(ApiError::invalid("max_tokens", "max_tokens must be at least 1.")),
        (false, Some(_)) => Err(ApiError::invalid("max_tokens", "Nothing is written without a critique.")),
        (false, None) => Ok(Reasons::None),
        (true, max_tokens) => Ok(Reasons::Written(max_tokens.unwrap_or_else(|| default_max_tokens(limits)))),
    }
}

impl PromptBody {
    /// Validates the prompt and reads its images; `path` is the prefix of its fields in the body.
    fn into_reward_prompt(self, path: &str, reader: &ImageReader<'_>) -> Result<RewardPrompt, ApiError> {
        let Self { question, images, frames, responses, response_ids, reference, description } = self;
        check_text(&question, &format!("{path}question"))?;
        evaluations::check_ids(&response_ids, responses.len(), &format!("{path}response_ids"))?;
        let CaseImages { images, frames } = read_images(&images, &frames, path, reader)?;
        // The responses of a case are replaced by those that are judged.
        let placeholder = Responses::One(String::new());
        let case = Case { question, images, frames, responses: placeholder, reference, description };
        Ok(RewardPrompt { candidates: Candidates { case, responses }, response_ids })
    }
}
