//! Resolves the name of a model to a folder on disk: a local folder, or a hub repository through the shared cache.
//!
//! The cache has the layout of the hub's own clients (`models--owner--name/{blobs,refs,snapshots}`), so models that
//! other tools downloaded are found, and vice versa. Only the files that a critic reads are downloaded.

mod download;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    path::{Path, PathBuf},
};

use hf_hub::{Cache, Repo, RepoType};
use serde::Deserialize;

use download::{Hub, RepoInfo};

/// The default hub and revision.
const ENDPOINT: &str = "https://huggingface.co";
const DEFAULT_REVISION: &str = "main";

const CONFIG: &str = "config.json";
const INDEX: &str = "model.safetensors.index.json";
const SINGLE_WEIGHTS: &str = "model.safetensors";

/// Small files that a checkpoint may have beside its configuration and weights.
const OPTIONAL_FILES: [&str; 9] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "generation_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// How the hub is accessed. The default is the main branch on the public hub, with the token of an earlier login.
#[derive(Clone, Default)]
pub struct HubOptions {
    /// Address of a mirror; by default the public hub.
    pub endpoint: Option<String>,
    /// Cache folder; by default the one in the home folder that the hub's other clients use.
    pub cache: Option<PathBuf>,
    /// Access token, for gated and private repositories; by default, on the public hub, that of an earlier login.
    pub token: Option<String>,
    /// Branch, tag or commit; by default the main branch.
    pub revision: Option<String>,
    /// Whether to use only the cache, without any request.
    pub offline: bool,
}

impl fmt::Debug for HubOptions {
    /// Leaves the token out, because options are written to logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubOptions")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("revision", &self.revision)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

/// Why a model cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The name is neither a folder nor the name of a repository.
    #[error("{model:?} is neither a folder nor a model id of the form owner/name")]
    NotAModel {
        /// The requested name.
        model: String,
    },
    /// The revision cannot be a branch, tag or commit.
    #[error("{revision:?} cannot be the name of a revision")]
    NotARevision {
        /// The requested revision.
        revision: String,
    },
    /// The hub requires a token, and none was given.
    #[error("{model} is gated, private or absent: it needs an access token, and none was given")]
    TokenRequired {
        /// The repository.
        model: String,
    },
    /// The token that was given has no access.
    #[error("{model} is gated, private or absent: the access token that was given has no access to it")]
    AccessDenied {
        /// The repository.
        model: String,
    },
    /// The hub has no such repository or revision.
    #[error("the hub has no {model} at revision {revision}")]
    NotFound {
        /// The repository.
        model: String,
        /// The branch, tag or commit.
        revision: String,
    },
    /// A file that every checkpoint needs is not in the repository.
    #[error("{model} has no {file}, which a critic needs")]
    MissingFile {
        /// The repository.
        model: String,
        /// Name of the file.
        file: String,
    },
    /// Downloads are switched off, and the cache does not contain the whole model.
    #[error(
        "{model} is not complete in the cache {cache}: {missing} is missing, and downloads are switched off"
    )]
    NotCached {
        /// The repository.
        model: String,
        /// The cache folder.
        cache: String,
        /// The first missing file, or the revision if it is missing altogether.
        missing: String,
    },
    /// The hub could not be reached, or failed.
    #[error("the hub cannot be reached at {url}")]
    Unreachable {
        /// The requested address.
        url: String,
        /// The cause.
        #[source]
        cause: Unanswered,
    },
    /// A response is not one that a hub sends.
    #[error("{url} does not answer as a model hub does: {reason}")]
    Answer {
        /// The requested address.
        url: String,
        /// What is wrong with the response.
        reason: String,
    },
    /// A file did not match the hash that the hub announced, twice; it has been removed from the cache.
    #[error("{file} of {model} arrived damaged twice; what arrived has been removed")]
    Damaged {
        /// The repository.
        model: String,
        /// Name of the file.
        file: String,
    },
    /// The cache folder cannot be used.
    #[error("{path} cannot be used")]
    Cache {
        /// The file or folder.
        path: String,
        /// The I/O error.
        #[source]
        cause: std::io::Error,
    },
}

/// Why there was no response from the hub, or no complete one.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The hub responded with a status that may be temporary: 408, 429 or 5xx.
    #[error("it answers with status {0}")]
    Status(u16),
    /// There was no connection, or it broke before the response. The message already contains the system's error.
    #[error("{0}")]
    Transport(Box<ureq::Transport>),
    /// The connection broke while a file was transferred.
    #[error("the connection broke")]
    Broken(#[source] std::io::Error),
    /// The response ended before all announced bytes arrived.
    #[error("it ended early")]
    Short,
}

impl HubError {
    fn cache(path: &Path, cause: std::io::Error) -> Self {
        Self::Cache { path: path.display().to_string(), cause }
    }
}

/// One revision of one repository.
#[derive(Debug, Clone)]
struct Model {
    id: String,
    revision: String,
}

impl Model {
    /// Parses `owner/name`. Both names become parts of a path, so only characters that the hub uses are accepted.
    ///
    /// # Errors
    /// [`HubError::NotAModel`] and [`HubError::NotARevision`].
    fn parse(id: &str, revision: Option<&str>) -> Result<Self, HubError> {
        let plain = |text: &str, more: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c) || more.contains(c);
            !text.is_empty()
                && !text.starts_with(['.', '/'])
                && !text.contains("..")
                && text.chars().all(allowed)
        };
        let named = id.split_once('/').is_some_and(|(owner, name)| plain(owner, "") && plain(name, ""));
        if !named {
            return Err(HubError::NotAModel { model: id.into() });
        }
        let revision = revision.unwrap_or(DEFAULT_REVISION);
        if !plain(revision, "/") {
            return Err(HubError::NotARevision { revision: revision.into() });
        }
        Ok(Self { id: id.into(), revision: revision.into() })
    }

    fn repo(&self) -> Repo {
        Repo::with_revision(self.id.clone(), RepoType::Model, self.revision.clone())
    }
}

/// The folder of `model`: the local folder of that path, or a snapshot of the hub repository `owner/name`.
///
/// A repository is updated first; when the hub cannot be reached and the cache contains the whole model, the cached
/// one is used. An interrupted download is resumed. Blocks until everything is on disk.
///
/// # Errors
/// [`HubError`], whose message is one sentence about what is missing or refused.
pub fn resolve(model: &str, options: &HubOptions) -> Result<PathBuf, HubError> {
    if Path::new(model).is_dir() {
        return Ok(model.into());
    }
    let model = Model::parse(model, options.revision.as_deref())?;
    let store = Store::new(&model, options);
    if options.offline {
        return store.cached();
    }
    match Hub::new(&model, options).and_then(|hub| fetch(&hub, &model, &store)) {
        Err(error @ HubError::Unreachable { .. }) => {
            let folder = store.cached().map_err(|_| error)?; // report the unreachable hub, not the incomplete cache
            tracing::warn!(model = model.id, "the hub cannot be reached; using the cached model");
            Ok(folder)
        }
        outcome => outcome,
    }
}

/// Downloads the files that the cache lacks and returns the snapshot. The weights come last, so that where they
/// exist, all other files do.
fn fetch(hub: &Hub, model: &Model, store: &Store) -> Result<PathBuf, HubError> {
    let RepoInfo { siblings, sha } = hub.info()?;
    let listed: HashSet<&str> = siblings.iter().map(|sibling| sibling.rfilename.as_str()).collect();
    let missing = |file: &str| HubError::MissingFile { model: model.id.clone(), file: file.into() };
    // As in transformers: an index beside a single file belongs to earlier weights.
    let is_sharded = listed.contains(INDEX) && !listed.contains(SINGLE_WEIGHTS);
    let weights = if is_sharded { INDEX } else { SINGLE_WEIGHTS };
    if let Some(absent) = [CONFIG, weights].into_iter().find(|file| !listed.contains(file)) {
        return Err(missing(absent));
    }
    for file in OPTIONAL_FILES.into_iter().filter(|file| listed.contains(file)) {
        hub.download(file, &sha, store)?; // a file that is listed but does not exist is ignored
    }
    for file in [CONFIG, weights] {
        hub.download(file, &sha, store)?.ok_or_else(|| missing(file))?;
    }
    let folder = store.snapshot(&sha);
    if weights == INDEX {
        for shard in shards(&folder, &model.id)? {
            hub.download(&shard, &sha, store)?.ok_or_else(|| missing(&shard))?;
        }
    }
    // The branch points to the snapshot only now, so that the cache never contains a branch with half a model.
    store.point(&sha)?;
    Ok(folder)
}

/// The weight files that a snapshot's index lists, sorted.
fn shards(folder: &Path, model: &str) -> Result<Vec<String>, HubError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let path = folder.join(INDEX);
    let bytes = std::fs::read(&path).map_err(|cause| HubError::cache(&path, cause))?;
    let bad = |reason: String| HubError::Answer { url: format!("{INDEX} of {model}"), reason };
    let index: Index = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
    let mut files: Vec<String> = index.weight_map.into_values().collect();
    files.sort_unstable();
    files.dedup();
    // The names become parts of paths.
    match files.iter().find(|file| !file.ends_with(".safetensors") || file.contains(['/', '\\'])) {
        Some(file) => Err(bad(format!("it lists {file:?} as a weight file"))),
        None => Ok(files),
    }
}

/// The part of the cache that belongs to one repository.
#[derive(Debug)]
struct Store {
    model: Model,
    cache: Cache,
    root: PathBuf,
}

impl Store {
    fn new(model: &Model, options: &HubOptions) -> Self {
        let cache = options.cache.clone().map_or_else(Cache::default, Cache::new);
        let root = cache.path().join(model.repo().folder_name());
        Self { model: model.clone(), cache, root }
    }

    /// The folder with the files of one commit.
    fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// The file with the bytes of this ETag.
    fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    /// Records that the revision is `commit`.
    fn point(&self, commit: &str) -> Result<(), HubError> {
        let repo = self.cache.repo(self.model.repo());
        repo.create_ref(commit).map_err(|cause| HubError::cache(&self.root.join("refs"), cause))
    }

    /// The cached snapshot of the revision.
    ///
    /// # Errors
    /// [`HubError::NotCached`] when a file that a critic needs is missing.
    fn cached(&self) -> Result<PathBuf, HubError> {
        let incomplete = |missing: String| HubError::NotCached {
            model: self.model.id.clone(),
            cache: self.cache.path().display().to_string(),
            missing,
        };
        let revision = &self.model.revision;
        let commit = std::fs::read_to_string(self.root.join("refs").join(revision));
        let folder = self.snapshot(commit.as_deref().map_or(revision.as_str(), str::trim));
        if !folder.is_dir() {
            return Err(incomplete(format!("revision {revision}")));
        }
        let mut needed = vec![CONFIG.to_owned()];
        if folder.join(SINGLE_WEIGHTS).exists() || !folder.join(INDEX).exists() {
            needed.push(SINGLE_WEIGHTS.into());
        } else {
            needed.extend(shards(&folder, &self.model.id)?);
        }
        match needed.into_iter().find(|file| !folder.join(file).exists()) {
            Some(file) => Err(incomplete(file)),
            None => Ok(folder),
        }
    }
}
