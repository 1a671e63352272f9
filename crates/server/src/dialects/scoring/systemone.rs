//! Predicates about a state and images, as `POST /v1/systemone` of vLLM has them.

use std::collections::BTreeMap;

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{
    choices::{Answers, Chooser, question, text_of},
    examples,
    failures::Failures,
    generative::TokensRead,
    scorer::Scorer,
};
use crate::{
    dialects::{content::ImageUrl, null_as_default},
    error::{ApiError, ErrorBody},
    json_body::JsonBytes,
};

/// A state, and questions about it.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SystemOneBody {
    /// Any name.
    model: Option<String>,
    /// What is judged: text, or JSON.
    state: Value,
    /// The questions by their names.
    questions: BTreeMap<String, SystemOneQuestion>,
    /// What holds for all questions.
    instructions: Option<String>,
    /// Images that belong to the state.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    images: Vec<ImageUrl>,
}

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
struct SystemOneQuestion {
    /// `predicate`, `choice` or `score`.
    #[serde(rename = "type")]
    kind: String,
    /// The question.
    instructions: String,
    /// What to go by: a text for a predicate; for the others what the answers are, by name or in a list.
    #[serde(default)]
    criteria: Value,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SystemOneResponse {
    /// The name that the request used, or that of the checkpoint.
    model: String,
    /// The answers with their probabilities, by the questions' names.
    #[schema(value_type = Object)]
    answers: Map<String, Value>,
    /// By the questions' names, how much of the critic's belief the possible answers hold together, and whether the most probable
    /// token of all is one of them.
    #[schema(value_type = Object)]
    diagnostics: Map<String, Value>,
    /// Tokens read.
    usage: TokensRead,
}

impl SystemOneQuestion {
    /// The names of the answers, and the answers as they are shown.
    fn answers(&self, path: &str) -> Result<Answers, ApiError> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let (names, shown): (Vec<String>, Vec<String>) = match (self.kind.as_str(), &self.criteria) {
            ("predicate", Value::Null) => (vec!["yes".into(), "no".into()], vec!["yes".into(), "no".into()]),
            ("predicate", Value::String(criteria)) => {
                (vec!["yes".into(), "no".into()], vec![format!("yes: {criteria}"), "no".into()])
            }
            ("predicate" | "choice" | "score", Value::Object(named)) => named
                .iter()
                .map(|(name, meaning)| (name.clone(), format!("{name}: {}", text(meaning))))
                .unzip(),
            ("choice" | "score", Value::Array(listed)) => {
                listed.iter().map(|answer| (text(answer), text(answer))).unzip()
            }
            ("predicate" | "choice" | "score", _) => {
                let message = "criteria must tell the answers.";
                return Err(ApiError::invalid(format!("{path}.criteria"), message));
            }
            (kind, _) => {
                let message = format!("There is no type {kind:?}; there are predicate, choice and score.");
                return Err(ApiError::invalid(format!("{path}.type"), message));
            }
        };
        Answers { names, shown }.checked(&format!("{path}.criteria"))
    }
}

/// Answer questions about a state and images. Nothing is written: answers are read from the critic's logits.
#[utoipa::path(
    post,
    path = "/v1/systemone",
    tag = "scoring",
    request_body(content = SystemOneBody, example = json!(examples::systemone())),
    responses(
        (status = 200, description = "`answers` and `diagnostics` by the questions' names.", body = SystemOneResponse, example = json!(examples::systemone_answer())),
        (status = 400, description = "A question makes no sense.", body = ErrorBody),
        Failures
    )
)]
pub(super) async fn answer(scorer: Scorer, body: JsonBytes) -> Result<Json<SystemOneResponse>, ApiError> {
    let read = scorer.with_images(|reader| {
        let mut body: SystemOneBody = body.parse()?;
        let images = ImageUrl::read_all(std::mem::take(&mut body.images), reader)?;
        Ok((body, images))
    });
    let (mut body, images) = read.await?;
    let model = scorer.told(body.model.take())?;
    let state = text_of(body.state);
    let context =
        body.instructions.map_or(state.clone(), |instructions| format!("{state}\n\n{instructions}"));
    let chooser = Chooser::new(&scorer, images);
    let (mut answers, mut diagnostics, mut prompt_tokens) = (Map::new(), Map::new(), 0);
    for (name, asked) in &body.questions {
        let path = format!("questions.{name}");
        let Answers { names, shown } = asked.answers(&path)?;
        let text = format!("{context}\n\n{}", question(&asked.instructions, &shown));
        let found = chooser.decide(text, names.len(), &path).await?;
        prompt_tokens += found.usage.prompt_tokens;
        let best = found.best();
        let probabilities = found.named(&names);
        answers.insert(
            name.clone(),
            match asked.kind.as_str() {
                "score" => {
                    json!({ "type": "score", "score": found.mean_place(), "probabilities": probabilities })
                }
                "choice" => {
                    json!({ "type": "choice", "choice": names[best], "probabilities": probabilities })
                }
                _ => json!({
                    "type": "predicate",
                    "value": best == 0,
                    "probability": found.probabilities[0],
                    "probabilities": probabilities,
                }),
            },
        );
        // With more belief elsewhere than in all answers, the most probable token is none of them.
        let is_label = found.probabilities[best] * found.label_mass >= 1.0 - found.label_mass;
        diagnostics
            .insert(name.clone(), json!({ "label_mass": found.label_mass, "argmax_is_label": is_label }));
    }
    let usage = TokensRead { prompt_tokens, total_tokens: prompt_tokens };
    Ok(Json(SystemOneResponse { model, answers, diagnostics, usage }))
}
