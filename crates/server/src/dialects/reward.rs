//! `POST /reward`, the one route that takes bodies of two dialects: trainers are often pointed at it too.

use axum::{Extension, extract::State, response::Response};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    native::{self, RewardBody, RewardedBody},
    scoring::{NativeOrTrainer, ScoreQuery},
};
use crate::{
    error::{ApiError, ErrorBody, JudgementErrors},
    extract::caller::RequestCaller,
    service::state::AppState,
};

/// The route. It counts against a key's quota, by a policy that follows from the body.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(reward)).layer(Extension(native::BODY_FORM))
}

/// Reward several responses to one question, or to many.
///
/// Verdicts are read from the critic's logits, and no text is written except for a `critique`. With `prompts`, the
/// answer has `results` in their order, and a prompt that fails does not affect the others. With `stream`, each
/// result is sent as an event `result` with its `index`, in order; the last event is `done`.
///
/// Trainers may be pointed at this path too. A body with `query`, as OpenRLHF sends it, is answered as at
/// `/get_reward`: an object with `rewards`, `scores` and `extra_logs`. A body with `prompt` and `response`, as slime
/// sends it, is answered as at `/rm`: a number. A body with `question` or `responses` is never one of these. The
/// parameters in the URL are for the bodies of trainers; with others they are only checked. When the quota of its key
/// is exhausted, a request of a trainer waits for it, and others are refused with 429.
#[utoipa::path(
    post,
    path = "/reward",
    tag = "judge",
    params(ScoreQuery),
    request_body(
        content = RewardBody,
        examples(
            ("one question" = (value = json!(native::examples::several_responses()))),
            ("several questions" = (value = json!(native::examples::several_prompts()))),
            ("streamed" = (value = json!(native::examples::streamed_prompts())))
        )
    ),
    responses(
        (status = 200, description = "The rewards.", content(
            (RewardedBody = "application/json", examples(
                ("one question" = (value = json!(native::examples::several_responses_answer()))),
                ("several questions" = (value = json!(native::examples::several_prompts_answer())))
            )),
            (String = "text/event-stream", examples(
                ("streamed" = (value = json!(native::examples::streamed_prompts_answer())))
            ))
        )),
        (status = 400, description = "The request body, a prompt or the rubric is invalid.", body = ErrorBody),
        JudgementErrors
    )
)]
async fn reward(
    State(state): State<AppState>,
    RequestCaller(caller): RequestCaller,
    body: NativeOrTrainer,
) -> Result<Response, ApiError> {
    match body {
        NativeOrTrainer::Native(body) => native::reward(&state, &caller, body).await,
        NativeOrTrainer::Trainer(request) => Ok(request.answer().await),
    }
}
