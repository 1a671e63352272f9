//! Cases of the corpus as they are in its files.

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
    live::{Manner, Then, WritePace},
};

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaseFile {
    /// The subject of the cases.
    pub(crate) title: String,
    /// Options of `gavel serve` that the cases need in addition to the usual ones.
    #[serde(default)]
    pub(crate) serve: Vec<String>,
    /// The API key that the harness itself uses.
    pub(crate) key: Option<String>,
    #[serde(default)]
    pub(crate) case: Vec<Case>,
    #[serde(skip)]
    pub(crate) path: PathBuf,
}

/// A case: bad input of one kind, in one or several variants, and the expected answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) id: String,
    /// A description for readers.
    #[expect(dead_code, reason = "read by people, and asked for so that no case is without")]
    what: String,
    /// The endpoints it is sent to.
    #[serde(default = "Endpoint::all")]
    pub(super) to: Vec<Endpoint>,
    /// Whole requests, byte for byte; `{host}` is replaced by the server's address.
    #[serde(default)]
    pub(super) raw: Vec<Value>,
    /// What happens after everything was sent.
    #[serde(default)]
    then: Then,
    /// How slowly bodies, or raw requests, are sent.
    slowly: Option<WritePace>,
    /// Whole bodies.
    #[serde(default)]
    pub(super) body: Vec<Value>,
    /// Members that are added to a valid body, or replace its own.
    #[serde(default)]
    pub(super) extra: Vec<Value>,
    /// Values for the question.
    #[serde(default)]
    pub(super) text: Vec<Value>,
    /// Values for the response to be judged.
    #[serde(default)]
    pub(super) response: Vec<Value>,
    /// Values that replace, one after another, each text that a client may set.
    #[serde(default)]
    pub(super) everywhere: Vec<Value>,
    /// Values for the image.
    #[serde(default)]
    pub(super) image: Vec<Value>,
    /// Side lengths; every pair is the size of an image. Aspect ratios above 200 to 1 must be refused.
    #[serde(default)]
    pub(super) sizes: Vec<u32>,
    /// Values for the list of images.
    #[serde(default)]
    pub(super) images: Vec<Value>,
    /// Numbers of a valid body: each at its bounds, beyond them, and replaced by values that are no such
    /// number.
    #[serde(default)]
    pub(super) numbers: Vec<Number>,
    /// Values of members; every two of different members are put into a valid body together.
    #[serde(default)]
    pub(super) pairs: Pairs,
    /// How often everything is repeated, with other random bytes each time.
    #[serde(default = "one")]
    pub(super) times: usize,
    /// Paths that are requested.
    #[serde(default)]
    pub(super) path: Vec<String>,
    /// The method for `path` and `body`.
    pub(super) method: Option<String>,
    /// Header fields that are added to the usual ones, or replace them.
    #[serde(default)]
    pub(super) headers: Vec<(String, Value)>,
    /// The permitted statuses; 0 is a connection that is closed without an answer.
    pub(crate) status: Vec<u16>,
    /// The permitted statuses for `numbers` and `sizes` beyond their bounds.
    #[serde(default)]
    pub(crate) refused: Vec<u16>,
    /// The permitted error codes; any if empty.
    #[serde(default)]
    pub(crate) code: Vec<String>,
    /// The number of answers on one connection, for pipelined requests.
    #[serde(default = "one")]
    pub(crate) replies: usize,
    /// The number of concurrent requests; the server is checked once after all of them. If `None`, requests are
    /// sent one by one, with a check after each.
    pub(crate) at_once: Option<usize>,
    /// How all answers of an endpoint must compare with each other.
    pub(crate) alike: Option<Alike>,
    /// How often each request must make the server fetch from the image origin.
    pub(crate) fetched: Option<usize>,
    /// Left out of a short run.
    #[serde(default)]
    pub(crate) slow: bool,
}

/// How answers compare with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Alike {
    /// All are equal.
    Same,
    /// No two are equal.
    Different,
}

fn one() -> usize {
    1
}

impl CaseFile {
    /// Reads all files of a folder whose names end in `.toml`, ordered by name.
    ///
    /// # Errors
    /// [`BenchError::Corpus`] when one cannot be read, or there are none.
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
    /// The part of its id before the first hyphen, such as `J`.
    pub(crate) fn family(&self) -> &str {
        self.id.split('-').next().unwrap_or(&self.id)
    }

    /// How its requests are sent.
    pub(crate) fn manner(&self) -> Manner {
        Manner { replies: self.replies, then: self.then, pace: self.slowly }
    }
}
