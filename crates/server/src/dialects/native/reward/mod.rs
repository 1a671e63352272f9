//! `POST /reward`: rewards for several responses to one question, or to many.

mod request;
mod response;

use std::convert::Infallible;

use axum::{
    Json,
    extract::State,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::{Stream, StreamExt, stream};
use judge::{Candidates, JudgeError};
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{evaluations, examples, places::Places};
use crate::{
    affinity,
    caller::CallerOf,
    error::{ApiError, Dialect, ErrorBody},
    images::with_images,
    json_body::JsonBytes,
    metrics::RequestKind,
    state::AppState,
};
pub(crate) use request::MethodBody;
use request::{RewardBody, RewardRequest};
pub(super) use response::RewardsBody;
use response::{ResultBody, ResultsBody, RewardedBody};

/// Prompts of one call that are judged at a time: while the last verdicts of one come in, those of the next begin.
const PROMPTS_AT_A_TIME: usize = 2;

/// The route of this file.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(reward))
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
        (status = 400, description = "The body has the wrong form, or the prompts or the rubric make no sense.", body = ErrorBody),
        (status = 404, description = "No rubric has that name.", body = ErrorBody),
        (status = 413, description = "The body is too large.", body = ErrorBody),
        (status = 415, description = "The body is not JSON.", body = ErrorBody),
        (status = 500, description = "The model failed.", body = ErrorBody),
        (status = 503, description = "Too many requests wait, or this one waited for too long; see `Retry-After`.", body = ErrorBody),
        (status = 504, description = "The request ran out of time.", body = ErrorBody)
    )
)]
async fn reward(
    State(state): State<AppState>,
    CallerOf(caller): CallerOf,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let request = with_images(&state, &caller.tenant, |reader| {
        let body: RewardBody = body.parse()?;
        body.check(&state.content)?;
        body.into_request(caller.clone(), reader)
    });
    let request = request.await?;
    let _memory = body.into_memory();
    let affinity = request.prompts.first().map(|(candidates, _)| affinity::of(&candidates.case));
    Ok(affinity::named(affinity, RequestKind::Reward.of(rewarded(state.pinned(), request).await)))
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
    let RewardRequest { rubric_path, prompts, options, method, many, .. } = request;
    let judge_one = move |(index, (candidates, response_ids)): (usize, (Candidates, Vec<String>))| {
        let (state, options) = (state.clone(), options.clone());
        let evaluations = state.telemetry.evaluations(response_ids);
        async move {
            let reward = state.judge.reward(&candidates, &options).await;
            let failed = |error: JudgeError| {
                let headless = matches!(error, JudgeError::NoRewardHead);
                let image = Places::of(&candidates.case).blamed_image(&error);
                let error = ApiError::from_judge(error, Dialect::Native).in_rubric(rubric_path);
                evaluations::failure(&evaluations, candidates.responses.len(), &error);
                match image {
                    _ if headless => error.with_param("method"),
                    Some(image) if many => error.with_param(format!("prompts[{index}].{image}")),
                    Some(image) => error.with_param(image),
                    None => error,
                }
            };
            let reward = reward.map_err(failed)?;
            state.metrics.reward(&reward);
            let body = RewardsBody::new(reward, method, state.judge.model());
            evaluations::rewards(&evaluations, &body);
            Ok(body)
        }
    };
    stream::iter(prompts).enumerate().map(judge_one).buffered(PROMPTS_AT_A_TIME)
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
