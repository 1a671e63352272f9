//! `POST /reward`: rewards for several responses to one question, or to many.

use std::convert::Infallible;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::{Stream, StreamExt, stream};
use judge::{
    Caller, Candidates, Case, FailedVerdict, JudgeError, JudgeOptions, Matrix, Method, Reasons, Responses,
    Reward, RewardOptions, Signal,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    examples,
    request::{
        ChosenRubric, TilingBody, check_responses, check_text, choose_rubric, path_of_rubric, read_pictures,
    },
    response::UsageBody,
    scale::ScaleBody,
};
use crate::{
    affinity,
    caller::CallerOf,
    error::{ApiError, Dialect, ErrorBody, ErrorDetail},
    json_body::JsonBytes,
    metrics::RequestKind,
    state::AppState,
};

/// Prompts of one call that are judged at a time: while the last verdicts of one come in, those of the next begin.
const PROMPTS_AT_A_TIME: usize = 2;

/// The most responses to one question: 64 make 4032 comparisons.
const MAX_RESPONSES: usize = 64;

/// The route of this file.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(reward))
}

/// Responses to one question, or `prompts` with responses each, and how rewards are made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RewardBody {
    /// What was asked.
    question: Option<String>,
    /// The images it was asked about, each a data URL or bare base64.
    images: Option<Vec<String>>,
    /// The frames of a video it was asked about, in order.
    frames: Option<Vec<String>>,
    /// The responses.
    responses: Option<Vec<String>>,
    /// An answer that is known to be right.
    reference: Option<String>,
    /// What the images show, in words.
    description: Option<String>,
    /// Many questions in one call, in place of the six fields above.
    prompts: Option<Vec<PromptBody>>,
    /// How rewards are made of verdicts.
    #[serde(default)]
    method: MethodBody,
    /// What of a verdict counts.
    #[serde(default)]
    signal: SignalBody,
    /// Name of a rubric, or criteria of your own. Without it, the critic's default.
    rubric: Option<ChosenRubric>,
    /// Criteria of your own, outside of `rubric`.
    criteria: Option<String>,
    /// The scores that go with `criteria`, when responses are scored one by one.
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
    #[serde(default)]
    tiling: TilingBody,
    /// Whether results come as server-sent events, each as soon as it is known.
    #[serde(default)]
    stream: bool,
}

/// A question and its responses.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PromptBody {
    /// What was asked.
    question: String,
    /// The images it was asked about, each a data URL or bare base64.
    #[serde(default)]
    images: Vec<String>,
    /// The frames of a video it was asked about, in order.
    #[serde(default)]
    frames: Vec<String>,
    /// The responses.
    responses: Vec<String>,
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
struct RewardRequest {
    /// Where criteria and scale stand in the body.
    rubric_path: &'static str,
    prompts: Vec<Candidates>,
    options: RewardOptions,
    method: MethodBody,
    /// Whether there is a list of prompts, even of one.
    many: bool,
    stream: bool,
}

impl RewardBody {
    fn into_request(self, caller: Caller) -> Result<RewardRequest, ApiError> {
        let many = self.prompts.is_some();
        let prompts = match (self.prompts, self.question, self.responses) {
            (Some(prompts), None, None)
                if self.images.is_none()
                    && self.frames.is_none()
                    && self.reference.is_none()
                    && self.description.is_none() =>
            {
                (prompts.into_iter())
                    .enumerate()
                    .map(|(index, prompt)| prompt.into_candidates(&format!("prompts[{index}].")))
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
                let prompt = PromptBody { question, images, frames, responses, reference, description };
                vec![prompt.into_candidates("")?]
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
            },
            rubric: choose_rubric(self.rubric, self.criteria, self.scale)?,
            format: self.format,
            reasons: reasons(self.critique, self.max_tokens, self.method)?,
            tiling: self.tiling.into(),
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
    fn into_candidates(self, path: &str) -> Result<Candidates, ApiError> {
        if self.responses.len() > MAX_RESPONSES {
            let message = format!("There are more than {MAX_RESPONSES} responses.");
            return Err(ApiError::invalid(format!("{path}responses"), message));
        }
        check_text(&self.question, &format!("{path}question"))?;
        check_responses(&self.responses, path)?;
        let (images, frames) = read_pictures(&self.images, &self.frames, path)?;
        let responses = Responses::One(String::new());
        let (reference, description) = (self.reference, self.description);
        let case = Case { question: self.question, images, frames, responses, reference, description };
        Ok(Candidates { case, responses: self.responses })
    }
}

/// Rewards of the responses to one question.
#[derive(Debug, Serialize, ToSchema)]
struct RewardsBody {
    /// The reward of each response, in their order; null where its verdicts failed.
    rewards: Vec<Option<f64>>,
    /// Indices of the responses, best first.
    ranking: Vec<usize>,
    /// Index of the best response; absent when all are equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    chosen: Option<usize>,
    /// Index of the worst response.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<usize>,
    /// By how much their rewards differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    margin: Option<f64>,
    /// When responses were compared: for each pair by how much the one of the column, in second place, is better than the
    /// one of the row, in first place, from -1 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    matrix: Option<Vec<Vec<Option<f64>>>>,
    /// How much the places weigh.
    #[serde(skip_serializing_if = "Option::is_none")]
    position_bias: Option<PositionBiasBody>,
    /// Verdicts that were a tie.
    ties: usize,
    /// Verdicts that could not be had.
    failures: Vec<FailureBody>,
    /// How the rewards were made.
    method: MethodBody,
    /// Name of the rubric.
    rubric: String,
    /// Name of the checkpoint.
    model: String,
    /// Tokens of all verdicts together.
    usage: UsageBody,
}

/// How much the places of two responses weigh.
#[derive(Debug, Serialize, ToSchema)]
struct PositionBiasBody {
    /// Mean advantage of the second place over all pairs; 0 without bias. It cancels in the rewards.
    second_place: f64,
    /// Share of the pairs of which the two orders name different winners.
    flips: f64,
}

/// A verdict that could not be had.
#[derive(Debug, Serialize, ToSchema)]
struct FailureBody {
    /// Index of the response, or of the one in first place.
    first: usize,
    /// Index of the one in second place.
    #[serde(skip_serializing_if = "Option::is_none")]
    second: Option<usize>,
    /// Why.
    error: ErrorDetail,
}

/// What became of one of many prompts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum ResultBody {
    /// Its rewards.
    Rewards(Box<RewardsBody>),
    /// Why there are none.
    Failed {
        /// The failure.
        error: ErrorDetail,
    },
}

/// What a request gets: rewards, or what became of each of its prompts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum RewardedBody {
    /// The rewards of one prompt.
    One(Box<RewardsBody>),
    /// What became of many.
    Many(ResultsBody),
}

/// What became of many prompts, in their order.
#[derive(Debug, Serialize, ToSchema)]
struct ResultsBody {
    /// One for each prompt.
    results: Vec<ResultBody>,
}

impl RewardsBody {
    fn new(reward: Reward, method: MethodBody, model: &str) -> Self {
        let failure = |FailedVerdict { first, second, error }| FailureBody {
            first,
            second,
            error: ApiError::from_judge(error, Dialect::Native).detail(),
        };
        Self {
            chosen: reward.pick.map(|pick| pick.chosen),
            rejected: reward.pick.map(|pick| pick.rejected),
            margin: reward.pick.map(|pick| pick.margin),
            matrix: reward.matrix.as_ref().map(rows),
            position_bias: reward
                .position_bias
                .map(|bias| PositionBiasBody { second_place: bias.second_place, flips: bias.flips }),
            rewards: reward.rewards,
            ranking: reward.ranking,
            ties: reward.ties,
            failures: reward.failures.into_iter().map(failure).collect(),
            method,
            rubric: reward.rubric,
            model: model.to_owned(),
            usage: reward.usage.into(),
        }
    }
}

fn rows(matrix: &Matrix) -> Vec<Vec<Option<f64>>> {
    let places = 0..matrix.size();
    places
        .clone()
        .map(|first| places.clone().map(|second| matrix.advantage(first, second)).collect())
        .collect()
}

/// Reward several responses to one question, or to many.
///
/// Nothing is written: verdicts are read from the critic's logits. With `prompts`, the answer has `results` in their order,
/// and a prompt that fails fails alone. With `stream`, each result is an event `result`, in order, with its `index`; the
/// last event is `done`.
#[utoipa::path(
    post,
    path = "/reward",
    tag = "judge",
    request_body(
        content = RewardBody,
        examples(
            ("one question" = (value = json!(examples::several_responses()))),
            ("several questions" = (value = json!(examples::several_prompts()))),
            ("streamed" = (value = json!(examples::streamed_prompts())))
        )
    ),
    responses(
        (status = 200, description = "The rewards.", content(
            (RewardedBody = "application/json", examples(
                ("one question" = (value = json!(examples::several_responses_answer()))),
                ("several questions" = (value = json!(examples::several_prompts_answer())))
            )),
            (String = "text/event-stream", examples(
                ("streamed" = (value = json!(examples::streamed_prompts_answer())))
            ))
        )),
        (status = 400, description = "The prompts or the rubric make no sense.", body = ErrorBody),
        (status = 413, description = "The body is too large.", body = ErrorBody),
        (status = 415, description = "The body is not JSON.", body = ErrorBody),
        (status = 422, description = "The body has the wrong form.", body = ErrorBody),
        (status = 500, description = "The model failed.", body = ErrorBody),
        (status = 503, description = "Too many requests wait; see `Retry-After`.", body = ErrorBody),
        (status = 504, description = "The request ran out of time.", body = ErrorBody)
    )
)]
async fn reward(
    State(state): State<AppState>,
    CallerOf(caller): CallerOf,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let body: RewardBody = body.parse(StatusCode::UNPROCESSABLE_ENTITY)?;
    let request = body.into_request(caller)?;
    let affinity = request.prompts.first().map(|candidates| affinity::of(&candidates.case));
    Ok(affinity::named(affinity, RequestKind::Reward.of(rewarded(state, request).await)))
}

async fn rewarded(state: AppState, request: RewardRequest) -> Result<Response, ApiError> {
    let (many, streams) = (request.many, request.stream);
    let mut results = Box::pin(results(state, request));
    if streams {
        return Ok(events(results).into_response());
    }
    if many {
        let results = results.map(ResultBody::new).collect().await;
        return Ok(Json(RewardedBody::Many(ResultsBody { results })).into_response());
    }
    match results.next().await {
        Some(result) => Ok(Json(RewardedBody::One(Box::new(result?))).into_response()),
        None => Err(ApiError::invalid("prompts", "There is no prompt.")),
    }
}

/// The rewards of each prompt, in order.
fn results(state: AppState, request: RewardRequest) -> impl Stream<Item = Result<RewardsBody, ApiError>> {
    let RewardRequest { rubric_path, prompts, options, method, .. } = request;
    let judge_one = move |candidates: Candidates| {
        let (state, options) = (state.clone(), options.clone());
        async move {
            let reward = state.judge.reward(&candidates, &options).await;
            let failed = |error: JudgeError| {
                let headless = matches!(error, JudgeError::NoRewardHead);
                let error = ApiError::from_judge(error, Dialect::Native).in_rubric(rubric_path);
                if headless { error.with_param("method") } else { error }
            };
            let reward = reward.map_err(failed)?;
            state.metrics.reward(&reward);
            Ok(RewardsBody::new(reward, method, state.judge.model()))
        }
    };
    stream::iter(prompts).map(judge_one).buffered(PROMPTS_AT_A_TIME)
}

/// An event of one prompt's result.
#[derive(Serialize)]
struct ResultEvent {
    index: usize,
    #[serde(flatten)]
    result: ResultBody,
}

impl ResultBody {
    fn new(result: Result<RewardsBody, ApiError>) -> Self {
        match result {
            Ok(rewards) => Self::Rewards(Box::new(rewards)),
            Err(error) => Self::Failed { error: error.detail() },
        }
    }
}

/// Results as events. The client's leaving drops the stream, which cancels the work.
fn events(results: impl Stream<Item = Result<RewardsBody, ApiError>> + Send + 'static) -> impl IntoResponse {
    let events = results.enumerate().map(|(index, result)| {
        let result = ResultEvent { index, result: ResultBody::new(result) };
        Event::default().event("result").json_data(&result).expect("our own bodies can be written as JSON")
    });
    let done = stream::once(async { Event::default().event("done").data("{}") });
    Sse::new(events.chain(done).map(Ok::<_, Infallible>)).keep_alive(KeepAlive::default())
}
