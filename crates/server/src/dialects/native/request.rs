//! Bodies of requests.

use judge::{Caller, Case, Drawing, EncodedImage, ImageTiling, JudgeOptions, Mode, Remembering, Responses};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    asked::{Asked, Form, Orders, Sight},
    chosen_rubric::{ChosenRubric, PlacedRubric, choose_rubric, path_of_rubric},
    evaluations,
    guards::{CalibrationBody, DegenerateBody, InvisibleBody, guards},
    receipt::ReceiptBody,
    scale::ScaleBody,
};
use crate::{
    content_limits::ContentLimits,
    dialects::{null_as_default, object_or_null},
    error::ApiError,
    images::ImageReader,
};

/// A case to judge, and by what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JudgeBody {
    /// What was asked.
    question: String,
    /// The images it was asked about, in order, each a data URL, bare base64 or, where the server fetches, a URL.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    images: Vec<String>,
    /// The frames of a video it was asked about, in order, each a data URL or bare base64, as few as the critic should see.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    frames: Vec<String>,
    /// How several images are cut: `trained`, which is one padded tile each, or `anyres`, each at its own resolution.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    tiling: TilingBody,
    /// The response to score.
    response: Option<String>,
    /// Two responses to compare, or one to score.
    #[schema(min_items = 1, max_items = 2)]
    responses: Option<Vec<String>>,
    /// Your id of `response`, which the evaluation event tells a collector of traces.
    #[schema(max_length = 256)]
    response_id: Option<String>,
    /// Your ids of `responses`, one for each.
    #[schema(max_items = 2)]
    response_ids: Option<Vec<String>>,
    /// An answer that is known to be right.
    reference: Option<String>,
    /// What the images show, in words.
    description: Option<String>,
    /// Name of a rubric, or criteria of your own. Without it, the critic's default.
    rubric: Option<ChosenRubric>,
    /// Several rubrics in place of one: the answer has `verdicts`, one for each in order, or why there is none.
    #[schema(min_items = 1, max_items = 64)]
    rubrics: Option<Vec<ChosenRubric>>,
    /// Criteria of your own, outside of `rubric`.
    criteria: Option<String>,
    /// The scores that go with `criteria`, when one response is scored.
    #[serde(default, deserialize_with = "object_or_null")]
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
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    distribution: bool,
    /// `both` judges two responses in both orders, so that a liking for a place cancels. The verdict is by the mean of both
    /// distributions; with `agreed` it is a tie unless both orders name one winner.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    order: OrderBody,
    /// How many verdicts are drawn; the answer has their mean or majority, their spread and each of them.
    #[schema(default = 1, minimum = 1, maximum = 64)]
    samples: Option<usize>,
    /// 0 takes what is most probable, up to 2 draws. Without it 0, or 1 when there are several samples.
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f32>,
    /// Draw only from the smallest set whose probability reaches this.
    #[schema(default = 1, exclusive_minimum = 0, maximum = 1)]
    top_p: Option<f32>,
    /// Start of the random numbers. With one, what is drawn is the same each time.
    #[schema(format = "uint64")] // the document says int64 otherwise
    seed: Option<u64>,
    /// Whether what the critic says whatever is answered is taken out of the verdict. With the mode `score`.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    calibration: CalibrationBody,
    /// What becomes of a response that answers nothing.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    degenerate: DegenerateBody,
    /// What becomes of characters of responses that nobody sees.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    invisible: InvisibleBody,
    /// Whether the same is also judged without the images: the answer has that verdict in `blind`, and `visual_delta`.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
    blind: bool,
    /// Whether a verdict that is remembered from an equal request may answer.
    #[schema(default = true)]
    memo: Option<bool>,
    /// The receipt of a verdict: the same is judged again, drawn as the receipt says, and `replay` tells whether the verdict
    /// is the same. When something else would be judged, that is an error which names it.
    #[serde(default, deserialize_with = "object_or_null")]
    expect: Option<ReceiptBody>,
    /// Whether the justification comes as server-sent events while it is written.
    #[serde(default, deserialize_with = "null_as_default")]
    #[schema(nullable)]
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

/// How several images are cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TilingBody {
    /// One image at any resolution, several as one padded tile each.
    #[default]
    Trained,
    /// Every image at any resolution, which takes many tokens.
    Anyres,
}

impl From<TilingBody> for ImageTiling {
    fn from(body: TilingBody) -> Self {
        match body {
            TilingBody::Trained => Self::Trained,
            TilingBody::Anyres => Self::AnyResolution,
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
    /// The same, and a tie unless both orders name one winner.
    Agreed,
}

/// The most samples of one call, and the most rubrics.
const MOST: usize = 64;

/// By what a case is judged.
enum Rubrics {
    One(PlacedRubric),
    Several(Vec<PlacedRubric>),
}

impl From<OrderBody> for Orders {
    fn from(body: OrderBody) -> Self {
        match body {
            OrderBody::Given => Self::Given,
            OrderBody::Both => Self::Both,
            OrderBody::Agreed => Self::Agreed,
        }
    }
}

/// What is judged, and how the answer comes.
pub(super) struct JudgeRequest {
    pub(super) case: Case,
    pub(super) options: JudgeOptions,
    pub(super) asked: Asked,
    /// The client's ids of the responses, if it named them.
    pub(super) response_ids: Vec<String>,
}

impl JudgeBody {
    /// Refuses what is over a limit.
    pub(super) fn check(&self, limits: &ContentLimits) -> Result<(), ApiError> {
        check_max_tokens(self.max_tokens, limits)
    }

    /// What it asks for.
    pub(super) fn into_request(
        mut self,
        caller: Caller,
        reader: &ImageReader<'_>,
    ) -> Result<JudgeRequest, ApiError> {
        check_text(&self.question, "question")?;
        let responses = self.take_responses()?;
        let response_ids = self.take_ids(evaluations::count(&responses))?;
        let asked = self.asked(&responses)?;
        if self.max_tokens == Some(0) {
            return Err(ApiError::invalid("max_tokens", "max_tokens must be at least 1."));
        }
        let options = JudgeOptions {
            format: self.format.take(),
            mode: self.mode.map_or(Mode::Trained, Mode::from),
            distribution: self.distribution,
            max_tokens: self.max_tokens.unwrap_or(JudgeOptions::default().max_tokens),
            drawing: self.drawing(&asked)?,
            tiling: self.tiling.into(),
            remembering: self.remembering(&asked),
            guards: guards(self.calibration, self.degenerate, self.invisible),
            caller,
        };
        let (images, frames) = read_images((&self.images, &self.frames), "", reader)?;
        let case = Case {
            question: self.question,
            images,
            frames,
            responses,
            reference: self.reference,
            description: self.description,
        };
        Ok(JudgeRequest { case, options, asked, response_ids })
    }

    fn take_responses(&mut self) -> Result<Responses, ApiError> {
        let mut responses = match (self.response.take(), self.responses.take()) {
            (Some(response), None) => vec![response],
            (None, Some(responses)) => responses,
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid("response", "Give response or responses, not both."));
            }
            (None, None) => return Err(ApiError::invalid("response", "There is no response to judge.")),
        };
        match (responses.pop(), responses.pop(), responses.pop()) {
            (Some(one), None, None) => Ok(Responses::One(one)),
            (Some(second), Some(first), None) => Ok(Responses::Pair(first, second)),
            _ => Err(ApiError::invalid("responses", "Give one response to score or two to compare.")),
        }
    }

    fn take_ids(&mut self, count: usize) -> Result<Vec<String>, ApiError> {
        let (path, ids) = match (self.response_id.take(), self.response_ids.take()) {
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid("response_id", "Give response_id or response_ids, not both."));
            }
            (Some(id), None) => ("response_id", vec![id]),
            (None, ids) => ("response_ids", ids.unwrap_or_default()),
        };
        evaluations::check_ids(&ids, count, path)?;
        Ok(ids)
    }

    fn take_rubrics(&mut self) -> Result<Rubrics, ApiError> {
        let (rubric, criteria, scale) = (self.rubric.take(), self.criteria.take(), self.scale.take());
        match self.rubrics.take() {
            None => Ok(Rubrics::One(PlacedRubric {
                path: path_of_rubric(rubric.as_ref()).to_owned(),
                choice: choose_rubric(rubric, criteria, scale)?,
            })),
            Some(_) if rubric.is_some() || criteria.is_some() || scale.is_some() => {
                Err(ApiError::invalid("rubrics", "Give one rubric or several, not both."))
            }
            Some(several) if several.is_empty() || several.len() > MOST => {
                Err(ApiError::invalid("rubrics", format!("Give 1 to {MOST} rubrics.")))
            }
            Some(several) => {
                let place = |(index, rubric): (usize, ChosenRubric)| PlacedRubric {
                    choice: rubric.into(),
                    path: format!("rubrics[{index}]."),
                };
                Ok(Rubrics::Several(several.into_iter().enumerate().map(place).collect()))
            }
        }
    }

    /// What is asked for. Of the ways that exclude each other, the error names one.
    fn asked(&mut self, responses: &Responses) -> Result<Asked, ApiError> {
        let form = self.form(responses)?;
        let single = form.verdicts() == 1;
        match (self.take_rubrics()?, self.expect.take(), self.stream) {
            (Rubrics::One(rubric), None, false) => Ok(Asked::One(rubric, form)),
            (Rubrics::Several(rubrics), None, false) => Ok(Asked::Several(rubrics, form)),
            (Rubrics::One(rubric), None, true) if single => Ok(Asked::Stream(rubric)),
            (Rubrics::One(rubric), Some(receipt), false) if single => {
                Ok(Asked::Replay(rubric, Box::new(receipt)))
            }
            (Rubrics::One(_) | Rubrics::Several(_), _, true) => {
                let param = if self.order == OrderBody::Given { "stream" } else { "order" };
                Err(ApiError::invalid(param, "Only a single verdict is streamed."))
            }
            (Rubrics::One(_) | Rubrics::Several(_), Some(_), false) => {
                Err(ApiError::invalid("expect", "A receipt is of a single verdict."))
            }
        }
    }

    /// How the verdict by a rubric is made.
    fn form(&self, responses: &Responses) -> Result<Form, ApiError> {
        let refuse = |param: &str, message: &str| Err(ApiError::invalid(param, message));
        let (samples, orders) = (self.samples.unwrap_or(1), Orders::from(self.order));
        if samples == 0 || samples > MOST {
            return Err(ApiError::invalid("samples", format!("Give 1 to {MOST} samples.")));
        }
        if orders != Orders::Given && matches!(responses, Responses::One(_)) {
            return refuse("order", "Only two responses can be judged in both orders; there is one.");
        }
        if orders != Orders::Given && samples > 1 {
            return refuse("samples", "Samples are drawn in one order.");
        }
        if self.calibration != CalibrationBody::None && (self.stream || samples > 1) {
            return refuse("calibration", "What is streamed or drawn is not calibrated.");
        }
        if self.blind && self.images.is_empty() && self.frames.is_empty() {
            return refuse("blind", "There is no image to leave out.");
        }
        if self.blind && (samples > 1 || self.stream || self.expect.is_some()) {
            return refuse("blind", "What is drawn, streamed or replayed is not judged blind.");
        }
        let sight = if self.blind { Sight::AlsoBlind } else { Sight::Seeing };
        Ok(if samples > 1 { Form::Samples(samples) } else { Form::Verdict(orders, sight) })
    }

    /// Whether a verdict that is remembered may answer. What is drawn or replayed is wanted anew.
    fn remembering(&self, asked: &Asked) -> Remembering {
        match asked {
            Asked::Stream(_) | Asked::One(_, Form::Verdict(..)) | Asked::Several(_, Form::Verdict(..))
                if self.memo.unwrap_or(true) =>
            {
                Remembering::Allowed
            }
            Asked::Stream(_) | Asked::Replay(..) | Asked::One(..) | Asked::Several(..) => Remembering::Off,
        }
    }

    /// How tokens are drawn; a receipt says it where the body does not.
    fn drawing(&self, asked: &Asked) -> Result<Drawing, ApiError> {
        let (usual, samples) = match asked {
            Asked::Replay(_, receipt) => (receipt.drawing(), false),
            Asked::One(_, Form::Samples(_)) | Asked::Several(_, Form::Samples(_)) => {
                (Drawing { temperature: 1.0, ..Drawing::default() }, true)
            }
            Asked::Stream(_) | Asked::One(_, Form::Verdict(..)) | Asked::Several(_, Form::Verdict(..)) => {
                (Drawing::default(), false)
            }
        };
        let temperature = self.temperature.unwrap_or(usual.temperature);
        let top_p = self.top_p.unwrap_or(usual.top_p);
        if !(0.0..=2.0).contains(&temperature) {
            return Err(ApiError::invalid("temperature", "The temperature is from 0 to 2."));
        }
        if samples && temperature == 0.0 {
            return Err(ApiError::invalid("temperature", "At temperature 0 all samples are the same."));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(ApiError::invalid("top_p", "top_p is above 0 and at most 1."));
        }
        Ok(Drawing { temperature, top_p, seed: self.seed.or(usual.seed) })
    }
}

/// Refuses more tokens than are ever written. Our own clients are told of it; those of OpenAI's interface say any number for all
/// the room there is.
pub(super) fn check_max_tokens(max_tokens: Option<usize>, limits: &ContentLimits) -> Result<(), ApiError> {
    let most = limits.output_tokens;
    if max_tokens.is_some_and(|tokens| tokens > most) {
        let message = format!("max_tokens must be at most {most} (max_output_tokens).");
        return Err(ApiError::out_of_bounds("max_tokens", message));
    }
    Ok(())
}

/// Refuses a question that says nothing.
pub(super) fn check_text(text: &str, path: &str) -> Result<(), ApiError> {
    if text.trim().is_empty() { Err(ApiError::invalid(path, format!("{path} is empty."))) } else { Ok(()) }
}

/// The images and the frames of a case, which stands at `path` of the body.
pub(super) fn read_images(
    (images, frames): (&[String], &[String]),
    path: &str,
    reader: &ImageReader<'_>,
) -> Result<(Vec<EncodedImage>, Vec<EncodedImage>), ApiError> {
    let read_all = |images: &[String], field: &str| {
        let path = format!("{path}{field}");
        let read = |(index, image): (usize, &String)| reader.read(image, &format!("{path}[{index}]"));
        images.iter().enumerate().map(read).collect::<Result<_, ApiError>>()
    };
    Ok((read_all(images, "images")?, read_all(frames, "frames")?))
}
