//! Cases of the corpus as they stand in its files, and the requests that they make.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::{
    build::{BuildError, Builder},
    endpoint::Endpoint,
};
use crate::{
    error::BenchError,
    live::{Manner, Pace, Request, Then},
};

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaseFile {
    /// What they are about.
    pub(crate) title: String,
    /// Options of `gavel serve` that they need beside the usual ones.
    #[serde(default)]
    pub(crate) serve: Vec<String>,
    /// The key that the harness itself shows.
    pub(crate) key: Option<String>,
    #[serde(default)]
    pub(crate) case: Vec<Case>,
    #[serde(skip)]
    pub(crate) path: PathBuf,
}

/// A case: bad input of one kind, in one variant or several, and what is to be answered.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) id: String,
    /// What it is, for people.
    #[expect(dead_code, reason = "read by people, and asked for so that no case is without")]
    what: String,
    /// Where it is sent.
    #[serde(default = "Endpoint::all")]
    to: Vec<Endpoint>,
    /// Whole requests, byte for byte; `{host}` is the server.
    #[serde(default)]
    raw: Vec<Value>,
    /// What is done when everything was sent.
    #[serde(default)]
    then: Then,
    /// How slowly bodies are sent, or raw requests.
    slowly: Option<Pace>,
    /// Whole bodies.
    #[serde(default)]
    body: Vec<Value>,
    /// Members that are put into a good body, or replace its own.
    #[serde(default)]
    extra: Vec<Value>,
    /// What is asked.
    #[serde(default)]
    text: Vec<Value>,
    /// A response that is judged.
    #[serde(default)]
    response: Vec<Value>,
    /// Text that is put into each place in turn where a client may put text.
    #[serde(default)]
    everywhere: Vec<Value>,
    /// The image.
    #[serde(default)]
    image: Vec<Value>,
    /// All images.
    #[serde(default)]
    images: Vec<Value>,
    /// Paths that are asked for.
    #[serde(default)]
    path: Vec<String>,
    /// The method for `path` and `body`.
    method: Option<String>,
    /// Header fields beside or in place of the usual ones.
    #[serde(default)]
    headers: Vec<(String, Value)>,
    /// Statuses of which one is to come; 0 is a connection that is closed without an answer.
    pub(crate) status: Vec<u16>,
    /// Codes of which one is to come with an error; any when there are none.
    #[serde(default)]
    pub(crate) code: Vec<String>,
    /// Answers on one connection, for requests that follow each other.
    #[serde(default = "one")]
    pub(crate) replies: usize,
    /// Left out of a short run.
    #[serde(default)]
    pub(crate) slow: bool,
}

fn one() -> usize {
    1
}

/// A request of a case.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Which variant, and where to.
    pub(crate) label: String,
    pub(crate) request: Request,
    pub(crate) has_image: bool,
}

impl CaseFile {
    /// All files of a folder whose names end in `.toml`, by name.
    ///
    /// # Errors
    /// [`BenchError::Corpus`] when one cannot be read.
    pub(crate) fn all(folder: &Path) -> Result<Vec<Self>, BenchError> {
        let failed =
            |path: &Path, reason: String| BenchError::Corpus { place: path.display().to_string(), reason };
        let entries = fs::read_dir(folder).map_err(|error| failed(folder, error.to_string()))?;
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
        paths.sort();
        if paths.is_empty() {
            return Err(failed(folder, "there are no cases".to_owned()));
        }
        let read = |path: PathBuf| {
            let text = fs::read_to_string(&path).map_err(|error| failed(&path, error.to_string()))?;
            let file: Self = toml::from_str(&text).map_err(|error| failed(&path, error.to_string()))?;
            Ok(Self { path, ..file })
        };
        paths.into_iter().map(read).collect()
    }
}

impl Case {
    /// The first letters of its name, such as `J`.
    pub(crate) fn family(&self) -> &str {
        self.id.split('-').next().unwrap_or(&self.id)
    }

    /// How they are sent.
    pub(crate) fn manner(&self) -> Manner {
        Manner { replies: self.replies, then: self.then, pace: self.slowly }
    }

    /// All its requests.
    ///
    /// # Errors
    /// When a description makes nothing.
    pub(crate) fn requests(&self, builder: Builder<'_>) -> Result<Vec<Sent>, BuildError> {
        let mut all = Vec::new();
        for (index, raw) in self.raw.iter().enumerate() {
            let request = Request::Raw(builder.bytes(raw)?);
            all.push(Sent { label: format!("raw {index}"), request, has_image: false });
        }
        for path in &self.path {
            let method = self.method.clone().unwrap_or_else(|| "GET".into());
            let bodies = if self.body.is_empty() { &[Value::String(String::new())][..] } else { &self.body };
            for body in bodies {
                let request = self.composed((method.clone(), path.clone()), builder.bytes(body)?, builder)?;
                all.push(Sent { label: format!("{method} {path}"), request, has_image: false });
            }
        }
        for endpoint in &self.to {
            let mut send = |what: String, body: Vec<u8>, has_image: bool| {
                let method = self.method.clone().unwrap_or_else(|| "POST".into());
                let request = if *endpoint == Endpoint::Batch {
                    Request::Line { path: endpoint.path(), body }
                } else {
                    self.composed((method, endpoint.path().to_owned()), body, builder)?
                };
                all.push(Sent { label: format!("{}, {what}", endpoint.name()), request, has_image });
                Ok::<_, BuildError>(())
            };
            if self.path.is_empty() {
                for (index, body) in self.body.iter().enumerate() {
                    send(format!("body {index}"), builder.bytes(body)?, false)?;
                }
            }
            for (index, changes) in self.extra.iter().enumerate() {
                let body = endpoint.with_changes(builder.json(changes)?);
                send(format!("extra {index}"), body.to_string().into_bytes(), false)?;
            }
            for (index, text) in self.text.iter().enumerate() {
                let body = endpoint.with_text(builder.json(text)?);
                send(format!("text {index}"), body.to_string().into_bytes(), false)?;
            }
            for (index, text) in self.response.iter().enumerate() {
                let body = endpoint.with_response(builder.json(text)?);
                send(format!("response {index}"), body.to_string().into_bytes(), false)?;
            }
            for (index, text) in self.everywhere.iter().enumerate() {
                for (place, body) in endpoint.everywhere(&builder.json(text)?) {
                    send(format!("text {index} as {place}"), body.to_string().into_bytes(), false)?;
                }
            }
            for (index, image) in self.image.iter().enumerate() {
                let Some(body) = endpoint.with_images(&[builder.json(image)?]) else { break };
                send(format!("image {index}"), body.to_string().into_bytes(), true)?;
            }
            for (index, images) in self.images.iter().enumerate() {
                let images = builder.json(images)?;
                let images = images.as_array().map(Vec::as_slice).unwrap_or_default();
                let Some(body) = endpoint.with_images(images) else { break };
                send(format!("images {index}"), body.to_string().into_bytes(), true)?;
            }
        }
        Ok(all)
    }

    fn composed(
        &self,
        (method, path): (String, String),
        body: Vec<u8>,
        builder: Builder<'_>,
    ) -> Result<Request, BuildError> {
        let mut headers = vec![("content-type".to_owned(), b"application/json".to_vec())];
        for (name, value) in &self.headers {
            headers.retain(|(known, _)| known != name);
            if value != "$none" {
                headers.push((name.clone(), builder.bytes(value)?));
            }
        }
        Ok(Request::Composed { method, path, headers, body })
    }
}
