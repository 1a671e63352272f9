//! Access control: keys, their quotas, and the hosts that a server without keys accepts.

mod account;
mod bucket;
mod error;
mod expiry;
mod failed_auth_limit;
mod guard;
mod host;
mod key;
mod key_file;
mod key_ring;
mod rate_limit;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

pub(crate) use account::Grant;
pub(crate) use error::KeysError;
use failed_auth_limit::FailedAuthLimit;
pub(crate) use guard::{AdminAccess, OnBehalfOf, guard, guard_admin, presented};
pub(crate) use host::HostRule;
pub(crate) use key::{FormsOfKey, Key, new_key};
pub(crate) use key_file::{KEYS, KeyProblem, read_keys, unknown_forms};
pub(crate) use key_ring::KeyRing;
pub(crate) use rate_limit::{Admission, QuotaPolicy, rate_limit};

/// The files that keys are read from, in the tables `[[keys]]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeySource {
    /// The configuration file, if there is one; it may contain keys.
    pub(crate) configuration: Option<PathBuf>,
    /// The file of `--keys-file`, which contains only keys.
    pub(crate) keys_file: Option<PathBuf>,
}

impl KeySource {
    /// The paths of the files, the configuration file first.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.configuration, &self.keys_file].into_iter().flatten().map(PathBuf::as_path)
    }

    /// Reads the keys of all files.
    ///
    /// # Errors
    /// If a file cannot be read, if it has invalid entries (all problems of the first such file, with line
    /// numbers), or if the files have two keys with the same id or the same digest.
    fn read(&self) -> Result<Vec<Key>, KeysError> {
        let mut keys: Vec<Key> = Vec::new();
        for file in self.paths() {
            let path = || file.to_owned();
            let text = std::fs::read_to_string(file)
                .map_err(|source| KeysError::Unreadable { path: path(), source })?;
            let keys_here =
                read_keys(&text).map_err(|problems| KeysError::Invalid { path: path(), problems })?;
            for key in keys_here {
                if keys.iter().any(|other| other.id == key.id) {
                    return Err(KeysError::SameId { path: path(), id: key.id });
                }
                if let Some(other) = keys.iter().find(|other| other.digest == key.digest) {
                    let other = other.id.clone();
                    return Err(KeysError::SameDigest { path: path(), id: key.id, other });
                }
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

/// Access rules other than the keys.
#[derive(Debug)]
pub(crate) struct Rules {
    /// The hosts that requests may name.
    pub(crate) hosts: HostRule,
    /// Whether metrics are served on the main port even if keys are configured.
    pub(crate) figures_on_main: bool,
    /// Wrong keys that an address may send per minute before it is refused.
    pub(crate) wrong_keys_per_minute: u64,
}

/// The active keys and the host rule. Clones share the same state.
#[derive(Debug, Clone)]
pub(crate) struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: KeySource,
    /// Replaced as a whole on reload; the lock is held only to clone or replace the pointer.
    keys: RwLock<Arc<KeyRing>>,
    hosts: HostRule,
    failed_auth: FailedAuthLimit,
    /// Whether metrics are served on the main port even if keys are configured.
    figures_on_main: bool,
    /// Held while keys are reloaded, so that keys that were read earlier do not replace later ones.
    reloading: Mutex<()>,
    /// Whether there must always be a key for administration.
    requires_admin: AtomicBool,
}

impl Access {
    /// No keys: every client may send requests, under the hosts that the default [`HostRule`] accepts.
    pub(crate) fn open_to_all() -> Self {
        Self(Arc::new(Inner {
            source: KeySource::default(),
            keys: RwLock::default(),
            hosts: HostRule::default(),
            failed_auth: FailedAuthLimit::new(1),
            figures_on_main: false,
            reloading: Mutex::default(),
            requires_admin: AtomicBool::new(false),
        }))
    }

    /// Reads the keys from `source`.
    ///
    /// # Errors
    /// If a key file cannot be read or is invalid, or if a file of `--keys-file` was named and there is no key.
    pub(crate) fn read(source: KeySource, rules: Rules) -> Result<Self, KeysError> {
        let Rules { hosts, figures_on_main, wrong_keys_per_minute } = rules;
        let keys = source.read()?;
        if let Some(path) = source.keys_file.as_ref().filter(|_| keys.is_empty()) {
            return Err(KeysError::NoKeys { path: path.clone() });
        }
        let keys = RwLock::new(Arc::new(KeyRing::new(keys, None)));
        let failed_auth = FailedAuthLimit::new(wrong_keys_per_minute);
        let (reloading, requires_admin) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self(Arc::new(Inner {
            source,
            keys,
            hosts,
            failed_auth,
            figures_on_main,
            reloading,
            requires_admin,
        })))
    }

    /// The limit of wrong keys per address.
    fn failed_auth(&self) -> &FailedAuthLimit {
        &self.0.failed_auth
    }

    /// The active keys.
    pub(crate) fn keys(&self) -> Arc<KeyRing> {
        self.0.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The hosts that requests may name.
    pub(crate) fn hosts(&self) -> &HostRule {
        &self.0.hosts
    }

    /// Requires a key for administration at all later reloads, since the listener for administration accepts no others.
    pub(crate) fn require_admin(&self) {
        self.0.requires_admin.store(true, Relaxed);
    }

    /// Whether metrics are served on the main port.
    pub(crate) fn shows_figures_on_main(&self) -> bool {
        self.0.figures_on_main || self.keys().is_empty()
    }

    /// The paths of the files that keys are read from.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.source.paths()
    }

    /// Checks that each key's form is `known`, in the files as they are now.
    ///
    /// # Errors
    /// If a file cannot be read, or has entries with unknown forms: all those of the first such file.
    pub(crate) fn check_forms(&self, known: impl Fn(&str) -> bool) -> Result<(), KeysError> {
        self.paths().try_for_each(|file| {
            let path = || file.to_owned();
            let text = std::fs::read_to_string(file)
                .map_err(|source| KeysError::Unreadable { path: path(), source })?;
            let problems = unknown_forms(&text, &known);
            if problems.is_empty() { Ok(()) } else { Err(KeysError::Invalid { path: path(), problems }) }
        })
    }

    /// Reloads the keys and returns their number. Quota usage is kept.
    ///
    /// # Errors
    /// If a key file cannot be read or is invalid, if no key would be left and the server would be open to everyone,
    /// or if a key for administration is [required](Self::require_admin) and none would be left; the old keys then
    /// stay active.
    pub(crate) fn reload(&self) -> Result<usize, KeysError> {
        let _one_at_a_time = self.0.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.0.source.read()?;
        let before = self.keys();
        if keys.is_empty() && !before.is_empty() {
            return Err(KeysError::NoneLeft);
        }
        let count = keys.len();
        let after = Arc::new(KeyRing::new(keys, Some(&before)));
        if self.0.requires_admin.load(Relaxed) && !after.has_admin() {
            return Err(KeysError::NoAdminLeft);
        }
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = after;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_of_keys_without_any_opens_no_server() {
        let folder = tempfile::tempdir().unwrap();
        let [configuration, keys_file] = ["gavel.toml", "keys.toml"].map(|name| folder.path().join(name));
        let key = format!("[[keys]]\nid = \"a\"\nsha256 = \"{}\"\n", "0".repeat(64));
        let count = |configured: &str, keys: &str| {
            fs::write(&configuration, configured).unwrap();
            fs::write(&keys_file, keys).unwrap();
            let source =
                KeySource { configuration: Some(configuration.clone()), keys_file: Some(keys_file.clone()) };
            let rules =
                Rules { hosts: HostRule::default(), figures_on_main: false, wrong_keys_per_minute: 1 };
            Access::read(source, rules)
                .map(|access| access.paths().count())
                .map_err(|error| error.to_string())
        };
        for none in ["", "keys = []\n", "# [[keys]]\n"] {
            let refused = count("[server]\nport = 1\n", none).unwrap_err();
            assert!(refused.contains("keys.toml has no keys"), "{refused}");
            assert_eq!(count(&key, none), Ok(2), "there is one in the configuration");
        }
        assert_eq!(count("", &key), Ok(2));
    }

    #[test]
    fn two_files_share_neither_an_id_nor_a_digest() {
        let folder = tempfile::tempdir().unwrap();
        let entry =
            |id: &str, digit: &str| format!("[[keys]]\nid = \"{id}\"\nsha256 = \"{}\"\n", digit.repeat(64));
        let (configuration, keys_file) = (folder.path().join("gavel.toml"), folder.path().join("keys.toml"));
        fs::write(&configuration, entry("a", "0")).unwrap();
        let source = KeySource { configuration: Some(configuration), keys_file: Some(keys_file.clone()) };
        let read = |id: &str, digit: &str| {
            fs::write(&keys_file, entry(id, digit)).unwrap();
            source.read().map(|keys| keys.len()).map_err(|error| error.to_string())
        };
        assert_eq!(read("b", "1"), Ok(2));
        let same_id = read("a", "1").unwrap_err();
        assert!(same_id.contains("keys.toml") && same_id.contains("the id \"a\""), "{same_id}");
        let same_digest = read("b", "0").unwrap_err();
        assert!(same_digest.ends_with("\"b\" has the same digest as the key \"a\""), "{same_digest}");
    }
}
