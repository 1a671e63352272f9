//! `GET /rubrics`: what requests can name; `POST /rubrics/reload`: the folder of rubrics, read again.

use std::sync::Arc;

use axum::{Extension, Json, extract::State, http::StatusCode};
use judge::{
    AnswerForm, CaseField, Direction, Format, Judge, JudgeError, Kind, Profile, Reading, Rubric,
    RubricLibrary,
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{examples, scale::ScaleBody};
use crate::{
    access::Grant,
    error::{ApiError, Dialect, ErrorBody},
    state::AppState,
};

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(rubrics)).routes(routes!(reload))
}

/// The rubrics that requests can name.
#[derive(Serialize, ToSchema)]
struct RubricsBody {
    /// The rubrics, in order of their names.
    rubrics: Vec<RubricBody>,
    /// The critic's prompt formats; the first one of a kind that is not held out is its default.
    formats: Vec<FormatBody>,
}

/// A prompt format of the critic.
#[derive(Serialize, ToSchema)]
struct FormatBody {
    /// What requests call it.
    name: String,
    /// `pointwise` for one response, `pairwise` for two.
    kind: String,
    /// Whether it was kept from training, to measure how the critic takes other wordings.
    held_out: bool,
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
    /// The scores, when one response is scored or each of two is.
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<ScaleBody>,
    /// Whether `higher` or `lower` scores are better.
    #[schema(value_type = String)]
    direction: Direction,
    /// What a request must have besides question and responses: `reference`, `description`.
    #[schema(value_type = Vec<String>)]
    fields: Vec<CaseField>,
    /// The form of answer that the critic is asked for, where it can be asked; else it answers as it was trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    answer: Option<AnswerForm>,
    /// The form in which this critic answers: the same where it can be asked for it, else the one that it was trained on.
    #[schema(value_type = Option<String>)]
    critic_answer: Option<AnswerForm>,
    /// What the rubric judges by and this critic cannot be shown; with it, nothing can be judged by the rubric here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    not_shown: Option<CaseField>,
    /// Whether the score is the `written` one or the `expected` one, the mean by the probability of each.
    #[schema(value_type = String)]
    reading: Reading,
    /// Whether requests that name no rubric are judged by this one.
    default: bool,
}

impl RubricBody {
    fn new(rubric: &Rubric, profile: &Profile, defaults: [&str; 2]) -> Self {
        let format = profile.format(rubric, None).ok();
        Self {
            name: rubric.name.clone(),
            version: rubric.version,
            kind: rubric.kind.to_string(),
            summary: rubric.summary.clone(),
            criteria: rubric.criteria.clone(),
            scale: rubric.scale.map(ScaleBody::from),
            direction: rubric.direction,
            fields: rubric.fields.clone(),
            answer: rubric.answer,
            critic_answer: format.map(|format| format.answer(rubric)),
            not_shown: format.and_then(|format| format.hidden(rubric)),
            reading: rubric.reading,
            default: defaults.contains(&rubric.name.as_str()),
        }
    }
}

impl RubricsBody {
    fn new(judge: &Judge) -> Self {
        let rules = judge.rules();
        let defaults = [Kind::Pointwise, Kind::Pairwise].map(|kind| rules.default_rubric(kind));
        let format = |format: &Format| FormatBody {
            name: format.name.clone(),
            kind: format.kind.to_string(),
            held_out: format.held_out,
        };
        let profile = rules.profile();
        let rubric = |rubric| RubricBody::new(rubric, profile, defaults);
        Self {
            rubrics: rules.library().rubrics().map(rubric).collect(),
            formats: profile.formats().iter().map(format).collect(),
        }
    }
}

/// List the rubrics.
#[utoipa::path(get, path = "/rubrics", tag = "judge", responses((status = 200, description = "The rubrics and the prompt formats.", body = RubricsBody, example = json!(examples::rubrics()))))]
async fn rubrics(State(state): State<AppState>) -> Json<RubricsBody> {
    Json(RubricsBody::new(&state.judge))
}

/// Read the folder of rubrics and critic profiles again.
///
/// All files are taken, or none: when one has an error, everything stays as it was. Judgements that run go on by the rubrics
/// that they began with. The answer is the list of rubrics.
#[utoipa::path(
    post,
    path = "/rubrics/reload",
    tag = "judge",
    responses(
        (status = 200, description = "The rubrics and the prompt formats as they are now.", body = RubricsBody, example = json!(examples::rubrics())),
        (status = 409, description = "The server was started without a folder.", body = ErrorBody),
        (status = 422, description = "A file has an error; the message has all of them.", body = ErrorBody)
    )
)]
async fn reload(
    State(state): State<AppState>,
    grant: Option<Extension<Arc<Grant>>>,
) -> Result<Json<RubricsBody>, ApiError> {
    if grant.is_some_and(|Extension(grant)| !grant.account().key().admin) {
        return Err(ApiError::not_admin());
    }
    reload_rubrics(&state).await?;
    Ok(Json(RubricsBody::new(&state.judge)))
}

/// Reads the folder of rubrics and profiles again; tells how many rubrics there are.
///
/// # Errors
/// When there is no folder, or a file has an error: then everything stays as it was.
pub(crate) async fn reload_rubrics(state: &AppState) -> Result<usize, ApiError> {
    let folder = state.config_dir.as_ref().ok_or_else(|| {
        let message = "The server was started without --config-dir, so that there is nothing to read again.";
        ApiError::new(StatusCode::CONFLICT, "no_config_dir", message)
    })?;
    let folder = folder.clone().lock_owned().await;
    let judge = state.judge.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let library = RubricLibrary::with_folder(&folder)?;
        judge.replace_library(library);
        drop(folder); // held until the new rubrics are in force, even when the client leaves
        Ok::<_, JudgeError>(())
    });
    let read = reading.await.map_err(|error| {
        tracing::error!(%error, "the rubrics could not be read again");
        let message = "The server failed on this request.";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    })?;
    read.map_err(|error| ApiError::from_judge(error, Dialect::Native))?;
    tracing::info!("rubrics and critic profiles were read again");
    Ok(state.judge.rules().library().rubrics().count())
}
