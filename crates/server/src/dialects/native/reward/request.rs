//! Bodies of requests for rewards.

use judge::{Caller, Candidates, Case, JudgeOptions, Method, Reasons, Responses, RewardOptions, Signal};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    content_limits::ContentLimits,
    dialects::{
        native::{
            chosen_rubric::{ChosenRubric, choose_rubric, path_of_rubric},
            evaluations,
            guards::{CalibrationBody, DegenerateBody, InvisibleBody, guards},
            request::{TilingBody, check_max_tokens, check_text, read_images},
            scale::ScaleBody,
        },
        null_as_default, object_or_null, objects_or_null,
    },
    error::ApiError,
    images::ImageReader,
};

/// Responses to one question, or `prompts` with responses each, and how rewards are made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RewardBody {
    /// What was asked.
    question: Option<String>,
    /// The images it was asked about, each a data URL, bare base64 or, where the server fetches, a URL.
    images: Option<Vec<String>>,
    /// The frames of a video it was asked about, in order.
    frames: Option<Vec<String>>,
    /// The responses.
    responses: Option<Vec<String>>,
    /// Your ids of the responses, one for each, which the evaluation events tell a collector of traces.
    response_ids: Option<Vec<String>>,
    /// An answer that is known to be right.
    reference: Option<String>,
    /// What the images show, in words.
    description: Option<String>,
    /// Many questions in one call, in place of the seven fields above.
    #[serde(default, deserialize_with = "objects_or_null")]
    #[schema(min_items = 1)]
    prompts: Option<Vec<PromptBody>>,
    /// How rewards are made of verdicts.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    method: MethodBody,
    /// What of a verdict counts.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    signal: SignalBody,
    /// Name of a rubric, or criteria of your own. Without it, the critic's default.
    rubric: Option<ChosenRubric>,
    /// Criteria of your own, outside of `rubric`.
    criteria: Option<String>,
    /// The scores that go with `criteria`, when responses are scored one by one.
    #[serde(default, deserialize_with = "object_or_null")]
    scale: Option<ScaleBody>,
    /// Name of one of the critic's prompt formats.
    format: Option<String>,
    /// For `pointwise` and `scalar`: whether the critic writes its reasons before it is read. Without it only for `scalar`,
    /// as such critics were trained.
    critique: Option<bool>,
    /// Tokens of such reasons at most.
    #[schema(default = 512, minimum = 1)]
    max_tokens: Option<usize>,
    /// How several images are cut.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    tiling: TilingBody,
    /// Whether what the critic says whatever is answered is taken out of its verdicts. Without a critique.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    calibration: CalibrationBody,
    /// What becomes of responses that answer nothing.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    degenerate: DegenerateBody,
    /// What becomes of characters of responses that nobody sees.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    invisible: InvisibleBody,
    /// Whether results come as server-sent events, each as soon as it is known.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    stream: bool,
}

/// A question and its responses.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PromptBody {
    /// What was asked.
    question: String,
    /// The images it was asked about, each a data URL, bare base64 or, where the server fetches, a URL.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    images: Vec<String>,
    /// The frames of a video it was asked about, in order.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    frames: Vec<String>,
    /// The responses.
    responses: Vec<String>,
    /// Your ids of the responses, one for each.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    response_ids: Vec<String>,
    /// An answer that is known to be right.
    reference: Option<String>,
    /// What the images show, in words.
    description: Option<String>,
}

/// How rewards are made of verdicts.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MethodBody {
    /// All ordered pairs; what a response wins less what it loses, as in LLaVA-Critic.
    #[default]
    RoundRobin,
    /// All ordered pairs; strengths by the Bradley-Terry model.
    BradleyTerry,
    /// Winners meet winners: fewer comparisons, of which only the best response is sure to be known. Rewards are rounds.
    Tournament,
    /// Each response alone; its score.
    Pointwise,
    /// Each response alone; the number of the critic's reward head, on no scale.
    Scalar,
}

/// What of a verdict counts.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SignalBody {
    /// How probable it is.
    #[default]
    Probability,
    /// What it says.
    Verdict,
    /// What both orders of a pair say; nothing where they disagree.
    Agreed,
    /// By how many points the second of a pair is scored better, under a rubric by which both get a score, such as
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

/// What a body asks for.
pub(super) struct RewardRequest {
    /// Where criteria and scale stand in the body.
    pub(super) rubric_path: &'static str,
    /// What is judged, and the client's ids of the responses.
    pub(super) prompts: Vec<(Candidates, Vec<String>)>,
    pub(super) options: RewardOptions,
    pub(super) method: MethodBody,
    /// Whether there is a list of prompts, even of one.
    pub(super) many: bool,
    pub(super) stream: bool,
}

impl RewardBody {
    /// Refuses what is over a limit.
    pub(super) fn check(&self, limits: &ContentLimits) -> Result<(), ApiError> {
        check_max_tokens(self.max_tokens, limits)?;
        let too_long = |path: String, what: &str, most: usize, option: &str| {
            let message = format!("There are more than {most} {what}, which is the limit ({option}).");
            Err(ApiError::invalid(path, message).with_code("array_too_long"))
        };
        let prompts = self.prompts.as_deref().unwrap_or_default();
        if prompts.len() > limits.reward_prompts {
            return too_long("prompts".into(), "prompts", limits.reward_prompts, "max_reward_prompts");
        }
        let inside = prompts.iter().enumerate();
        let inside = inside.map(|(index, prompt)| (format!("prompts[{index}].responses"), &prompt.responses));
        let beside = self.responses.iter().map(|responses| ("responses".to_owned(), responses));
        for (path, responses) in beside.chain(inside) {
            if responses.len() > limits.responses {
                return too_long(path, "responses", limits.responses, "max_responses");
            }
        }
        Ok(())
    }

    /// What it asks for.
    pub(super) fn into_request(
        self,
        caller: Caller,
        reader: &ImageReader<'_>,
    ) -> Result<RewardRequest, ApiError> {
        let many = self.prompts.is_some();
        let prompts = match (self.prompts, self.question, self.responses) {
            (Some(prompts), None, None)
                if self.images.is_none()
                    && self.frames.is_none()
                    && self.reference.is_none()
                    && self.description.is_none()
                    && self.response_ids.is_none() =>
            {
                if prompts.is_empty() {
                    return Err(ApiError::invalid("prompts", "prompts is empty: give one at least."));
                }
                (prompts.into_iter())
                    .enumerate()
                    .map(|(index, prompt)| prompt.into_candidates(&format!("prompts[{index}]."), reader))
                    .collect::<Result<_, _>>()?
            }
            (Some(_), _, _) => {
                return Err(ApiError::invalid(
                    "prompts",
                    "Give prompts, or one question with its responses.",
                ));
            }
            (None, Some(question), Some(responses)) => {
                let images = self.images.unwrap_or_default();
                let frames = self.frames.unwrap_or_default();
                let (reference, description) = (self.reference, self.description);
                let response_ids = self.response_ids.unwrap_or_default();
                let prompt =
                    PromptBody { question, images, frames, responses, response_ids, reference, description };
                vec![prompt.into_candidates("", reader)?]
            }
            (None, None, _) => return Err(ApiError::invalid("question", "There is no question.")),
            (None, _, None) => {
                return Err(ApiError::invalid("responses", "There are no responses to judge."));
            }
        };
        let rubric_path = path_of_rubric(self.rubric.as_ref());
        let options = RewardOptions {
            method: self.method.into(),
            signal: match self.signal {
                SignalBody::Probability => Signal::Probability,
                SignalBody::Verdict => Signal::Verdict,
                SignalBody::Agreed => Signal::Agreed,
                SignalBody::Scores => Signal::Scores,
            },
            rubric: choose_rubric(self.rubric, self.criteria, self.scale)?,
            format: self.format,
            reasons: reasons(self.critique, self.max_tokens, self.method)?,
            tiling: self.tiling.into(),
            guards: guards(self.calibration, self.degenerate, self.invisible),
            caller,
        };
        Ok(RewardRequest { rubric_path, prompts, options, method: self.method, many, stream: self.stream })
    }
}

/// Whether reasons are written, and how many tokens of them.
fn reasons(
    critique: Option<bool>,
    max_tokens: Option<usize>,
    method: MethodBody,
) -> Result<Reasons, ApiError> {
    let alone = matches!(method, MethodBody::Pointwise | MethodBody::Scalar);
    let default = matches!(method, MethodBody::Scalar);
    if critique == Some(true) && !alone {
        return Err(ApiError::invalid("critique", "Comparisons are read without a critique."));
    }
    match (critique.unwrap_or(default), max_tokens) {
        (_, Some(0)) => Err(ApiError::invalid("max_tokens", "max_tokens must be at least 1.")),
        (false, Some(_)) => Err(ApiError::invalid("max_tokens", "Nothing is written without a critique.")),
        (false, None) => Ok(Reasons::None),
        (true, most) => Ok(Reasons::Written(most.unwrap_or(JudgeOptions::default().max_tokens))),
    }
}

impl PromptBody {
    /// `path` is where it stands in the body.
    fn into_candidates(
        self,
        path: &str,
        reader: &ImageReader<'_>,
    ) -> Result<(Candidates, Vec<String>), ApiError> {
        check_text(&self.question, &format!("{path}question"))?;
        evaluations::check_ids(&self.response_ids, self.responses.len(), &format!("{path}response_ids"))?;
        let (images, frames) = read_images((&self.images, &self.frames), path, reader)?;
        let responses = Responses::One(String::new());
        let (reference, description) = (self.reference, self.description);
        let case = Case { question: self.question, images, frames, responses, reference, description };
        Ok((Candidates { case, responses: self.responses }, self.response_ids))
    }
}
