//! VL-RewardBench: a query, two responses, and their ranks by people; 0 is the better rank.

use std::path::Path;

use base64::{Engine, prelude::BASE64_STANDARD};
use rubric::Preference;
use serde::Deserialize;
use serde_json::Value;

use super::{members, name};
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
        reference: None,
        description: None,
        rubric: None,
        label: Label::Preference { responses, better },
    })
}

/// An image in the forms that data set tools write: a path, a data URL, base64, or an object with `bytes` or `path`.
fn read_image(value: &Value, folder: &Path) -> Result<Image, String> {
    let wrong = || "its image is neither a path nor bytes".to_owned();
    match (value, value.get("bytes"), value.get("path")) {
        (Value::String(text), _, _) if is_image(text) => Ok(Image::Inline(text.clone())),
        (Value::String(path), _, _) => Ok(Image::new(path, folder)),
        (_, Some(Value::String(text)), _) => Ok(Image::Inline(text.clone())),
        (_, Some(Value::Array(bytes)), _) => {
            let byte = |value: &Value| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
            let bytes = bytes.iter().map(byte).collect::<Option<Vec<u8>>>().ok_or_else(wrong)?;
            Ok(Image::Inline(BASE64_STANDARD.encode(bytes)))
        }
        (_, _, Some(Value::String(path))) => Ok(Image::new(path, folder)),
        _ => Err(wrong()),
    }
}

/// Whether a text is an image in base64. The path of a file is not: its extension begins with a dot, which base64
/// does not have, and one without an extension does not decode to the signature of an image format.
fn is_image(text: &str) -> bool {
    BASE64_STANDARD.decode(text).is_ok_and(|bytes| image::guess_format(&bytes).is_ok())
}
