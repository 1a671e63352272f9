//! Rows of the input.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use judge::{Case, EncodedImage, Responses};
use serde::Deserialize;
use serde_json::Value;

use crate::images;

/// Members of a row. Others are left alone, as data files have columns of all kinds.
#[derive(Deserialize)]
struct RowBody {
    id: Option<Value>,
    #[serde(alias = "prompt")]
    question: String,
    image: Option<String>,
    #[serde(default)]
    images: Vec<String>,
    /// Of a video.
    #[serde(default)]
    frames: Vec<String>,
    response: Option<String>,
    #[serde(default)]
    responses: Vec<String>,
    reference: Option<String>,
    description: Option<String>,
}

/// A question with its responses.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Its own, or its line's.
    pub(super) id: String,
    pub(super) question: String,
    /// As they were given.
    pub(super) images: Vec<String>,
    /// The frames of a video, as they were given.
    frames: Vec<String>,
    pub(super) responses: Vec<String>,
    pub(super) reference: Option<String>,
    /// What the images show, in words.
    pub(super) description: Option<String>,
    /// Where image paths begin.
    folder: PathBuf,
}

/// All rows of a file.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Row>> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mut rows: Vec<Row> = Vec::new();
    let mut ids = std::collections::HashSet::new();
    for (index, line) in lines {
        let place = || format!("line {} of {}", index + 1, path.display());
        let body: RowBody = serde_json::from_str(line).with_context(place)?;
        let row = Row::new(body, index + 1, folder.clone());
        if !ids.insert(row.id.clone()) {
            bail!("{}: the id {:?} comes twice", place(), row.id);
        }
        rows.push(row);
    }
    Ok(rows)
}

impl Row {
    fn new(body: RowBody, line: usize, folder: PathBuf) -> Self {
        let id = match body.id {
            Some(Value::String(id)) => id,
            Some(id) => id.to_string(),
            None => format!("line-{line}"),
        };
        let images = body.image.into_iter().chain(body.images).collect();
        let responses = body.response.into_iter().chain(body.responses).collect();
        let (reference, description) = (body.reference, body.description);
        Self {
            id,
            question: body.question,
            images,
            frames: body.frames,
            responses,
            reference,
            description,
            folder,
        }
    }

    /// The case, with its first responses as those to judge.
    pub(super) fn case(&self) -> anyhow::Result<Case> {
        let responses = match &self.responses[..] {
            [one] => Responses::One(one.clone()),
            [first, second, ..] => Responses::Pair(first.clone(), second.clone()),
            [] => bail!("there is no response"),
        };
        let read = |images: &[String]| images.iter().map(|image| self.image(image)).collect();
        let images: anyhow::Result<Vec<EncodedImage>> = read(&self.images);
        let frames: anyhow::Result<Vec<EncodedImage>> = read(&self.frames);
        let (images, frames) = (images?, frames?);
        let (reference, description) = (self.reference.clone(), self.description.clone());
        Ok(Case { question: self.question.clone(), images, frames, responses, reference, description })
    }

    fn image(&self, image: &str) -> anyhow::Result<EncodedImage> {
        if image.starts_with("data:") {
            return images::read(image, "image").map_err(|error| anyhow::anyhow!("{}", error.message()));
        }
        let path = self.folder.join(image);
        let bytes = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(EncodedImage::new(bytes))
    }
}
