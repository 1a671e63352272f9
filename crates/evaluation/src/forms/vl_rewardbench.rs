//! VL-RewardBench: a query, two responses, and their ranks by people; 0 is the better rank.

use std::path::Path;

use rubric::Preference;
use serde::Deserialize;
use serde_json::Value;

use super::{members, name, read_image};
use crate::item::{Image, Item, Label};

#[derive(Deserialize)]
struct Row {
    id: Value,
    query: String,
    response: Vec<String>,
    human_ranking: Vec<usize>,
    image: Option<Value>,
    image_path: Option<String>,
}

pub(super) fn item(row: &Value, folder: &Path) -> Result<Item, String> {
    let Row { id, query, response, human_ranking, image, image_path } = members(row)?;
    let responses: [String; 2] = response.try_into().map_err(|_| "it has not two responses".to_owned())?;
    let better = match human_ranking[..] {
        [first, second] if first < second => Preference::First,
        [first, second] if second < first => Preference::Second,
        [_, _] => Preference::Tie,
        _ => return Err("it has not two ranks".into()),
    };
    let image = match (image, image_path) {
        (Some(image), _) => read_image(&image, folder)?,
        (None, Some(path)) => Image::new(&path, folder),
        (None, None) => return Err("it has no image".into()),
    };
    Ok(Item {
        id: name(&id),
        question: query.replace("<image>", "").trim().to_owned(),
        images: vec![image],
        frames: Vec::new(),
        reference: None,
        description: None,
        rubric: None,
        criteria: None,
        label: Label::Preference { responses, better },
    })
}
