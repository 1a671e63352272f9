//! From the name of a model to a folder on disk: a folder as it is, a hub repository through the shared cache.
//!
//! The cache has the layout of the hub's own clients (`models--owner--name/{blobs,refs,snapshots}`), so a model that
//! another tool downloaded is found, and the other way round. Only the files that a critic reads are fetched.

mod download;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    path::{Path, PathBuf},
};

use hf_hub::{Cache, Repo, RepoType};
use serde::Deserialize;

use download::{Hub, RepoInfo};

/// Where models come from when nothing else is said.
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

/// How the hub is reached. The default asks the public hub for the main branch, with the token of an earlier login.
#[derive(Clone, Default)]
pub struct HubOptions {
    /// Address of the hub, for a mirror.
    pub endpoint: Option<String>,
    /// Cache folder; by default the one in the home folder that the hub's other clients use.
    pub cache: Option<PathBuf>,
    /// Access token, for gated and private repositories.
    pub token: Option<String>,
    /// Branch, tag or commit; by default the main branch.
    pub revision: Option<String>,
    /// Use only what is in the cache.
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

/// Why a model cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The name is neither a folder nor the name of a repository.
    #[error("{model:?} is neither a folder nor a model id of the form owner/name")]
    NotAModel {
        /// What was asked for.
        model: String,
    },
    /// The revision cannot be a branch, tag or commit.
    #[error("{revision:?} cannot be the name of a revision")]
    NotARevision {
        /// What was asked for.
        revision: String,
    },
    /// The hub wants a token that has access.
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
    /// The hub knows no such repository or revision.
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
    /// Offline, and the cache does not hold the whole model.
    #[error(
        "{model} is not complete in the cache {cache}: {missing} is missing, and downloads are switched off"
    )]
    NotCached {
        /// The repository.
        model: String,
        /// The cache folder.
        cache: String,
        /// The first file that is missing, or the whole revision.
        missing: String,
    },
    /// The hub could not be reached, or failed.
    #[error("the hub cannot be reached at {url}: {cause}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What went wrong.
        cause: String,
    },
    /// The hub answered something that a hub does not answer.
    #[error("{url} does not answer as a model hub does: {reason}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A file arrived with other bytes than the hub announced; it has been removed from the cache.
    #[error("{file} of {model} arrived damaged twice; what arrived has been removed")]
    Damaged {
        /// The repository.
        model: String,
        /// Name of the file.
        file: String,
    },
    /// The cache folder cannot be used.
    #[error("{path} cannot be used: {cause}")]
    Cache {
        /// The file or folder.
        path: String,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
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
    /// Reads `owner/name`. Both names become parts of a path, so only the hub's own characters pass.
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

/// The folder that holds `model`: the folder of that path, or a snapshot of the hub repository `owner/name`.
///
/// A repository is brought up to date first; when the hub cannot be reached and the cache holds the whole model, the
/// cached one is used. A download that was cut goes on where it stopped. Blocks until everything is on disk.
///
/// # Errors
/// [`HubError`] says in one sentence what is missing or refused.
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
            let folder = store.cached().map_err(|_| error)?; // the hub's silence is the cause, not the empty cache
            tracing::warn!(model = model.id, "the hub cannot be reached; using the cached model");
            Ok(folder)
        }
        outcome => outcome,
    }
}

/// Downloads what the cache lacks and returns the snapshot. The weights come last: where they are, all the rest is.
fn fetch(hub: &Hub, model: &Model, store: &Store) -> Result<PathBuf, HubError> {
    let RepoInfo { siblings, sha } = hub.info()?;
    let listed: HashSet<&str> = siblings.iter().map(|sibling| sibling.rfilename.as_str()).collect();
    let missing = |file: &str| HubError::MissingFile { model: model.id.clone(), file: file.into() };
    // As transformers has it: an index beside a single file is of earlier weights.
    let is_sharded = listed.contains(INDEX) && !listed.contains(SINGLE_WEIGHTS);
    let weights = if is_sharded { INDEX } else { SINGLE_WEIGHTS };
    if let Some(absent) = [CONFIG, weights].into_iter().find(|file| !listed.contains(file)) {
        return Err(missing(absent));
    }
    for file in OPTIONAL_FILES.into_iter().filter(|file| listed.contains(file)) {
        hub.download(file, &sha, store)?; // listed and yet not there: as good as not listed
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
    // Only now does the branch point here, so that the cache alone never offers half a model.
    store.point(&sha)?;
    Ok(folder)
}

/// The weight files that a snapshot's index lists, in order.
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
    // The names become paths.
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

    /// Where the files of one commit are.
    fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// Where the bytes with this tag are.
    fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    /// Notes that the revision is `commit`.
    fn point(&self, commit: &str) -> Result<(), HubError> {
        let repo = self.cache.repo(self.model.repo());
        repo.create_ref(commit).map_err(|cause| HubError::cache(&self.root.join("refs"), cause))
    }

    /// The snapshot of the revision, if every file that a critic needs is there.
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
