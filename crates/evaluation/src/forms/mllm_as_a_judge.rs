//! MLLM-as-a-Judge: an instruction with one answer and a score from 1 to 5; with two answers and `A`, `B`, or
//! `C` for a tie; or with several answers and their letters in order, best first.

use std::path::Path;

use rubric::{Direction, Preference};
use serde::Deserialize;
use serde_json::Value;

use super::{members, name, number};
use crate::item::{Image, Item, Label, ReferenceScale};

/// The scale of human scores.
const SCALE: ReferenceScale = ReferenceScale { min: 1.0, max: 5.0, direction: Some(Direction::Higher) };

#[derive(Deserialize)]
struct Row {
    id: Option<Value>,
    score_id: Option<Value>,
    pair_id: Option<Value>,
    instruction: String,
    image_path: String,
    answer: Option<Answer>,
    answer1: Option<Answer>,
    answer2: Option<Answer>,
    answers: Option<Vec<Answer>>,
    #[serde(alias = "human_answer")]
    human: Value,
}

/// An answer, with or without the name of the model that wrote it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Named { answer: String },
    Plain(String),
}

impl Answer {
    fn text(self) -> String {
        match self {
            Self::Named { answer } | Self::Plain(answer) => answer,
        }
    }
}

pub(super) fn item(row: &Value, folder: &Path) -> Result<Item, String> {
    let row: Row = members(row)?;
    let id = [("score", &row.score_id), ("pair", &row.pair_id), ("batch", &row.id)];
    let id = id.into_iter().find_map(|(kind, id)| Some(format!("{kind}-{}", name(id.as_ref()?))));
    let label = match (row.answer, (row.answer1, row.answer2), row.answers) {
        (Some(answer), _, _) => score(answer, &row.human)?,
        (None, (Some(first), Some(second)), _) => pair([first, second], &row.human)?,
        (None, _, Some(answers)) => batch(answers, &row.human)?,
        (None, _, None) => return Err("it has no answer".into()),
    };
    Ok(Item {
        id: id.unwrap_or_else(|| row.instruction.clone()),
        question: row.instruction,
        images: vec![Image::new(&row.image_path, folder)],
        frames: Vec::new(),
        reference: None,
        description: None,
        rubric: None,
        criteria: None,
        label,
    })
}

fn score(answer: Answer, human: &Value) -> Result<Label, String> {
    let score = number(human).filter(|score| (SCALE.min..=SCALE.max).contains(score));
    let score = score.ok_or_else(|| format!("{human} is no score from 1 to 5"))?;
    Ok(Label::Score { response: answer.text(), score, scale: Some(SCALE) })
}

fn pair(answers: [Answer; 2], human: &Value) -> Result<Label, String> {
    let better = match human.as_str().map(str::trim) {
        Some("A") => Preference::First,
        Some("B") => Preference::Second,
        Some("C") => Preference::Tie,
        _ => return Err(format!("{human} is not A, B or C")),
    };
    Ok(Label::Preference { responses: answers.map(Answer::text), better })
}

fn batch(answers: Vec<Answer>, human: &Value) -> Result<Label, String> {
    let wrong = || format!("{human} is no order of {} answers", answers.len());
    let order = human.as_str().map(str::trim).ok_or_else(wrong)?;
    let mut worths = vec![None; answers.len()];
    for (place, letter) in order.bytes().enumerate() {
        let index = usize::from(letter.wrapping_sub(b'A'));
        let worth = worths.get_mut(index).filter(|worth| worth.is_none()).ok_or_else(wrong)?;
        *worth = Some((answers.len() - place.min(answers.len())) as f64);
    }
    let worths = worths.into_iter().collect::<Option<Vec<f64>>>().ok_or_else(wrong)?;
    if worths.len() < 2 {
        return Err("one answer has no order".into());
    }
    Ok(Label::Group { responses: answers.into_iter().map(Answer::text).collect(), worths })
}
