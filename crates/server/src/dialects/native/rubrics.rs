//! `GET /rubrics` lists rubrics and prompt formats; `POST /rubrics/reload` reads the configuration folder again.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};
use judge::{AnswerForm, CaseField, Direction, Format, Judge, Kind, Profile, Reading, Rubric};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{examples, scale::ScaleBody};
use crate::{
    access::Grant,
    error::{ApiError, ErrorBody},
    service::{reload::reload_rubrics, state::AppState},
};

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(rubrics)).routes(routes!(reload))
}

/// The rubrics and prompt formats that requests can name.
#[derive(Serialize, ToSchema)]
struct RubricsBody {
    /// The rubrics, sorted by name.
    rubrics: Vec<RubricBody>,
    /// The critic's prompt formats. The first one of each kind that is not held out is the default.
    formats: Vec<FormatBody>,
}

/// A prompt format of the critic.
#[derive(Serialize, ToSchema)]
struct FormatBody {
    /// Its name in requests.
    name: String,
    /// `pointwise` for one response, `pairwise` for two.
    kind: String,
    /// Whether it was excluded from training, to measure how the critic reacts to other wordings.
    held_out: bool,
}

/// A rubric.
#[derive(Serialize, ToSchema)]
struct RubricBody {
    /// Its name in requests.
    name: String,
    /// Incremented with every change that affects verdicts.
    version: u32,
    /// `pointwise` for one response, `pairwise` for two.
    kind: String,
    /// A description in one line.
    summary: String,
    /// What the critic is instructed to look at.
    criteria: String,
    /// The valid scores, if one response is scored, or each of two. Absent for preferences without scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<ScaleBody>,
    /// Whether `higher` or `lower` scores are better.
    #[schema(value_type = String)]
    direction: Direction,
    /// The fields that a request must have besides question and responses: `reference`, `description`.
    #[schema(value_type = Vec<String>)]
    fields: Vec<CaseField>,
    /// The form of answer that the rubric requests from critics that can be instructed; others answer as they were
    /// trained. Absent if it requests none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    answer: Option<AnswerForm>,
    /// The form in which this critic answers under the rubric: `answer` if the critic can be instructed, else the
    /// form on which it was trained. Null if the critic has no prompt format of this kind.
    #[schema(value_type = Option<String>)]
    critic_answer: Option<AnswerForm>,
    /// A field that the rubric needs and the critic's prompt has no place for. If present, this critic cannot judge
    /// by the rubric.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    not_shown: Option<CaseField>,
    /// How a score is read: `written`, the score that the critic gives, or `expected`, the mean of all scores
    /// weighted by their probabilities.
    #[schema(value_type = String)]
    reading: Reading,
    /// Whether it applies to requests of its kind that name no rubric.
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
/// Either all files are accepted or none: if one has an error, everything stays as it was. Running judgements
/// continue with the rubrics that they started with. The answer is the new list of rubrics.
#[utoipa::path(
    post,
    path = "/rubrics/reload",
    tag = "judge",
    responses(
        (status = 200, description = "The rubrics and the prompt formats after the reload.", body = RubricsBody, example = json!(examples::rubrics())),
        (status = 409, description = "The server was started without a folder of rubrics (`--config-dir`).", body = ErrorBody),
        (status = 422, description = "A file is invalid; the message lists all errors.", body = ErrorBody)
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
