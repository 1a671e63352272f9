//! The forms in which trainers ask for rewards, told apart by the keys of a body: each path of theirs takes all of them.

use std::convert::Infallible;

use axum::{
    Json,
    extract::FromRequestParts,
    http::request::Parts,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    for_trainers, openrlhf,
    scorer::{Scorer, WithoutImage},
    slime, with_count,
};
use crate::{
    error::{ApiError, retold},
    json_body::JsonBytes,
    metrics::RequestKind,
    state::AppState,
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
    /// The form of a body on a path whose usual form is `usual`, which is also that of a body with the keys of both, or of none.
    pub(super) fn of(body: &JsonBytes, usual: Self) -> Self {
        // What is wrong with a body that is no object is worded by whoever reads it as a whole.
        let Ok(keys) = body.parse::<Keys>() else { return usual };
        match (keys.query, keys.prompt.zip(keys.response)) {
            (Some(_), None) => Self::OpenRlhf,
            (None, Some(_)) => Self::Slime,
            (Some(_), Some(_)) | (None, None) => usual,
        }
    }

    /// The form of a body on a path of the native interface; `None` for a body that has keys of that, or none of a trainer.
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
    pub(super) async fn answer(self, scorer: &Scorer, body: &JsonBytes) -> Result<Response, ApiError> {
        Ok(match self {
            Self::OpenRlhf => Json(openrlhf::rewards(scorer, body).await?).into_response(),
            Self::Slime => Json(slime::reward(scorer, body).await?).into_response(),
        })
    }
}

/// Answers bodies in the forms of trainers on a path of the native interface.
pub(crate) struct TrainerForms {
    /// A refusal of the URL matters to these bodies only.
    scorer: Result<Scorer, ApiError>,
    without_image: WithoutImage,
}

impl FromRequestParts<AppState> for TrainerForms {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let without_image = WithoutImage::default();
        let scorer = Scorer::from_request_parts(parts, state).await;
        let scorer = scorer.map(|scorer| scorer.counting(without_image.clone()));
        Ok(Self { scorer, without_image })
    }
}

impl TrainerForms {
    /// The answer to a body in one of the forms, as on the trainers' own paths; `None` for any other body.
    pub(crate) async fn answer(self, body: &JsonBytes) -> Option<Response> {
        let form = RewardForm::on_native_path(body)?;
        RequestKind::Score.note();
        let response = match self.scorer {
            Ok(scorer) => form.answer(&scorer, body).await.into_response(),
            Err(refused) => refused.into_response(),
        };
        Some(with_count(retold(response, for_trainers), &self.without_image))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::json_limits::{JsonLimits, Texts};

    fn body(value: &Value) -> JsonBytes {
        let limits = JsonLimits {
            depth: 8,
            members: 16,
            elements: 16,
            text_bytes: 1024,
            messages: 16,
            parts: 16,
            images: 1,
            batch_images: 1,
            image_bytes: 1024,
        };
        JsonBytes::checked(Bytes::from(value.to_string()), &limits, Texts::Plain).unwrap()
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
