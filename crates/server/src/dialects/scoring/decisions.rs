//! Decisions read from logits: `POST /v1/decisions` in the shapes of SGLang and of vLLM.

use std::collections::HashSet;

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{
    choices::{Answers, Chooser, Found, question, text_of},
    examples,
    failures::Failures,
    scorer::Scorer,
};
use crate::{
    dialects::{content::ImageUrl, null_as_default, openai::PromptDetails},
    error::{ApiError, ErrorBody},
    json_body::JsonBytes,
};

/// The wording of the questions: a client that has measured one can refuse another.
const PROMPT_FORMAT_VERSION: u32 = 1;

/// What to decide about, and the questions.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct DecisionsBody {
    /// Any name.
    model: Option<String>,
    /// What the questions are about: text, or JSON.
    input: Value,
    /// Images it comes with.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    images: Vec<ImageUrl>,
    /// The questions. With an `id` each they are answered by it, as SGLang does; without, in a list, as vLLM does.
    questions: Vec<QuestionBody>,
    /// The version of the wording that the client wants.
    prompt_format_version: Option<u32>,
}

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
struct QuestionBody {
    /// SGLang's name of the question.
    id: Option<String>,
    /// `choice`, `score`, `yes_no` or `predicate`.
    #[serde(rename = "type")]
    kind: String,
    /// The question.
    #[serde(alias = "instructions")]
    question: String,
    /// vLLM's name of the question.
    name: Option<String>,
    /// For a choice: names, or objects with `name` and `description`.
    #[serde(default, alias = "choices", deserialize_with = "null_as_default")]
    #[schema(nullable)]
    options: Vec<OptionBody>,
    /// For a score: what each level means, lowest first.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    levels: Vec<String>,
    /// When to say yes.
    yes: Option<String>,
    /// When to say no.
    no: Option<String>,
}

/// An answer that can be chosen.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum OptionBody {
    /// Its name.
    Name(String),
    /// Its name and what it means.
    Described {
        /// Its name.
        name: String,
        /// What it means.
        description: Option<String>,
    },
}

/// What was decided.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DecisionsResponse {
    /// Always `decisions`.
    object: &'static str,
    /// The name that the request used, or that of the checkpoint.
    model: String,
    /// The version of the wording.
    prompt_format_version: u32,
    /// The answers with their probabilities: an object by the questions' ids, or a list in their order.
    answers: Value,
    /// Tokens read.
    usage: DecisionsUsage,
}

/// Tokens read; none are written.
#[derive(Debug, Serialize, ToSchema)]
struct DecisionsUsage {
    /// Tokens of all prompts.
    prompt_tokens: usize,
    /// The same: nothing is written.
    total_tokens: usize,
    /// What kinds of tokens were read.
    prompt_tokens_details: PromptDetails,
}

impl QuestionBody {
    /// The names of the answers, and the answers as they are shown.
    fn answers(&self, path: &str) -> Result<Answers, ApiError> {
        let described = |name: &str, description: Option<&String>| match description {
            Some(description) => format!("{name}: {description}"),
            None => name.to_owned(),
        };
        let (names, shown): (Vec<String>, Vec<String>) = match self.kind.as_str() {
            "yes_no" | "predicate" => [("yes", self.yes.as_ref()), ("no", self.no.as_ref())]
                .map(|(name, description)| (name.to_owned(), described(name, description)))
                .into_iter()
                .unzip(),
            "choice" => (self.options.iter())
                .map(|option| match option {
                    OptionBody::Name(name) => (name.clone(), name.clone()),
                    OptionBody::Described { name, description } => {
                        (name.clone(), described(name, description.as_ref()))
                    }
                })
                .unzip(),
            "score" => {
                let levels = self.levels.iter().enumerate();
                levels.map(|(level, meaning)| (level.to_string(), meaning.clone())).unzip()
            }
            kind => {
                let message =
                    format!("There is no type {kind:?}; there are choice, score, yes_no and predicate.");
                return Err(ApiError::invalid(format!("{path}.type"), message));
            }
        };
        Answers { names, shown }.checked(path)
    }

    /// An answer as SGLang tells it.
    fn by_id(&self, names: &[String], found: &Found) -> Value {
        let probabilities = found.named(names);
        let mut answer =
            json!({ "type": self.kind, "probabilities": probabilities, "label_mass": found.label_mass });
        match self.kind.as_str() {
            "score" => answer["score"] = json!(found.mean_place()),
            _ => answer["choice"] = json!(names[found.best()]),
        }
        answer
    }

    /// The same as vLLM tells it.
    fn in_list(&self, names: &[String], found: &Found) -> Value {
        let best = found.best();
        // Of a predicate, the value of yes is 1.
        let value = |index: usize| if self.kind == "score" { index } else { usize::from(index == 0) };
        let places = names.iter().zip(&found.probabilities).enumerate();
        let probabilities: Vec<Value> = places
            .map(|(index, (name, probability))| {
                let value = if self.kind == "choice" { json!(name) } else { json!(value(index)) };
                json!({ "value": value, "label": name, "probability": probability })
            })
            .collect();
        let mut answer = json!({
            "type": self.kind,
            "name": self.name,
            "probabilities": probabilities,
            "confidence": found.probabilities[best] * found.label_mass,
            "label_mass": found.label_mass,
        });
        match self.kind.as_str() {
            "score" => answer["score"] = json!(found.mean_place()),
            "choice" => answer["choice"] = json!(names[best]),
            _ => answer["score"] = json!(found.probabilities[0]),
        }
        answer
    }
}

/// Decide questions about a text and images. Nothing is written: answers are read from the critic's logits.
#[utoipa::path(
    post,
    path = "/v1/decisions",
    tag = "scoring",
    request_body(content = DecisionsBody, example = json!(examples::decisions())),
    responses(
        (status = 200, description = "`answers`, by the questions' ids or in a list.", body = DecisionsResponse, example = json!(examples::decisions_answer())),
        (status = 400, description = "A question makes no sense.", body = ErrorBody),
        Failures
    )
)]
pub(super) async fn decide(scorer: Scorer, body: JsonBytes) -> Result<Json<DecisionsResponse>, ApiError> {
    let read = scorer.with_images(|reader| {
        let mut body: DecisionsBody = body.parse()?;
        let images = ImageUrl::read_all(std::mem::take(&mut body.images), reader)?;
        Ok((body, images))
    });
    let (mut body, images) = read.await?;
    let model = scorer.told(body.model.take())?;
    if let Some(wanted) = body.prompt_format_version.filter(|wanted| *wanted != PROMPT_FORMAT_VERSION) {
        let message =
            format!("This server words questions by version {PROMPT_FORMAT_VERSION}, not {wanted}.");
        return Err(ApiError::invalid("prompt_format_version", message));
    }
    if body.questions.is_empty() {
        return Err(ApiError::invalid("questions", "There is no question."));
    }
    let mut known = HashSet::new();
    let ids =
        body.questions.iter().enumerate().filter_map(|(index, asked)| Some((index, asked.id.as_ref()?)));
    if let Some((index, id)) = ids.into_iter().find(|(_, id)| !known.insert(*id)) {
        let message = format!("There are two questions {id:?}, and answers are told by these names.");
        return Err(ApiError::invalid(format!("questions[{index}].id"), message));
    }
    let context = text_of(body.input);
    let chooser = Chooser::new(&scorer, images);
    let by_id = body.questions.iter().all(|question| question.id.is_some());
    let (mut named, mut listed, mut prompt_tokens, mut cached_tokens) = (Map::new(), Vec::new(), 0, 0);
    for (index, asked) in body.questions.iter().enumerate() {
        let path = format!("questions[{index}]");
        let Answers { names, shown } = asked.answers(&path)?;
        let text = format!("{context}\n\n{}", question(&asked.question, &shown));
        let found = chooser.decide(text, names.len(), &path).await?;
        prompt_tokens += found.usage.prompt_tokens;
        cached_tokens += found.usage.cached_tokens;
        match &asked.id {
            Some(id) if by_id => drop(named.insert(id.clone(), asked.by_id(&names, &found))),
            _ => listed.push(asked.in_list(&names, &found)),
        }
    }
    let answers = if by_id { Value::Object(named) } else { Value::Array(listed) };
    Ok(Json(DecisionsResponse {
        object: "decisions",
        model,
        prompt_format_version: PROMPT_FORMAT_VERSION,
        answers,
        usage: DecisionsUsage {
            prompt_tokens,
            total_tokens: prompt_tokens,
            prompt_tokens_details: PromptDetails { cached_tokens },
        },
    }))
}
