//! LLaVA-Critic's training data: a human turn with a question and responses, and a GPT turn with the verdict.
//!
//! The layouts of human turns are those of the prompts that the data was made from: fields in square brackets
//! after their names, blocks of LLaVA-Bench, blocks of WildVision, and captions.

use std::{path::Path, sync::LazyLock};

use regex::Regex;
use rubric::{AnswerForm, Confidence, Direction, Ending, Outcome, Scale, VerdictParser};
use serde::Deserialize;
use serde_json::Value;

use super::{members, name};
use crate::{Image, Item, Label, ReferenceScale};

#[derive(Deserialize)]
struct Row {
    id: Option<Value>,
    #[serde(default)]
    image: Option<Value>,
    conversations: Vec<Turn>,
}

#[derive(Deserialize)]
struct Turn {
    from: String,
    value: String,
}

pub(super) fn item(row: &Value, folder: &Path) -> Result<Item, String> {
    let row: Row = members(row)?;
    let turn = |names: &[&str]| row.conversations.iter().find(|turn| names.contains(&turn.from.as_str()));
    let human = turn(&["human", "user"]).ok_or("it has no human turn")?;
    let gpt = turn(&["gpt", "assistant"]).ok_or("it has no turn with a verdict")?;
    let images: Vec<&str> = match &row.image {
        Some(Value::String(path)) => vec![path],
        Some(Value::Array(paths)) => paths.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let text = human.value.replace("<image>", "");
    let asked = Asked::read(text.trim()).ok_or("its human turn has no layout that is known")?;
    Ok(Item {
        id: row.id.as_ref().map_or_else(|| asked.question.clone(), name),
        label: label(&asked, &gpt.value)?,
        images: images.into_iter().map(|image| Image::new(image, folder)).collect(),
        question: asked.question,
        reference: asked.reference,
        description: None,
        rubric: None,
    })
}

/// The content of a human turn.
struct Asked {
    question: String,
    reference: Option<String>,
    responses: Responses,
    /// The highest score, if the turn states one.
    greatest: Option<f64>,
}

enum Responses {
    One(String),
    Pair([String; 2]),
    /// The second of two responses; the first is the reference, and the verdict scores both.
    Beside(String),
}

static GREATEST: LazyLock<Regex> = LazyLock::new(|| regex(r"(?i)out of (\d+)|from 0 to (\d+)"));

impl Asked {
    fn read(text: &str) -> Option<Self> {
        let greatest = GREATEST
            .captures(text)
            .and_then(|found| found.iter().skip(1).flatten().next()?.as_str().parse().ok());
        let (question, reference, responses) = bracketed(text)
            .or_else(|| llava_bench(text))
            .or_else(|| wildvision(text))
            .or_else(|| caption(text))?;
        Some(Self { question, reference, responses, greatest })
    }
}

type Parts = (String, Option<String>, Responses);

/// `Question: [..]` and further fields, each on a line of its own. A field ends at the last bracket before the
/// next field.
fn bracketed(text: &str) -> Option<Parts> {
    static FIELD: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"(?im)^(?:(question)|(ground truth|reference)|((?:the )?(?:lmm )?response|answer)|((?:the )?(?:first response|response 1|response a|answer 1|answer a))|((?:the )?(?:second response|response 2|response b|answer 2|answer b)))\s*:\s*\[",
        )
    });
    let found: Vec<_> = FIELD.captures_iter(text).collect();
    let mut fields: [Option<String>; 5] = Default::default();
    for (index, field) in found.iter().enumerate() {
        let end = found.get(index + 1).map_or(text.len(), |next| next.get(0).map_or(0, |all| all.start()));
        let value = &text[field.get(0)?.end()..end];
        let value = &value[..value.rfind(']').unwrap_or(value.len())];
        let kind = (1..=5).find(|group| field.get(*group).is_some())?;
        fields[kind - 1] = Some(value.to_owned());
    }
    let [question, reference, one, first, second] = fields;
    let responses = match (one, first, second) {
        (None, Some(first), Some(second)) => Responses::Pair([first, second]),
        (Some(one), None, None) => Responses::One(one),
        _ => return None,
    };
    Some((question?, reference, responses))
}

/// `[Question]` and `[Assistant 1]` … `[End of Assistant 1]`. The first assistant is the reference.
fn llava_bench(text: &str) -> Option<Parts> {
    let between = |start: &str, end: &str| {
        let (_, rest) = text.split_once(start)?;
        Some(rest.split_once(end)?.0.trim().to_owned())
    };
    let question = between("[Question]", "[Assistant 1]")?;
    let first = between("[Assistant 1]", "[End of Assistant 1]")?;
    let second = between("[Assistant 2]", "[End of Assistant 2]")?;
    Some((question, Some(first), Responses::Beside(second)))
}

/// `<|User Prompt|>`, followed by the blocks of two assistants.
fn wildvision(text: &str) -> Option<Parts> {
    let block = |letter: &str| {
        let (_, rest) = text.split_once(&format!("<|The Start of Assistant {letter}'s Answer|>"))?;
        Some(rest.split_once(&format!("<|The End of Assistant {letter}'s Answer|>"))?.0.trim().to_owned())
    };
    let (_, rest) = text.split_once("<|User Prompt|>")?;
    let question = rest.split("<|The Start of").next()?.trim().to_owned();
    Some((question, None, Responses::Pair([block("A")?, block("B")?])))
}

/// `Text Caption: ..`, up to the instructions. These begin on a line of their own, as in the prompt of lmms-eval
/// (`EVALUATION_PROMPT_TEMPLATE_SIMPLE_V1` in its `tasks/internal_eval/dc100_en_utils.py`). Other instructions are what
/// follows the last blank line, since a caption may have several paragraphs.
fn caption(text: &str) -> Option<Parts> {
    const INSTRUCTIONS: &str = "\nFrom 0 to 100, how much do you rate";
    let (_, rest) = text.split_once("Text Caption:")?;
    // The caption comes first, so that the same words inside it are not the last ones.
    let parted = rest.rsplit_once(INSTRUCTIONS).or_else(|| rest.rsplit_once("\n\n"));
    let caption = parted.map_or(rest, |(caption, _)| caption).trim().trim_matches(['[', ']']);
    Some(("Describe the image in detail.".to_owned(), None, Responses::One(caption.to_owned())))
}

/// The label from a GPT turn, parsed with the answer forms that such turns have.
fn label(asked: &Asked, verdict: &str) -> Result<Label, String> {
    let hundred = Scale { min: 0.0, max: 100.0, step: 1.0, decimals: true };
    let ten = Scale { max: 10.0, ..hundred };
    let scale = asked.greatest.map_or(hundred, |max| Scale { max, ..hundred });
    let forms: &[(AnswerForm, Scale)] = match &asked.responses {
        Responses::One(_) => &[
            (AnswerForm::FinalScore, scale),
            (AnswerForm::BracketedScore, scale),
            (AnswerForm::Rating, Scale { max: asked.greatest.unwrap_or(6.0), ..hundred }),
        ],
        Responses::Pair(_) => &[
            (AnswerForm::BracketedPreference, hundred),
            (AnswerForm::FiveWay, hundred),
            (AnswerForm::ThreeWay, hundred),
            (AnswerForm::AnswerSentence, hundred),
            (AnswerForm::TwoScoresLine, ten),
        ],
        Responses::Beside(_) => &[(AnswerForm::TwoScoresLine, ten)],
    };
    let read = forms.iter().find_map(|(form, scale)| {
        let mut parser = VerdictParser::new(*form, Some(*scale), "").in_direction(Direction::Higher);
        parser.push(verdict.trim_start());
        let verdict = parser.finish(Ending::Complete).ok()?;
        // Guessed verdicts are not used as labels.
        (verdict.confidence == Confidence::Stated).then_some((verdict.outcome, *scale))
    });
    let (outcome, scale) = read.ok_or("its verdict cannot be read")?;
    let scale = Some(ReferenceScale { min: scale.min, max: scale.max });
    match (&asked.responses, outcome) {
        (Responses::One(response), Outcome::Score(score)) => {
            Ok(Label::Score { response: response.clone(), score, scale })
        }
        (Responses::Beside(response), Outcome::Scores(pair)) => {
            Ok(Label::Score { response: response.clone(), score: pair.scores()[1], scale })
        }
        (Responses::Pair(responses), outcome) => {
            let better = outcome.preference().ok_or("its verdict is no preference")?;
            Ok(Label::Preference { responses: responses.clone(), better })
        }
        _ => Err("its verdict is of another kind than its question".into()),
    }
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a fixed pattern is valid")
}
