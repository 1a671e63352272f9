//! Our own interface: `POST /judge` and the list of rubrics.

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
use futures::StreamExt;
use judge::{
    Case, FinishReason, JudgeOptions, Judgement, Kind, Outcome, Responses, RubricChoice, Scale, VerdictEvent,
    VerdictStream,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    error::{ApiError, Dialect, ErrorBody},
    images,
    json_body::JsonBytes,
    state::AppState,
};

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(judge)).routes(routes!(rubrics))
}

/// A case to judge, and by what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct JudgeBody {
    /// What was asked.
    question: String,
    /// The images it was asked about, in order, each a data URL or bare base64. Nothing is fetched.
    #[serde(default)]
    images: Vec<String>,
    /// The response to score.
    response: Option<String>,
    /// Two responses to compare, or one to score.
    #[schema(min_items = 1, max_items = 2)]
    responses: Option<Vec<String>>,
    /// An answer that is known to be right.
    reference: Option<String>,
    /// Name of a rubric, or criteria of your own. Without it, the critic's default.
    rubric: Option<ChosenRubric>,
    /// Criteria of your own, outside of `rubric`.
    criteria: Option<String>,
    /// The scores that go with `criteria`, when one response is scored.
    scale: Option<ScaleBody>,
    /// Name of one of the critic's prompt formats; its default when absent. For measuring other wordings.
    format: Option<String>,
    /// Tokens to write at most.
    #[schema(default = 512, minimum = 1)]
    max_tokens: Option<usize>,
    /// Whether the justification comes as server-sent events while it is written.
    #[serde(default)]
    stream: bool,
}

/// By what a case is judged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum ChosenRubric {
    /// A rubric of the server, by its name.
    Name(String),
    /// Criteria of your own.
    Inline(InlineRubric),
}

/// Criteria of your own, with a scale when one response is scored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct InlineRubric {
    /// What to look at.
    criteria: String,
    /// The scores that may be given.
    scale: Option<ScaleBody>,
}

impl From<ChosenRubric> for RubricChoice {
    fn from(body: ChosenRubric) -> Self {
        match body {
            ChosenRubric::Name(name) => Self::Named(name),
            ChosenRubric::Inline(InlineRubric { criteria, scale }) => {
                let scale = scale.map(|ScaleBody { min, max, step }| Scale { min, max, step });
                Self::Inline { criteria, scale }
            }
        }
    }
}

/// The scores from `min` to `max` in steps of `step`.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ScaleBody {
    /// The worst score.
    min: f64,
    /// The best score.
    max: f64,
    /// The distance between neighbouring scores.
    #[serde(default = "Scale::default_step")]
    #[schema(default = 1.0)]
    step: f64,
}

/// What is judged, by what, and how the answer comes.
struct JudgeRequest {
    case: Case,
    rubric: RubricChoice,
    options: JudgeOptions,
    stream: bool,
}

impl JudgeBody {
    fn into_request(self) -> Result<JudgeRequest, ApiError> {
        let mut responses = match (self.response, self.responses) {
            (Some(response), None) => vec![response],
            (None, Some(responses)) => responses,
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid("response", "Give response or responses, not both."));
            }
            (None, None) => return Err(ApiError::invalid("response", "There is no response to judge.")),
        };
        let responses = match (responses.pop(), responses.pop(), responses.pop()) {
            (Some(one), None, None) => Responses::One(one),
            (Some(second), Some(first), None) => Responses::Pair(first, second),
            _ => {
                return Err(ApiError::invalid("responses", "Give one response to score or two to compare."));
            }
        };
        if self.max_tokens == Some(0) {
            return Err(ApiError::invalid("max_tokens", "max_tokens must be at least 1."));
        }
        if self.images.len() > images::MAX_IMAGES {
            let message = format!("There are more than {} images.", images::MAX_IMAGES);
            return Err(ApiError::invalid("images", message));
        }
        let images = (self.images.iter().enumerate())
            .map(|(index, image)| images::read(image, &format!("images[{index}]")))
            .collect::<Result<_, _>>()?;
        let mut options = JudgeOptions { format: self.format, ..JudgeOptions::default() };
        if let Some(max_tokens) = self.max_tokens {
            options.max_tokens = max_tokens;
        }
        let rubric = match (self.rubric, self.criteria, self.scale) {
            (None, None, None) => RubricChoice::Default,
            (Some(rubric), None, None) => rubric.into(),
            (None, Some(criteria), scale) => ChosenRubric::Inline(InlineRubric { criteria, scale }).into(),
            (Some(_), _, _) => {
                return Err(ApiError::invalid("rubric", "Give a rubric, or criteria and a scale, not both."));
            }
            (None, None, Some(_)) => return Err(ApiError::invalid("scale", "A scale goes with criteria.")),
        };
        let case = Case { question: self.question, images, responses, reference: self.reference };
        Ok(JudgeRequest { case, rubric, options, stream: self.stream })
    }
}

/// A verdict: `score` and `scale` for one response, `preference` for two.
#[derive(Debug, Serialize, ToSchema)]
struct VerdictBody {
    /// `pointwise` or `pairwise`.
    kind: String,
    /// The score of the one response.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    /// The better of two responses: `first`, `second` or `tie`.
    #[serde(skip_serializing_if = "Option::is_none")]
    preference: Option<&'static str>,
    /// The scale of the score.
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<ScaleBody>,
    /// The critic's reasons.
    justification: String,
    /// `stop`, or `length` when the justification was cut by `max_tokens`.
    finish_reason: &'static str,
    /// Name of the rubric; `inline` for criteria of your own.
    rubric: String,
    /// Name of the checkpoint.
    model: String,
    usage: UsageBody,
}

/// Tokens read and written.
#[derive(Debug, Serialize, ToSchema)]
struct UsageBody {
    /// Tokens of the prompt, images included.
    prompt_tokens: usize,
    /// Those of them that were not computed again, since an earlier prompt began with them.
    cached_tokens: usize,
    /// Tokens written.
    completion_tokens: usize,
    /// Their sum.
    total_tokens: usize,
}

impl VerdictBody {
    fn new(judgement: Judgement, model: &str) -> Self {
        let Judgement { verdict, rubric, scale, reason, usage } = judgement;
        let (kind, score, preference) = match verdict.outcome {
            Outcome::Score(score) => (Kind::Pointwise, Some(score), None),
            Outcome::Preference(preference) => (Kind::Pairwise, None, Some(preference.as_str())),
        };
        Self {
            kind: kind.to_string(),
            score,
            preference,
            scale: scale.map(|Scale { min, max, step }| ScaleBody { min, max, step }),
            justification: verdict.justification,
            finish_reason: match reason {
                FinishReason::Stop => "stop",
                FinishReason::Length => "length",
            },
            rubric,
            model: model.to_owned(),
            usage: UsageBody {
                prompt_tokens: usage.prompt_tokens,
                cached_tokens: usage.cached_tokens,
                completion_tokens: usage.completion_tokens,
                total_tokens: usage.prompt_tokens + usage.completion_tokens,
            },
        }
    }
}

/// Judge one response, or compare two.
///
/// With `stream`, events `justification` carry `{"text": …}` as it is written, and the last event is `verdict`, with
/// the same body as without `stream`, or `error`, with the body of an error.
#[utoipa::path(
    post,
    path = "/judge",
    tag = "judge",
    request_body = JudgeBody,
    responses(
        (status = 200, content((VerdictBody = "application/json"), (String = "text/event-stream"))),
        (status = 400, description = "The case or the rubric makes no sense.", body = ErrorBody),
        (status = 413, description = "The body is too large.", body = ErrorBody),
        (status = 415, description = "The body is not JSON.", body = ErrorBody),
        (status = 422, description = "The body has the wrong form.", body = ErrorBody),
        (status = 500, description = "The model failed.", body = ErrorBody),
        (status = 502, description = "The critic's text is no verdict; `text` has it.", body = ErrorBody),
        (status = 503, description = "Too many requests wait; see `Retry-After`.", body = ErrorBody)
    )
)]
async fn judge(State(state): State<AppState>, body: JsonBytes) -> Result<Response, ApiError> {
    let body: JudgeBody = body.parse(StatusCode::UNPROCESSABLE_ENTITY)?;
    let JudgeRequest { case, rubric, options, stream } = body.into_request()?;
    let failed = |error| ApiError::from_judge(error, Dialect::Native);
    let verdict = state.judge.judge(case, rubric, options).await.map_err(failed)?;
    if stream {
        return Ok(events(verdict, state).into_response());
    }
    let judgement = verdict.collect().await.map_err(failed)?;
    Ok(Json(VerdictBody::new(judgement, state.judge.model())).into_response())
}

/// The verdict as events. The client's leaving drops the stream, which cancels the work.
fn events(verdict: VerdictStream, state: AppState) -> impl IntoResponse {
    let events = verdict.map(move |event| {
        let event = match event {
            Ok(VerdictEvent::Justification(text)) => {
                data(Event::default().event("justification"), &serde_json::json!({ "text": text }))
            }
            Ok(VerdictEvent::Verdict(judgement)) => {
                data(Event::default().event("verdict"), &VerdictBody::new(judgement, state.judge.model()))
            }
            Err(error) => {
                data(Event::default().event("error"), &ApiError::from_judge(error, Dialect::Native).body())
            }
        };
        Ok::<_, Infallible>(event)
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

fn data(event: Event, body: &impl Serialize) -> Event {
    event.json_data(body).expect("our own bodies can be written as JSON")
}

/// The rubrics that requests can name.
#[derive(Serialize, ToSchema)]
struct RubricsBody {
    /// The rubrics, in order of their names.
    rubrics: Vec<RubricBody>,
}

/// A rubric.
#[derive(Serialize, ToSchema)]
struct RubricBody {
    /// What requests call it.
    name: String,
    /// Raised with every change that changes verdicts.
    version: u32,
    /// `pointwise` for one response, `pairwise` for two.
    kind: String,
    /// One line for people who choose.
    summary: String,
    /// What the critic is told to look at.
    criteria: String,
    /// The scores, when one response is scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<ScaleBody>,
    /// Whether requests that name no rubric are judged by this one.
    default: bool,
}

/// List the rubrics.
#[utoipa::path(get, path = "/rubrics", tag = "judge", responses((status = 200, body = RubricsBody)))]
async fn rubrics(State(state): State<AppState>) -> Json<RubricsBody> {
    let defaults = [Kind::Pointwise, Kind::Pairwise].map(|kind| state.judge.default_rubric(kind));
    let rubrics = state.judge.library().rubrics().map(|rubric| RubricBody {
        name: rubric.name.clone(),
        version: rubric.version,
        kind: rubric.kind.to_string(),
        summary: rubric.summary.clone(),
        criteria: rubric.criteria.clone(),
        scale: rubric.scale.map(|Scale { min, max, step }| ScaleBody { min, max, step }),
        default: defaults.contains(&rubric.name.as_str()),
    });
    Json(RubricsBody { rubrics: rubrics.collect() })
}
