//! Rewards for several responses to one question, or to many: bodies of `POST /reward` in this interface.

mod request;
mod response;

use std::convert::Infallible;

use axum::{
    Json,
    body::Body,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::{Stream, StreamExt, stream};
use judge::{Caller, JudgeError, RewardOptions};
use serde::Serialize;

use super::{chosen_rubric::RubricPlace, evaluations, request_fields::RequestFields};
use crate::{
    connections::guarded_body::GuardedBody,
    dialects::{affinity, sse},
    error::{ApiError, Dialect, count_failed_verdict, unless_unserved},
    extract::json_body::JsonBytes,
    images::with_images,
    metrics::RequestKind,
    service::state::AppState,
};
pub(crate) use request::RewardBody;
use request::{MethodBody, RewardPrompt, RewardRequest};
pub(crate) use response::RewardedBody;
pub(super) use response::RewardsBody;
use response::{ResultBody, ResultsBody};

/// Prompts of one request that are judged concurrently. With two, the next prompt starts while the last verdicts of
/// the previous one are computed.
const MAX_CONCURRENT_PROMPTS: usize = 2;

/// The fields of a prompt, not of the whole body, that errors of judgements name.
const FIELDS_OF_PROMPT: [&str; 4] = ["question", "responses", "reference", "description"];

/// Answers a body of this interface.
///
/// # Errors
/// When the body is invalid, or no prompt has rewards.
pub(crate) async fn reward(state: &AppState, caller: &Caller, body: JsonBytes) -> Result<Response, ApiError> {
    let request = with_images(state, caller, |reader| {
        let body: RewardBody = body.parse()?;
        body.check(&state.limits.content)?;
        body.into_request(caller.clone(), reader, &state.limits.content)
    });
    let request = request.await?;
    let memory = body.into_memory();
    let affinity = request.prompts.first().map(|prompt| affinity::of(&prompt.candidates.case));
    RequestKind::Reward.note();
    let response = respond(state.clone().with_fixed_rules(), request).await.into_response();
    // A stream holds the questions that are still to be judged.
    let response = response.map(|body| Body::new(GuardedBody::new(body, memory)));
    Ok(affinity::named(affinity, response))
}

/// Computes the rewards of a request, and returns them in the form that it asks for.
async fn respond(state: AppState, request: RewardRequest) -> Result<Response, ApiError> {
    let (has_prompts, streams) = (request.has_prompts, request.stream);
    let mut results = Box::pin(results(state, request));
    if streams {
        return Ok(events(results).into_response());
    }
    if has_prompts {
        let results = unless_unserved(results.collect().await)?.into_iter().map(ResultBody::new).collect();
        return Ok(Json(RewardedBody::Many(ResultsBody { results })).into_response());
    }
    match results.next().await {
        Some(result) => Ok(Json(RewardedBody::One(Box::new(result?))).into_response()),
        None => Err(ApiError::invalid("prompts", "There is no prompt.")),
    }
}

/// The rewards of each prompt, in order.
fn results(state: AppState, request: RewardRequest) -> impl Stream<Item = Result<RewardsBody, ApiError>> {
    let RewardRequest { rubric_place, prompts, options, method, has_prompts, .. } = request;
    let rewarding = Rewarding { state, options, method, rubric_place };
    let rewards = move |(index, prompt): (usize, RewardPrompt)| {
        let rewarding = rewarding.clone();
        let path = if has_prompts { format!("prompts[{index}].") } else { String::new() };
        async move { rewarding.rewards(prompt, &path).await }
    };
    stream::iter(prompts).enumerate().map(rewards).buffered(MAX_CONCURRENT_PROMPTS)
}

/// Computes the rewards of the prompts of one request.
#[derive(Clone)]
struct Rewarding {
    state: AppState,
    options: RewardOptions,
    method: MethodBody,
    rubric_place: RubricPlace,
}

impl Rewarding {
    /// The rewards of a prompt, which are also exported; `path` is the prefix of its fields in the body.
    async fn rewards(&self, prompt: RewardPrompt, path: &str) -> Result<RewardsBody, ApiError> {
        let Self { state, options, method, .. } = self;
        let RewardPrompt { candidates, response_ids } = prompt;
        let evaluations = state.telemetry.evaluations(response_ids);
        let reward = state.judge.reward(&candidates, options).await.map_err(|error| {
            count_failed_verdict(&state.metrics, &error);
            let fields = RequestFields::of_candidates(&candidates);
            let field = fields.at_fault(&error, path, &self.rubric_place);
            let error = self.api_error(error, path, field);
            evaluations::export_failure(&evaluations, candidates.responses.len(), &error);
            error
        })?;
        state.metrics.reward(&reward);
        reward.failures.iter().for_each(|failure| count_failed_verdict(&state.metrics, &failure.error));
        let body = RewardsBody::new(reward, *method, state.judge.model());
        evaluations::export_rewards(&evaluations, &body);
        Ok(body)
    }

    /// The error of a failed prompt, with its parameter. `path` is the prefix of the prompt's fields in the body, and
    /// `field` the path of the one that the error is about, if the error does not name it itself.
    fn api_error(&self, error: JudgeError, path: &str, field: Option<String>) -> ApiError {
        let has_no_head = matches!(error, JudgeError::NoRewardHead);
        let error = ApiError::from_judge(error, Dialect::Native).in_rubric(self.rubric_place.path());
        let is_in_prompt = error.param().is_some_and(|param| FIELDS_OF_PROMPT.contains(&param));
        match field {
            _ if has_no_head => error.with_param("method"),
            Some(field) => error.with_param(field),
            None if is_in_prompt => error.inside(path),
            None => error,
        }
    }
}

/// The event of one prompt's result.
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

/// Results as server-sent events. When the client disconnects, the stream is dropped, which cancels the work.
fn events(results: impl Stream<Item = Result<RewardsBody, ApiError>> + Send + 'static) -> impl IntoResponse {
    let events = results.enumerate().map(|(index, result)| {
        sse::event(Some("result"), &ResultEvent { index, result: ResultBody::new(result) })
    });
    let done = stream::once(async { Event::default().event("done").data("{}") });
    Sse::new(events.chain(done).map(Ok::<_, Infallible>)).keep_alive(KeepAlive::default())
}
