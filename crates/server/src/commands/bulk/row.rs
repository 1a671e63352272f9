//! Reads the rows of an input file, and makes requests from them.

use std::{
    collections::HashSet,
    fs,
    path::{self, Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Task, digest, members::UnusedMembers};
use crate::{
    commands::image_folder::ImageFolder, dialects::null_as_default, hexadecimal::hexadecimal, images,
    json::line,
};

/// The members of a row. Lists may be null, which programs write for the columns that a row does not have. `others` may
/// contain settings for how the row is judged, besides arbitrary columns.
#[derive(Deserialize)]
struct RowBody {
    id: Option<Value>,
    #[serde(alias = "prompt")]
    question: String,
    image: Option<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    images: Vec<String>,
    /// The frames of a video.
    #[serde(default, deserialize_with = "null_as_default")]
    frames: Vec<String>,
    response: Option<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    responses: Vec<String>,
    reference: Option<String>,
    description: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// A question with its images and responses.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) question: String,
    /// Data URLs or paths, as given.
    pub(super) images: Vec<String>,
    /// The frames of a video: data URLs or paths, as given.
    pub(super) frames: Vec<String>,
    pub(super) responses: Vec<String>,
    pub(super) reference: Option<String>,
    /// A description of the images in words.
    description: Option<String>,
    /// The row's own settings for how it is judged, as members of its request.
    settings: Map<String, Value>,
    /// The folder that relative image paths start from.
    folder: PathBuf,
}

/// Reads all rows of a file. A row is identified by its `id`, or by its line number. Members of the names
/// `settings` are copied into the request of the row; other members that look like request fields cause a warning.
pub(super) fn read(path: &Path, settings: &[&str]) -> anyhow::Result<Vec<Task<Row>>> {
    let text = line::text_of(path)?;
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mut rows: Vec<Task<Row>> = Vec::new();
    let (mut ids, mut unused) = (HashSet::new(), UnusedMembers::default());
    for (index, line) in lines {
        let place = || format!("line {} of {}", index + 1, path.display());
        let mut body: RowBody = line::read(line, (index + 1, path))?;
        let id = match &body.id {
            Some(Value::String(id)) => id.clone(),
            Some(id) => id.to_string(),
            None => format!("line-{}", index + 1),
        };
        if !ids.insert(id.clone()) {
            bail!("{}: the id {id:?} comes twice", place());
        }
        body.others = unused.take_settings(body.others, index + 1, settings);
        let row = Row::new(body, folder.clone());
        rows.push(Task { id, image_key: row.image_key(), row: Some(row.digest()), input: row });
    }
    unused.warn();
    Ok(rows)
}

impl Row {
    fn new(body: RowBody, folder: PathBuf) -> Self {
        let images = body.image.into_iter().chain(body.images).collect();
        let responses = body.response.into_iter().chain(body.responses).collect();
        let (reference, description) = (body.reference, body.description);
        let (question, frames, settings) = (body.question, body.frames, body.others);
        Self { question, images, frames, responses, reference, description, settings, folder }
    }

    /// A key that is equal for rows with the same images: their paths, and digests of those inside the row.
    fn image_key(&self) -> String {
        let key = |image: &String| {
            let is_inside = image.starts_with("data:");
            if is_inside { hexadecimal(&Sha256::digest(image)) } else { image.clone() }
        };
        self.images.iter().chain(&self.frames).map(key).collect::<Vec<_>>().join("\n")
    }

    /// A digest of all that its result depends on, as far as the file says it: paths of images, but not their content.
    fn digest(&self) -> String {
        let Self { question, images, frames, responses, reference, description, settings, folder: _ } = self;
        digest(&json!([question, images, frames, responses, reference, description, settings]))
    }

    /// The body of a request for this row, with `options` as further members, which the row's own settings
    /// override.
    pub(super) fn body(&self, options: &Value) -> anyhow::Result<Value> {
        let read = |images: &[String]| images.iter().map(|image| self.image(image)).collect();
        let (images, frames): (anyhow::Result<Vec<_>>, anyhow::Result<Vec<_>>) =
            (read(&self.images), read(&self.frames));
        let mut body = options.clone();
        if self.settings.contains_key("criteria")
            && let Value::Object(body) = &mut body
        {
            // Criteria replace a rubric.
            body.remove("rubric");
        }
        for (name, value) in &self.settings {
            body[name.as_str()] = value.clone();
        }
        body["question"] = self.question.as_str().into();
        body["images"] = images?.into();
        if !self.frames.is_empty() {
            body["frames"] = frames?.into();
        }
        body["responses"] = self.responses.clone().into();
        for (name, value) in [("reference", &self.reference), ("description", &self.description)] {
            if let Some(value) = value {
                body[name] = value.as_str().into();
            }
        }
        Ok(body)
    }

    /// The images as paths for a file beside the folder `kept`, whose own path must be absolute: data URLs become files
    /// in that folder, and paths are relative if the row's own folder is the file's or within it, otherwise absolute.
    pub(super) fn images_beside(&self, kept: &ImageFolder) -> anyhow::Result<Vec<String>> {
        let path_of = |image: &String| -> anyhow::Result<String> {
            if image.starts_with("data:") {
                let image =
                    images::decoded(image, "images").map_err(|error| anyhow!("{}", error.message()))?;
                return kept.keep(image.bytes());
            }
            if Path::new(image).is_absolute() {
                return Ok(image.clone());
            }
            let path = self.folder.join(image);
            let path = path::absolute(&path).with_context(|| format!("{} has no place", path.display()))?;
            Ok(path.strip_prefix(kept.base()).unwrap_or(&path).to_string_lossy().into_owned())
        };
        self.images.iter().map(path_of).collect()
    }

    /// An image as requests contain it: a data URL as given, or the content of a file in base64.
    fn image(&self, image: &str) -> anyhow::Result<String> {
        if image.starts_with("data:") {
            return Ok(image.to_owned());
        }
        let path = self.folder.join(image);
        let bytes = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(BASE64_STANDARD.encode(bytes))
    }
}
