//! Bodies of requests.

use judge::{Caller, Case, EncodedImage, JudgeOptions, Mode, Responses, RubricChoice, Scale};
use serde::Deserialize;
use utoipa::ToSchema;

use super::scale::ScaleBody;
use crate::{error::ApiError, images};

/// A case to judge, and by what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JudgeBody {
    /// What was asked.
    question: String,
    /// The images it was asked about, in order, each a data URL or bare base64. Nothing is fetched.
    #[serde(default)]
    images: Vec<String>,
    /// The response to score.
    response: Option<String>,
    /// Two responses to compare, or one to score.
    #[schema(min_items = 1, max_items = 2)]
    responses: Option<Vec<String>>,
    /// An answer that is known to be right.
    reference: Option<String>,
    /// What the images show, in words.
    description: Option<String>,
    /// Name of a rubric, or criteria of your own. Without it, the critic's default.
    rubric: Option<ChosenRubric>,
    /// Criteria of your own, outside of `rubric`.
    criteria: Option<String>,
    /// The scores that go with `criteria`, when one response is scored.
    scale: Option<ScaleBody>,
    /// Name of one of the critic's prompt formats; its default when absent. For measuring other wordings.
    format: Option<String>,
    /// Tokens of reasons to write at most.
    #[schema(default = 512, minimum = 1)]
    max_tokens: Option<usize>,
    /// In which order verdict and reasons come; as the critic was trained to answer when absent.
    mode: Option<ModeBody>,
    /// Whether the probability of every possible verdict is told. With the modes that read the verdict from the critic's
    /// logits it always is.
    #[serde(default)]
    distribution: bool,
    /// `both` judges two responses in both orders, so that a liking for a place cancels. The verdict is by the mean of both
    /// distributions.
    #[serde(default)]
    order: OrderBody,
    /// Whether the justification comes as server-sent events while it is written.
    #[serde(default)]
    stream: bool,
}

/// In which order verdict and reasons come.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ModeBody {
    /// The verdict alone, read from the critic's logits. Nothing is written, so nothing is faster.
    Score,
    /// The verdict, then the reasons.
    ScoreThenExplain,
    /// The reasons, then the verdict, read from the logits after them.
    ExplainThenScore,
}

impl From<ModeBody> for Mode {
    fn from(body: ModeBody) -> Self {
        match body {
            ModeBody::Score => Self::Score,
            ModeBody::ScoreThenExplain => Self::ScoreThenExplain,
            ModeBody::ExplainThenScore => Self::ExplainThenScore,
        }
    }
}

/// In which orders two responses are judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OrderBody {
    /// As they are given.
    #[default]
    Given,
    /// As they are given, and the other way round.
    Both,
}

/// By what a case is judged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum ChosenRubric {
    /// A rubric of the server, by its name.
    Name(String),
    /// Criteria of your own.
    Inline(InlineRubric),
}

/// Criteria of your own, with a scale when one response is scored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InlineRubric {
    /// What to look at.
    criteria: String,
    /// The scores that may be given.
    scale: Option<ScaleBody>,
}

impl From<ChosenRubric> for RubricChoice {
    fn from(body: ChosenRubric) -> Self {
        match body {
            ChosenRubric::Name(name) => Self::Named(name),
            ChosenRubric::Inline(InlineRubric { criteria, scale }) => {
                let scale = scale.map(Scale::from);
                Self::Inline { criteria, scale }
            }
        }
    }
}

/// What is judged, by what, and how the answer comes.
pub(super) struct JudgeRequest {
    pub(super) case: Case,
    pub(super) rubric: RubricChoice,
    /// Where criteria and scale stand in the body.
    pub(super) rubric_path: &'static str,
    pub(super) options: JudgeOptions,
    pub(super) both_orders: bool,
    pub(super) stream: bool,
}

impl JudgeBody {
    pub(super) fn into_request(self, caller: Caller) -> Result<JudgeRequest, ApiError> {
        check_text(&self.question, "question")?;
        let mut responses = match (self.response, self.responses) {
            (Some(response), None) => {
                check_response(&response, "response")?;
                vec![response]
            }
            (None, Some(responses)) => {
                check_responses(&responses, "")?;
                responses
            }
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid("response", "Give response or responses, not both."));
            }
            (None, None) => return Err(ApiError::invalid("response", "There is no response to judge.")),
        };
        let responses = match (responses.pop(), responses.pop(), responses.pop()) {
            (Some(one), None, None) => Responses::One(one),
            (Some(second), Some(first), None) => Responses::Pair(first, second),
            _ => {
                return Err(ApiError::invalid("responses", "Give one response to score or two to compare."));
            }
        };
        if self.max_tokens == Some(0) {
            return Err(ApiError::invalid("max_tokens", "max_tokens must be at least 1."));
        }
        let images = read_images(&self.images, "images")?;
        let options = JudgeOptions {
            format: self.format,
            mode: self.mode.map_or(Mode::Trained, Mode::from),
            distribution: self.distribution,
            max_tokens: self.max_tokens.unwrap_or(JudgeOptions::default().max_tokens),
            caller,
        };
        let rubric_path = path_of_rubric(self.rubric.as_ref());
        let rubric = choose_rubric(self.rubric, self.criteria, self.scale)?;
        let both_orders = self.order == OrderBody::Both;
        if both_orders && self.stream {
            return Err(ApiError::invalid("order", "Verdicts in both orders are not streamed."));
        }
        if both_orders && matches!(responses, Responses::One(_)) {
            return Err(ApiError::invalid("order", "One response has one order."));
        }
        let case = Case {
            question: self.question,
            images,
            responses,
            reference: self.reference,
            description: self.description,
        };
        Ok(JudgeRequest { case, rubric, rubric_path, options, both_orders, stream: self.stream })
    }
}

/// Refuses a question that says nothing.
pub(super) fn check_text(text: &str, path: &str) -> Result<(), ApiError> {
    if text.trim().is_empty() { Err(ApiError::invalid(path, format!("{path} is empty."))) } else { Ok(()) }
}

/// Refuses a response of no character. One of white space is judged: it is what was answered.
fn check_response(text: &str, path: &str) -> Result<(), ApiError> {
    if text.is_empty() { Err(ApiError::invalid(path, format!("{path} is empty."))) } else { Ok(()) }
}

/// Refuses the first empty response; `path` is where their list stands in the body.
pub(super) fn check_responses(responses: &[String], path: &str) -> Result<(), ApiError> {
    let check = |(index, text): (usize, &String)| check_response(text, &format!("{path}responses[{index}]"));
    responses.iter().enumerate().try_for_each(check)
}

/// Where criteria and a scale stand in a body: inside of its rubric, or beside it.
pub(super) fn path_of_rubric(rubric: Option<&ChosenRubric>) -> &'static str {
    match rubric {
        Some(ChosenRubric::Inline(_)) => "rubric.",
        Some(ChosenRubric::Name(_)) | None => "",
    }
}

/// The images of a case, which stands at `path` of the body.
pub(super) fn read_images(images: &[String], path: &str) -> Result<Vec<EncodedImage>, ApiError> {
    if images.len() > images::MAX_IMAGES {
        return Err(ApiError::invalid(path, format!("There are more than {} images.", images::MAX_IMAGES)));
    }
    let read = |(index, image): (usize, &String)| images::read(image, &format!("{path}[{index}]"));
    images.iter().enumerate().map(read).collect()
}

/// The rubric of a body, wherever its criteria stand.
pub(super) fn choose_rubric(
    rubric: Option<ChosenRubric>,
    criteria: Option<String>,
    scale: Option<ScaleBody>,
) -> Result<RubricChoice, ApiError> {
    match (rubric, criteria, scale) {
        (None, None, None) => Ok(RubricChoice::Default),
        (Some(rubric), None, None) => Ok(rubric.into()),
        (None, Some(criteria), scale) => Ok(ChosenRubric::Inline(InlineRubric { criteria, scale }).into()),
        (Some(_), _, _) => {
            Err(ApiError::invalid("rubric", "Give a rubric, or criteria and a scale, not both."))
        }
        (None, None, Some(_)) => Err(ApiError::invalid("scale", "A scale goes with criteria.")),
    }
}
