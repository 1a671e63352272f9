//! Our own interface: `POST /judge`, `POST /reward` and the rubrics.

mod request;
mod response;
mod reward;
mod rubrics;
mod scale;

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
use judge::{JudgeError, VerdictEvent, VerdictStream};
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    affinity,
    caller::CallerOf,
    error::{ApiError, Dialect, ErrorBody},
    json_body::JsonBytes,
    metrics::{RequestKind, StreamFate, Task},
    state::AppState,
};
use request::{JudgeBody, JudgeRequest};
use response::DecisionBody;
pub(crate) use response::VerdictBody;
pub(crate) use reward::MethodBody;

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(judge)).merge(rubrics::routes()).merge(reward::routes())
}

/// Judge one response, or compare two.
///
/// With `stream`, an event `decision` carries the score or preference, and the distribution if it is read, as soon as it is
/// known; events `justification` carry `{"text": …}` as it is written; and the last event is `verdict`, with the same body
/// as without `stream`, or `error`, with the body of an error.
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
        (status = 503, description = "Too many requests wait; see `Retry-After`.", body = ErrorBody),
        (status = 504, description = "The request ran out of time.", body = ErrorBody)
    )
)]
async fn judge(
    State(state): State<AppState>,
    CallerOf(caller): CallerOf,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let body: JudgeBody = body.parse(StatusCode::UNPROCESSABLE_ENTITY)?;
    let request = body.into_request(caller)?;
    let (kind, affinity) = (RequestKind::from(request.case.kind()), affinity::of(&request.case));
    Ok(affinity::named(Some(affinity), kind.of(judged(state, request).await)))
}

async fn judged(state: AppState, request: JudgeRequest) -> Result<Response, ApiError> {
    let JudgeRequest { case, rubric, rubric_path, options, both_orders, stream } = request;
    let failed = |error| failed(&state, error).in_rubric(rubric_path);
    if both_orders {
        let both = state.judge.judge_both_orders(case, rubric, options).await.map_err(failed)?;
        state.metrics.both_orders(&both);
        return Ok(Json(VerdictBody::both(both, state.judge.model())).into_response());
    }
    let verdict = state.judge.judge(case, rubric, options).await.map_err(failed)?;
    if stream {
        return Ok(events(verdict, state).into_response());
    }
    let judgement = verdict.collect().await.map_err(failed)?;
    state.metrics.verdict(&judgement, Task::Judge);
    Ok(Json(VerdictBody::new(judgement, state.judge.model())).into_response())
}

/// A judgement that failed, counted.
fn failed(state: &AppState, error: JudgeError) -> ApiError {
    state.metrics.unparsable(&error);
    let error = ApiError::from_judge(error, Dialect::Native);
    state.metrics.verdict_failure(error.code());
    error
}

/// The verdict as events. The client's leaving drops the stream, which cancels the work.
fn events(verdict: VerdictStream, state: AppState) -> impl IntoResponse {
    let (fate, told) = StreamFate::pair();
    let events = verdict.map(move |event| {
        let event = match event {
            Ok(VerdictEvent::Decision(outcome, distribution)) => {
                data(Event::default().event("decision"), &DecisionBody::new(outcome, distribution.as_ref()))
            }
            Ok(VerdictEvent::Justification(text)) => {
                data(Event::default().event("justification"), &serde_json::json!({ "text": text }))
            }
            Ok(VerdictEvent::Verdict(judgement)) => {
                state.metrics.verdict(&judgement, Task::Judge);
                data(Event::default().event("verdict"), &VerdictBody::new(judgement, state.judge.model()))
            }
            Err(error) => {
                let error = failed(&state, error);
                told.end(error.outcome());
                data(Event::default().event("error"), &error.body())
            }
        };
        Ok::<_, Infallible>(event)
    });
    (fate, Sse::new(events).keep_alive(KeepAlive::default()))
}

fn data(event: Event, body: &impl Serialize) -> Event {
    event.json_data(body).expect("our own bodies can be written as JSON")
}
