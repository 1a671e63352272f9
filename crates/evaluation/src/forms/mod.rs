//! Readers of labelled sets in several file formats.

mod gavel;
mod llava_critic;
mod mllm_as_a_judge;
mod vl_rewardbench;

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::EvaluationError,
    item::{Image, Item},
};

/// The form of a labelled set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Our own JSON lines: rows of bulk work, each with a label.
    Gavel,
    /// LLaVA-Critic's conversations, whose second turn has the verdict.
    LlavaCritic,
    /// Rows of VL-RewardBench.
    VlRewardbench,
    /// Rows of MLLM-as-a-Judge: scores, pairs or batches.
    MllmAsAJudge,
}

/// A row that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The number of the row, from 1.
    pub row: usize,
    /// The reason.
    pub reason: String,
}

/// A labelled set.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledSet {
    /// The form of its rows.
    pub form: Form,
    /// The rows that can be used.
    pub items: Vec<Item>,
    /// The rows that cannot be used.
    pub left_out: Vec<LeftOut>,
}

/// Reads a labelled set of `form`, or of the form detected from its first row. Image paths are relative to
/// `images`, or to the file's own folder if that is `None`.
///
/// # Errors
/// [`EvaluationError`] when the file cannot be read or parsed, its form is unknown, or no row can be used.
pub fn read(path: &Path, form: Option<Form>, images: Option<&Path>) -> Result<LabelledSet, EvaluationError> {
    let rows = rows(path)?;
    let unknown = || EvaluationError::UnknownForm(path.to_owned());
    let form = form.or_else(|| rows.first().and_then(detect)).ok_or_else(unknown)?;
    let folder = images.or(path.parent()).unwrap_or(Path::new(""));
    let read_row = match form {
        Form::Gavel => gavel::item,
        Form::LlavaCritic => llava_critic::item,
        Form::VlRewardbench => vl_rewardbench::item,
        Form::MllmAsAJudge => mllm_as_a_judge::item,
    };
    let mut set = LabelledSet { form, items: Vec::new(), left_out: Vec::new() };
    let mut ids = HashSet::new();
    for (index, row) in rows.iter().enumerate() {
        let row_number = index + 1;
        match read_row(row, folder) {
            Ok(item) => {
                // Published files repeat ids; appending the row number makes them unique.
                let id = item.id.clone();
                let id = if ids.contains(&id) { format!("{id}@{row_number}") } else { id };
                ids.insert(id.clone());
                set.items.push(Item { id, ..item });
            }
            Err(reason) => set.left_out.push(LeftOut { row: row_number, reason }),
        }
    }
    match set.left_out.first() {
        Some(first) if set.items.is_empty() => {
            Err(EvaluationError::Nothing { path: path.to_owned(), reason: first.reason.clone() })
        }
        _ => Ok(set),
    }
}

/// The rows of a file: a JSON array, or JSON lines. A byte order mark is ignored.
fn rows(path: &Path) -> Result<Vec<Value>, EvaluationError> {
    let wrong = |row: usize| move |source| EvaluationError::Json { path: PathBuf::from(path), row, source };
    let text =
        fs::read_to_string(path).map_err(|source| EvaluationError::File { path: path.to_owned(), source })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).map_err(wrong(1));
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(index, line)| serde_json::from_str(line).map_err(wrong(index + 1))).collect()
}

fn detect(row: &Value) -> Option<Form> {
    let has = |name: &str| row.get(name).is_some();
    if has("conversations") {
        Some(Form::LlavaCritic)
    } else if has("human_ranking") {
        Some(Form::VlRewardbench)
    } else if has("instruction") && (has("answer") || has("answer1") || has("answers")) {
        Some(Form::MllmAsAJudge)
    } else if has("question") || has("prompt") {
        Some(Form::Gavel)
    } else {
        None
    }
}

/// Deserialises a row into the members of a form.
fn members<'a, T: Deserialize<'a>>(row: &'a Value) -> Result<T, String> {
    T::deserialize(row).map_err(|error| error.to_string())
}

/// An id as text, whether it is a string or a number.
fn name(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A number, whether it is a JSON number or a string.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
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
