//! LLaVA-Critic's training data: a human turn with a question and responses, and a GPT turn with the verdict.

mod human_turn;
mod verdict;

use std::{path::Path, slice};

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::{members, name, read_image};
use crate::item::{Image, Item};
use human_turn::Asked;

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
    let images = match &row.image {
        None | Some(Value::Null) => &[],
        Some(Value::Array(images)) => &images[..],
        Some(image) => slice::from_ref(image),
    };
    let images: Result<Vec<Image>, String> = images.iter().map(|image| read_image(image, folder)).collect();
    let text = human.value.replace("<image>", "");
    let asked = Asked::read(text.trim()).ok_or("its human turn has no layout that is known")?;
    Ok(Item {
        id: row.id.as_ref().map_or_else(|| asked.question.clone(), name),
        label: verdict::label(&asked, &gpt.value)?,
        images: images?,
        frames: Vec::new(),
        question: asked.question,
        reference: asked.reference,
        description: asked.description,
        rubric: None,
        criteria: None,
    })
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a fixed pattern is valid")
}
