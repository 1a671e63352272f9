//! Cases of the corpus as they stand in its files, and the requests that they make.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::{
    endpoint::Endpoint,
    vary::{Number, Pairs},
};
use crate::{
    error::BenchError,
    live::{Manner, Pace, Then},
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
    pub(super) to: Vec<Endpoint>,
    /// Whole requests, byte for byte; `{host}` is the server.
    #[serde(default)]
    pub(super) raw: Vec<Value>,
    /// What is done when everything was sent.
    #[serde(default)]
    then: Then,
    /// How slowly bodies are sent, or raw requests.
    slowly: Option<Pace>,
    /// Whole bodies.
    #[serde(default)]
    pub(super) body: Vec<Value>,
    /// Members that are put into a good body, or replace its own.
    #[serde(default)]
    pub(super) extra: Vec<Value>,
    /// What is asked.
    #[serde(default)]
    pub(super) text: Vec<Value>,
    /// A response that is judged.
    #[serde(default)]
    pub(super) response: Vec<Value>,
    /// Text that is put into each place in turn where a client may put text.
    #[serde(default)]
    pub(super) everywhere: Vec<Value>,
    /// The image.
    #[serde(default)]
    pub(super) image: Vec<Value>,
    /// Sides of which each two are the size of an image; those thinner than 200 to 1 are beyond the edges.
    #[serde(default)]
    pub(super) sizes: Vec<u32>,
    /// All images.
    #[serde(default)]
    pub(super) images: Vec<Value>,
    /// Numbers of a good body, each at its edges, beyond them, and in the place of them what is none.
    #[serde(default)]
    pub(super) numbers: Vec<Number>,
    /// Values of members, of which each two are put into a good body together.
    #[serde(default)]
    pub(super) pairs: Pairs,
    /// How often all that is made again, with other random bytes.
    #[serde(default = "one")]
    pub(super) times: usize,
    /// Paths that are asked for.
    #[serde(default)]
    pub(super) path: Vec<String>,
    /// The method for `path` and `body`.
    pub(super) method: Option<String>,
    /// Header fields beside or in place of the usual ones.
    #[serde(default)]
    pub(super) headers: Vec<(String, Value)>,
    /// Statuses of which one is to come; 0 is a connection that is closed without an answer.
    pub(crate) status: Vec<u16>,
    /// The same for `numbers` and `sizes` beyond their edges.
    #[serde(default)]
    pub(crate) refused: Vec<u16>,
    /// Codes of which one is to come with an error; any when there are none.
    #[serde(default)]
    pub(crate) code: Vec<String>,
    /// Answers on one connection, for requests that follow each other.
    #[serde(default = "one")]
    pub(crate) replies: usize,
    /// How many are sent at a time, after which the server is looked at once. One by one without it.
    pub(crate) at_once: Option<usize>,
    /// What all answers of a route are to each other.
    pub(crate) alike: Option<Alike>,
    /// How often the origin of images is asked for each request.
    pub(crate) fetched: Option<usize>,
    /// Left out of a short run.
    #[serde(default)]
    pub(crate) slow: bool,
}

/// What answers are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Alike {
    /// All the same.
    Same,
    /// Each another one.
    Different,
}

fn one() -> usize {
    1
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
}
