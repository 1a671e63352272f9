//! Gavel's own interface: `POST /judge`, `POST /reward` and the rubrics.

mod asked;
mod chosen_rubric;
mod evaluations;
mod examples;
mod found;
mod guards;
mod places;
mod receipt;
mod request;
mod response;
mod reward;
mod rubrics;
mod scale;

use std::convert::Infallible;

use axum::{
    Json,
    extract::State,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::{StreamExt, future::join_all};
use judge::{Caller, Case, JudgeError, JudgeOptions, VerdictEvent, VerdictStream};
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    affinity,
    caller::RequestCaller,
    error::{ApiError, Dialect, ErrorBody, count_failed_verdict, unless_refused},
    images::with_images,
    json_body::JsonBytes,
    judging_log::{Note, Recorder},
    metrics::{RequestKind, StreamOutcome, Task},
    service::Service,
    state::AppState,
    telemetry::Evaluations,
};
use asked::{Asked, Form, Orders, Sight};
use chosen_rubric::PlacedRubric;
use found::Found;
use places::Places;
use receipt::ReceiptBody;
use request::{JudgeBody, JudgeRequest};
pub(crate) use response::VerdictBody;
use response::{DecisionBody, JudgedBody, VerdictOrError, VerdictsBody};

/// The routes that run the critic and take bodies of this interface alone. They count against a key's quota.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(judge))
}

/// The routes for rewards, which also take bodies of trainers. They count against a key's quota, by a policy that
/// follows from the body.
pub(crate) fn rewards() -> OpenApiRouter<AppState> {
    reward::routes()
}

/// The routes that list and reload the rubrics. They count against no quota.
pub(crate) fn rules() -> OpenApiRouter<AppState> {
    rubrics::routes()
}

/// Judge one response, or compare two.
///
/// With `stream`, the answer is server-sent events. `decision` carries the score or the preference, and the
/// distribution if it was read; it is sent as soon as the decision is known, and not at all if that is only at the
/// end. Events `justification` carry `{"text": …}` while the text is written. The last event is `verdict`, with the
/// same body as without `stream`, or `error`, with the body of an error. With `rubrics`, the answer has `verdicts`,
/// one for each rubric; the prompts share as much computation as possible, and a rubric that fails does not affect
/// the others.
#[utoipa::path(
    post,
    path = "/judge",
    tag = "judge",
    request_body(
        content = JudgeBody,
        examples(
            ("one response" = (value = json!(examples::one_response()))),
            ("two responses" = (value = json!(examples::two_responses()))),
            ("several rubrics" = (value = json!(examples::several_rubrics()))),
            ("streamed" = (value = json!(examples::streamed())))
        )
    ),
    responses(
        (status = 200, description = "The verdict.", content(
            (JudgedBody = "application/json", examples(
                ("one response" = (value = json!(examples::one_response_answer()))),
                ("two responses" = (value = json!(examples::two_responses_answer()))),
                ("several rubrics" = (value = json!(examples::several_rubrics_answer())))
            )),
            (String = "text/event-stream", examples(("streamed" = (value = json!(examples::streamed_answer())))))
        )),
        (status = 400, description = "The request body, the case or the rubric is invalid.", body = ErrorBody),
        (status = 404, description = "No rubric with this name exists.", body = ErrorBody),
        (status = 409, description = "The request does not match the receipt in `expect`.", body = ErrorBody),
        (status = 413, description = "The request body is too large.", body = ErrorBody),
        (status = 415, description = "The request body is not JSON.", body = ErrorBody),
        (status = 500, description = "The critic failed.", body = ErrorBody),
        (status = 502, description = "The critic's text contains no verdict; the text is in `text`.", body = ErrorBody),
        (status = 503, description = "Too many requests are waiting, or this one waited too long; retry after the time in `Retry-After`.", body = ErrorBody),
        (status = 504, description = "The request exceeded its time limit.", body = ErrorBody)
    )
)]
async fn judge(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    recorder: Recorder,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let request = judge_request(&state, &caller, &body).await?;
    let _memory = body.into_memory();
    RequestKind::from(request.case.kind()).note();
    let affinity = affinity::of(&request.case);
    let judged = judged(state.with_fixed_rules(), recorder, request).await;
    Ok(affinity::named(Some(affinity), judged.into_response()))
}

/// Parses and validates the body of a request to `/judge`.
async fn judge_request(
    state: &AppState,
    caller: &Caller,
    body: &JsonBytes,
) -> Result<JudgeRequest, ApiError> {
    let read = with_images(state, &caller.tenant, |reader| {
        let body: JudgeBody = body.parse()?;
        body.check(&state.limits.content)?;
        body.into_request(caller.clone(), reader)
    });
    read.await
}

/// Returns the case of a request to `/judge`, its options, and the number of verdicts that it needs.
pub(crate) async fn asked(
    state: &AppState,
    caller: &Caller,
    body: &JsonBytes,
) -> Result<(Case, JudgeOptions, usize), ApiError> {
    let JudgeRequest { case, options, asked, .. } = judge_request(state, caller, body).await?;
    Ok((case, options, asked.verdicts()))
}

async fn judged(state: AppState, recorder: Recorder, request: JudgeRequest) -> Result<Response, ApiError> {
    let JudgeRequest { case, options, asked, response_ids } = request;
    let places = Places::of(&case);
    let telling = Telling { evaluations: state.telemetry.evaluations(response_ids), places };
    let judging = Judging { state: &state, recorder: &recorder, telling, case, options };
    let body = match asked {
        Asked::Stream(rubric) => {
            let (verdict, note, telling) = judging.begun(rubric).await?;
            return Ok(events(verdict, (state, note), telling).into_response());
        }
        Asked::Replay(rubric, receipt) => JudgedBody::One(Box::new(judging.again(rubric, &receipt).await?)),
        Asked::One(rubric, form) => JudgedBody::One(Box::new(judging.by(rubric, form).await?)),
        Asked::Several(rubrics, form) => {
            // Concurrently, so that the engine computes the common part of their prompts once.
            let verdicts = join_all(rubrics.into_iter().map(|rubric| judging.by(rubric, form))).await;
            let verdicts = unless_refused(verdicts)?.into_iter().map(|verdict| match verdict {
                Ok(verdict) => VerdictOrError::Verdict(Box::new(verdict)),
                Err(error) => error.into(),
            });
            JudgedBody::Several(VerdictsBody { verdicts: verdicts.collect() })
        }
    };
    Ok(Json(body).into_response())
}

/// A case and its options, to be judged by one rubric or several.
struct Judging<'a> {
    state: &'a AppState,
    recorder: &'a Recorder,
    telling: Telling,
    case: Case,
    options: JudgeOptions,
}

impl Judging<'_> {
    /// Judges the case by a rubric, and logs and exports the verdict.
    async fn by(&self, rubric: PlacedRubric, form: Form) -> Result<VerdictBody, ApiError> {
        let note = self.recorder.begin(&self.case, &rubric.choice);
        let body = match form {
            Form::Verdict(orders, sight) => self.verdict(rubric, orders, sight).await?,
            Form::Samples(count) => self.samples(rubric, count).await?,
        };
        self.tell(note, &body);
        Ok(body)
    }

    /// Judges the case again, and compares the verdict with that of `receipt`.
    async fn again(&self, rubric: PlacedRubric, receipt: &ReceiptBody) -> Result<VerdictBody, ApiError> {
        let note = self.recorder.begin(&self.case, &rubric.choice);
        let body = self.replayed(rubric, receipt).await?;
        self.tell(note, &body);
        Ok(body)
    }

    /// Starts a streamed verdict. Returns the stream, and what the verdict is to be logged and exported with.
    async fn begun(self, rubric: PlacedRubric) -> Result<(VerdictStream, Note, Telling), ApiError> {
        let Self { state, recorder, telling, case, options } = self;
        let note = recorder.begin(&case, &rubric.choice);
        let verdict = state.judge.judge(case, rubric.choice, options).await;
        let verdict = verdict.map_err(|error| telling.failed(state, error).in_rubric(&rubric.path))?;
        Ok((verdict, note, telling))
    }

    async fn verdict(
        &self,
        rubric: PlacedRubric,
        orders: Orders,
        sight: Sight,
    ) -> Result<VerdictBody, ApiError> {
        let PlacedRubric { choice, path } = rubric;
        let judge = &self.state.judge;
        let failed = |error| self.failed(error, &path);
        let question = (self.case.clone(), choice, found::options(&self.options, sight));
        let found = Found::find(judge, orders, question.clone()).await.map_err(failed)?;
        found.count(&self.state.metrics);
        let blind = match sight {
            Sight::Seeing => None,
            Sight::AlsoBlind => Some(Found::blind(judge, orders, question).await.map_err(failed)?),
        };
        Ok(found.into_body(blind, judge.model()))
    }

    async fn samples(&self, rubric: PlacedRubric, count: usize) -> Result<VerdictBody, ApiError> {
        let PlacedRubric { choice, path } = rubric;
        let Service { judge, metrics, .. } = &self.state.service;
        let samples = judge.judge_samples(self.case.clone(), choice, (self.options.clone(), count)).await;
        let samples = samples.map_err(|error| self.failed(error, &path))?;
        for verdict in &samples.verdicts {
            match verdict {
                Ok(judgement) => metrics.verdict(judgement, Task::Judge),
                Err(error) => count_failed_verdict(metrics, error),
            }
        }
        let body = VerdictBody::samples(samples, judge.model());
        body.ok_or_else(|| self.failed(JudgeError::Silent, &path))
    }

    async fn replayed(&self, rubric: PlacedRubric, receipt: &ReceiptBody) -> Result<VerdictBody, ApiError> {
        let PlacedRubric { choice, path } = rubric;
        let Service { judge, metrics, .. } = &self.state.service;
        let failed = |error| self.failed(error, &path);
        if receipt.names_weights() {
            judge.weights_known().await;
        }
        let (case, options) = (self.case.clone(), self.options.clone());
        let verdict = judge.judge(case.clone(), choice.clone(), options.clone()).await.map_err(failed)?;
        receipt.check(verdict.receipt(), options.guards.calibration)?;
        let judgement = verdict.collect().await.map_err(failed)?;
        let judgement = judge.calibrate(judgement, (case, choice, options)).await.map_err(failed)?;
        metrics.verdict(&judgement, Task::Judge);
        Ok(VerdictBody::replayed(judgement, receipt, judge.model()))
    }

    fn failed(&self, error: JudgeError, path: &str) -> ApiError {
        self.telling.failed(self.state, error).in_rubric(path)
    }

    /// Writes a verdict to the judging log and exports it to the trace collector.
    fn tell(&self, mut note: Note, body: &VerdictBody) {
        note.verdict(body);
        evaluations::verdict(&self.telling.evaluations, body);
    }
}

/// Reports a judgement's end: evaluations for the trace collector, and the field of the request that an error is
/// about.
struct Telling {
    evaluations: Evaluations,
    places: Places,
}

impl Telling {
    /// Counts and exports a failed judgement, and returns its error with the field of the request that caused it.
    fn failed(&self, state: &AppState, error: JudgeError) -> ApiError {
        let blamed = self.places.blamed(&error);
        count_failed_verdict(&state.metrics, &error);
        let error = ApiError::from_judge(error, Dialect::Native);
        evaluations::failure(&self.evaluations, self.places.responses(), &error);
        match blamed {
            Some(path) => error.with_param(path),
            None => error,
        }
    }
}

/// The verdict as server-sent events. When the client disconnects, the stream is dropped, which cancels the work.
fn events(
    verdict: VerdictStream,
    (state, mut note): (AppState, Note),
    telling: Telling,
) -> impl IntoResponse {
    let (fate, told) = StreamOutcome::pair();
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
                let body = VerdictBody::new(judgement, state.judge.model());
                note.verdict(&body);
                evaluations::verdict(&telling.evaluations, &body);
                data(Event::default().event("verdict"), &body)
            }
            Err(error) => {
                let error = telling.failed(&state, error);
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
