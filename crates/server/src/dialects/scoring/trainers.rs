//! The forms in which trainers ask for rewards, told apart by the keys of a body: each path of theirs takes all of
//! them.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Request},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    TRANSCRIPTS, error_for_trainers, openrlhf,
    scorer::{Scorer, WithoutImageCount},
    slime, with_image_header,
};
use crate::{
    access::Admission,
    error::{ApiError, retold},
    extract::json_body::JsonBytes,
    json::body_form::BodyForm,
    metrics::RequestKind,
    service::state::AppState,
};

/// A form of reward requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RewardForm {
    /// Transcripts in `query`.
    OpenRlhf,
    /// A `prompt` and its `response`.
    Slime,
}

/// The keys that tell forms apart; `null` is the same as an absent key.
#[derive(Deserialize)]
struct Keys {
    query: Option<IgnoredAny>,
    prompt: Option<IgnoredAny>,
    response: Option<IgnoredAny>,
    // Of the native interface.
    question: Option<IgnoredAny>,
    responses: Option<IgnoredAny>,
}

impl RewardForm {
    /// The form of a body. It is `default` for a body with the keys of both forms, or of none.
    pub(super) fn of(body: &JsonBytes, default: Self) -> Self {
        // What is wrong with a body that is no object is worded by whoever reads it as a whole.
        let Ok(keys) = body.parse::<Keys>() else { return default };
        match (keys.query, keys.prompt.zip(keys.response)) {
            (Some(_), None) => Self::OpenRlhf,
            (None, Some(_)) => Self::Slime,
            (Some(_), Some(_)) | (None, None) => default,
        }
    }

    /// The form of a body on a path of the native interface; `None` for a body that has keys of that, or none of a
    /// trainer.
    fn on_native_path(body: &JsonBytes) -> Option<Self> {
        let keys = body.parse::<Keys>().ok()?;
        if keys.question.is_some() || keys.responses.is_some() {
            return None;
        }
        match (keys.query, keys.prompt.zip(keys.response)) {
            (Some(_), _) => Some(Self::OpenRlhf),
            (None, Some(_)) => Some(Self::Slime),
            (None, None) => None,
        }
    }

    /// The answer to a body in this form.
    pub(super) async fn answer(self, scorer: &Scorer, body: JsonBytes) -> Result<Response, ApiError> {
        Ok(match self {
            Self::OpenRlhf => Json(openrlhf::rewards(scorer, body).await?).into_response(),
            Self::Slime => Json(slime::reward(scorer, body).await?).into_response(),
        })
    }
}

/// A request on a path of the native interface that trainers are often pointed at.
pub(crate) enum NativeOrTrainer {
    /// A body of the native interface, or of none.
    Native(JsonBytes),
    /// A body in a form of trainers.
    Trainer(Box<TrainerRequest>),
}

/// A request in a form of trainers.
pub(crate) struct TrainerRequest {
    form: RewardForm,
    body: JsonBytes,
    scorer: Scorer,
    without_image: WithoutImageCount,
}

impl FromRequest<AppState> for NativeOrTrainer {
    type Rejection = ApiError;

    /// Reads the body. Its form decides what its key's quota and the limit of texts mean for it: the same as on the
    /// paths of the trainers or of the native interface.
    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let mut body = JsonBytes::unchecked(&parts, body, state).await?;
        let admission = Admission::of(&parts.extensions);
        let limits = &state.limits.content.shape;
        let Some(form) = RewardForm::on_native_path(&body) else {
            admission.or_refuse()?;
            // Invalid parameters in the URL are refused whatever the body is.
            Scorer::from_request_parts(&mut parts, state).await?;
            body.check(limits, BodyForm::of(&parts.extensions))?;
            return Ok(Self::Native(body));
        };
        RequestKind::Score.note();
        admission.or_wait().await.map_err(ApiError::unavailable)?;
        body.check(limits, TRANSCRIPTS)?;
        let without_image = WithoutImageCount::default();
        let scorer = Scorer::from_request_parts(&mut parts, state).await?.with_counter(without_image.clone());
        Ok(Self::Trainer(Box::new(TrainerRequest { form, body, scorer, without_image })))
    }
}

impl TrainerRequest {
    /// The answer, as on the trainers' own paths.
    pub(crate) async fn answer(self) -> Response {
        let Self { form, body, scorer, without_image } = self;
        let response = form.answer(&scorer, body).await.into_response();
        with_image_header(retold(response, error_for_trainers), &without_image)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::json::limits::JsonLimits;

    fn body(value: &Value) -> JsonBytes {
        JsonBytes::checked(Bytes::from(value.to_string()), &JsonLimits::SMALL, TRANSCRIPTS).unwrap()
    }

    #[test]
    fn keys_tell_the_forms_apart() {
        use RewardForm::{OpenRlhf, Slime};
        for (value, on_rm, native) in [
            (json!({ "query": ["a"], "prompts": ["b"], "labels": ["c"] }), OpenRlhf, Some(OpenRlhf)),
            (json!({ "prompt": "a", "response": "b", "label": null }), Slime, Some(Slime)),
            (json!({ "prompt": "a", "response": "b", "query": null }), Slime, Some(Slime)),
            (json!({ "prompt": "a", "response": "b", "query": "c" }), Slime, Some(OpenRlhf)),
            (json!({ "prompt": "a" }), Slime, None),
            (json!({ "prompt": "a", "responses": ["b", "c"] }), Slime, None),
            (json!({ "query": "a", "responses": ["b", "c"] }), OpenRlhf, None),
            (json!({ "question": "a", "prompt": "b", "response": "c" }), Slime, None),
            (json!({ "prompts": [{ "question": "a", "responses": ["b", "c"] }] }), Slime, None),
            (json!({}), Slime, None),
        ] {
            let body = body(&value);
            assert_eq!(RewardForm::of(&body, Slime), on_rm, "{value}");
            assert_eq!(RewardForm::on_native_path(&body), native, "{value}");
        }
        assert_eq!(RewardForm::of(&body(&json!({})), OpenRlhf), OpenRlhf);
    }
}
