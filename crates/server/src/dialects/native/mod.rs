//! Gavel's own interface: `POST /judge`, bodies of `POST /reward`, and the rubrics.

mod chosen_rubric;
mod evaluations;
pub(super) mod examples;
mod guards;
mod ordered_verdict;
mod receipt;
mod request;
mod request_fields;
mod requested_answer;
mod response;
mod reward;
mod rubrics;
mod scale;

use std::convert::Infallible;

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    response::{IntoResponse, Response, Sse, sse::KeepAlive},
};
use futures::{StreamExt, stream};
use judge::{
    Caller, Case, JudgeError, JudgeOptions, JudgeRequest, RubricChoice, VerdictEvent, VerdictStream,
    concurrency,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    connections::guarded_body::GuardedBody,
    dialects::{affinity, sse},
    error::{ApiError, Dialect, ErrorBody, JudgementErrors, count_failed_verdict, unless_unserved},
    extract::{caller::RequestCaller, json_body::JsonBytes},
    images::with_images,
    json::body_form::{BodyForm, ImageMembers, TextKind},
    judging_log::{Note, Recorder},
    metrics::{RequestKind, StreamOutcome, Task},
    service::{Service, state::AppState},
    telemetry::Evaluations,
};
use chosen_rubric::{RubricPlace, RubricWithPlace};
use ordered_verdict::OrderedVerdict;
use receipt::ReceiptBody;
use request::{JudgeBody, RequestedJudgement};
use request_fields::RequestFields;
use requested_answer::{ImageAblation, Orders, Procedure, RequestedAnswer};
pub(crate) use response::VerdictBody;
use response::{DecisionBody, JudgedBody, VerdictOrError, VerdictsBody};
pub(crate) use reward::{RewardBody, RewardedBody, reward};

/// The members of bodies whose strings are images.
pub(super) const IMAGE_MEMBERS: &[&str] = &["images", "frames"];

/// How bodies of this interface are read.
pub(crate) const BODY_FORM: BodyForm = BodyForm {
    texts: TextKind::Plain,
    images: ImageMembers::Anywhere(&[IMAGE_MEMBERS]),
    questions: &["prompts"],
};

/// The routes that run the critic and take bodies of this interface alone. They count against a key's quota.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(judge)).layer(Extension(BODY_FORM))
}

/// The routes that list and reload the rubrics. They count against no quota.
pub(crate) fn rules() -> OpenApiRouter<AppState> {
    rubrics::routes()
}

/// Judge one response, or compare two.
///
/// With `stream`, the answer is server-sent events. `decision` carries the score or the preference, and the
/// distribution if it was read; it is sent as soon as the decision is known: before the justification, or after it
/// with `explain_then_score`. Events `justification` carry `{"text": …}` while the text is written. The last event is
/// `verdict`, with the same body as without `stream`, or `error`, with the body of an error. With `rubrics`, the
/// answer has `verdicts`, one for each rubric; the prompts share as much computation as possible, and a rubric that
/// fails does not affect the others.
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
        (status = 409, description = "The request does not match the receipt in `expect`.", body = ErrorBody),
        (status = 502, description = "The critic's text contains no verdict; the text is in `text`.", body = ErrorBody),
        JudgementErrors
    )
)]
async fn judge(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    recorder: Recorder,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let request = read_request(&state, &caller, &body).await?;
    let memory = body.into_memory();
    RequestKind::from(request.case.kind()).note();
    let affinity = affinity::of(&request.case);
    let response = respond(state.with_fixed_rules(), recorder, request).await.into_response();
    // A streamed verdict that will be logged holds its case.
    let response = response.map(|body| Body::new(GuardedBody::new(body, memory)));
    Ok(affinity::named(Some(affinity), response))
}

/// Parses and validates the body of a request to `/judge`, and reads its images.
async fn read_request(
    state: &AppState,
    caller: &Caller,
    body: &JsonBytes,
) -> Result<RequestedJudgement, ApiError> {
    let read = with_images(state, caller, |reader| {
        let body: JudgeBody = body.parse()?;
        body.check(&state.limits.content)?;
        body.into_request(caller.clone(), reader, &state.limits.content)
    });
    read.await
}

/// The parts of a request to `/judge` that the fuzzer checks.
pub(crate) struct ParsedJudgeRequest {
    pub(crate) case: Case,
    pub(crate) options: JudgeOptions,
    /// The number of verdicts that the critic gives for the request if none is remembered.
    pub(crate) verdicts: usize,
}

/// Parses a request to `/judge` without answering it.
pub(crate) async fn parse_request(
    state: &AppState,
    caller: &Caller,
    body: &JsonBytes,
) -> Result<ParsedJudgeRequest, ApiError> {
    let RequestedJudgement { case, options, answer, .. } = read_request(state, caller, body).await?;
    Ok(ParsedJudgeRequest { case, options, verdicts: answer.verdict_count() })
}

/// Judges the case of a request, and returns the answer in the form that it asks for.
async fn respond(
    state: AppState,
    recorder: Recorder,
    request: RequestedJudgement,
) -> Result<Response, ApiError> {
    let RequestedJudgement { case, options, answer, response_ids } = request;
    let fields = RequestFields::of(&case);
    let reporter = Reporter { evaluations: state.telemetry.evaluations(response_ids), fields };
    let judging = Judging { state: &state, recorder: &recorder, reporter, case, options };
    let body = match answer {
        RequestedAnswer::Stream(rubric) => {
            let started = judging.start_stream(rubric).await?;
            return Ok(events(state, started).into_response());
        }
        RequestedAnswer::Replay(rubric, receipt) => {
            JudgedBody::One(Box::new(judging.replay(rubric, &receipt).await?))
        }
        RequestedAnswer::One(rubric, procedure) => {
            JudgedBody::One(Box::new(judging.judge_by(rubric, procedure).await?))
        }
        RequestedAnswer::Several(rubrics, procedure) => {
            // Concurrently, so that the engine computes the common part of their prompts once.
            let concurrent = concurrency(rubrics.len(), judging.case.text_bytes());
            let verdicts = rubrics.into_iter().map(|rubric| judging.judge_by(rubric, procedure));
            let verdicts = stream::iter(verdicts).buffered(concurrent).collect().await;
            let verdicts = unless_unserved(verdicts)?.into_iter().map(|verdict| match verdict {
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
    reporter: Reporter,
    case: Case,
    options: JudgeOptions,
}

impl Judging<'_> {
    /// Judges the case by a rubric, and logs and exports the verdict.
    async fn judge_by(&self, rubric: RubricWithPlace, procedure: Procedure) -> Result<VerdictBody, ApiError> {
        let note = self.recorder.begin(&self.case, &rubric.choice);
        let body = match procedure {
            Procedure::Verdict(orders, ablation) => self.verdict(rubric, orders, ablation).await?,
            Procedure::Samples(count) => self.samples(rubric, count).await?,
        };
        self.record(note, &body);
        Ok(body)
    }

    /// Judges the case again, compares the verdict with that of `receipt`, and logs and exports it.
    async fn replay(&self, rubric: RubricWithPlace, receipt: &ReceiptBody) -> Result<VerdictBody, ApiError> {
        let note = self.recorder.begin(&self.case, &rubric.choice);
        let body = self.replayed_verdict(rubric, receipt).await?;
        self.record(note, &body);
        Ok(body)
    }

    /// Starts a streamed verdict.
    async fn start_stream(self, rubric: RubricWithPlace) -> Result<StartedStream, ApiError> {
        let Self { state, recorder, reporter, case, options } = self;
        let note = recorder.begin(&case, &rubric.choice);
        let RubricWithPlace { choice, place } = rubric;
        let verdict = state.judge.judge(&JudgeRequest { case, choice, options }).await;
        let verdict = verdict.map_err(|error| reporter.failure(state, error, &place))?;
        Ok(StartedStream { verdict, note, reporter, place })
    }

    /// The request to judge the case by this rubric.
    fn request(&self, choice: RubricChoice) -> JudgeRequest {
        JudgeRequest { case: self.case.clone(), choice, options: self.options.clone() }
    }

    /// Judges the case in the given orders, and with an ablation also without its images.
    async fn verdict(
        &self,
        rubric: RubricWithPlace,
        orders: Orders,
        ablation: ImageAblation,
    ) -> Result<VerdictBody, ApiError> {
        let RubricWithPlace { choice, place } = rubric;
        let judge = &self.state.judge;
        let failure = |error| self.failure(error, &place);
        let mut request = self.request(choice);
        // The difference to the verdict without images is computed from the distributions.
        request.options.distribution |= ablation == ImageAblation::On;
        let verdict = OrderedVerdict::judge(judge, orders, request.clone()).await.map_err(failure)?;
        verdict.count(&self.state.metrics);
        let blind = match ablation {
            ImageAblation::Off => None,
            ImageAblation::On => {
                Some(OrderedVerdict::judge_without_images(judge, orders, request).await.map_err(failure)?)
            }
        };
        Ok(verdict.into_body(blind, judge.model()))
    }

    /// Draws `count` verdicts, and summarises them.
    async fn samples(&self, rubric: RubricWithPlace, count: usize) -> Result<VerdictBody, ApiError> {
        let RubricWithPlace { choice, place } = rubric;
        let Service { judge, metrics, .. } = &self.state.service;
        let samples = judge.judge_samples(&self.request(choice), count).await;
        let samples = samples.map_err(|error| self.failure(error, &place))?;
        for verdict in &samples.verdicts {
            match verdict {
                Ok(judgement) => metrics.verdict(judgement, Task::Judge),
                Err(error) => count_failed_verdict(metrics, error),
            }
        }
        let body = VerdictBody::samples(samples, judge.model());
        body.ok_or_else(|| self.failure(JudgeError::Silent, &place))
    }

    /// Judges the case under the conditions of `receipt`, and compares the verdict with that of the receipt.
    async fn replayed_verdict(
        &self,
        rubric: RubricWithPlace,
        receipt: &ReceiptBody,
    ) -> Result<VerdictBody, ApiError> {
        let RubricWithPlace { choice, place } = rubric;
        let Service { judge, metrics, .. } = &self.state.service;
        let failure = |error| self.failure(error, &place);
        if receipt.has_weights_digest() {
            judge.weights_known().await;
        }
        let request = self.request(choice);
        let verdict = judge.judge(&request).await.map_err(failure)?;
        receipt.check(verdict.conditions(), request.options.guards.calibration)?;
        let judgement = verdict.collect().await.map_err(failure)?;
        let judgement = judge.calibrate(judgement, &request).await.map_err(failure)?;
        metrics.verdict(&judgement, Task::Judge);
        Ok(VerdictBody::replayed(judgement, receipt, judge.model()))
    }

    /// Reports a failed judgement by the rubric at `place`, and returns its error.
    fn failure(&self, error: JudgeError, place: &RubricPlace) -> ApiError {
        self.reporter.failure(self.state, error, place)
    }

    /// Writes a verdict to the judging log and exports it to the trace collector.
    fn record(&self, mut note: Note, body: &VerdictBody) {
        note.verdict(body);
        evaluations::export_verdict(&self.reporter.evaluations, body);
    }
}

/// Reports the end of a judgement: exports evaluations to the trace collector, and finds the field of the request
/// that an error is about.
struct Reporter {
    evaluations: Evaluations,
    fields: RequestFields,
}

impl Reporter {
    /// Counts and exports a failed judgement by the rubric at `place`, and returns its error with the field of the
    /// request that caused it.
    fn failure(&self, state: &AppState, error: JudgeError, place: &RubricPlace) -> ApiError {
        let field = self.fields.at_fault(&error, "", place);
        count_failed_verdict(&state.metrics, &error);
        let error = ApiError::from_judge(error, Dialect::Native).in_rubric(place.path());
        evaluations::export_failure(&self.evaluations, self.fields.response_count(), &error);
        match field {
            Some(field) => error.with_param(field),
            None => error,
        }
    }
}

/// A streamed verdict that has started, with its line of the judging log and the place of its rubric.
struct StartedStream {
    verdict: VerdictStream,
    note: Note,
    reporter: Reporter,
    place: RubricPlace,
}

/// The verdict as server-sent events. When the client disconnects, the stream is dropped, which cancels the work.
fn events(state: AppState, started: StartedStream) -> impl IntoResponse {
    let StartedStream { verdict, mut note, reporter, place } = started;
    let (outcome, writer_outcome) = StreamOutcome::pair();
    let events = verdict.map(move |event| {
        let event = match event {
            Ok(VerdictEvent::Decision(outcome, distribution)) => {
                sse::event(Some("decision"), &DecisionBody::new(outcome, distribution.as_ref()))
            }
            Ok(VerdictEvent::Justification(text)) => {
                sse::event(Some("justification"), &serde_json::json!({ "text": text }))
            }
            Ok(VerdictEvent::Verdict(judgement)) => {
                state.metrics.verdict(&judgement, Task::Judge);
                let body = VerdictBody::new(judgement, state.judge.model());
                note.verdict(&body);
                evaluations::export_verdict(&reporter.evaluations, &body);
                sse::event(Some("verdict"), &body)
            }
            Err(error) => {
                let error = reporter.failure(&state, error, &place);
                writer_outcome.end(error.outcome());
                sse::event(Some("error"), &error.body())
            }
        };
        Ok::<_, Infallible>(event)
    });
    (outcome, Sse::new(events).keep_alive(KeepAlive::default()))
}
