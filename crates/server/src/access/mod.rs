//! Who may ask, and how much: keys, their quotas, and the hosts that a server without keys answers to.

mod account;
mod bucket;
mod expiry;
mod guard;
mod guesses;
mod host;
mod key;
mod key_file;
mod key_ring;
mod spend;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

pub(crate) use account::Grant;
pub(crate) use guard::{AdminDoor, KeyLabel, guard, guard_admin};
use guesses::Guesses;
pub(crate) use host::HostRule;
pub(crate) use key::{FormsOfKey, Key, new_key};
pub(crate) use key_file::{KEYS, read_keys};
pub(crate) use key_ring::KeyRing;
pub(crate) use spend::{UsedUp, spend};

/// Where keys are read from: any number of files with `[[keys]]` in them.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeySource {
    /// The configuration file, where there is one.
    pub(crate) configuration: Option<PathBuf>,
    /// A file of nothing but keys.
    pub(crate) keys_file: Option<PathBuf>,
}

impl KeySource {
    /// The files, in their order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.configuration, &self.keys_file].into_iter().flatten().map(PathBuf::as_path)
    }

    /// Reads all of them.
    ///
    /// # Errors
    /// Everything that is wrong with the first file that is wrong, with its lines.
    fn read(&self) -> anyhow::Result<Vec<Key>> {
        let mut keys: Vec<Key> = Vec::new();
        for path in self.paths() {
            let text = std::fs::read_to_string(path)
                .map_err(|error| anyhow::anyhow!("{} cannot be read: {error}", path.display()))?;
            let keys_here = read_keys(&text).map_err(|problems| {
                let told =
                    problems.iter().map(|problem| format!("{}:{}: {problem}", path.display(), problem.line));
                anyhow::anyhow!(told.collect::<Vec<_>>().join("\n"))
            })?;
            for key in keys_here {
                if keys.iter().any(|other| other.id == key.id) {
                    anyhow::bail!("{}: there are two keys with the id {:?}", path.display(), key.id);
                }
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

/// What holds beside the keys.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Which hosts are answered to.
    pub(crate) hosts: HostRule,
    /// Whether the figures are shown on the main port though there are keys.
    pub(crate) figures_on_main: bool,
    /// Wrong keys of an address before it is told to wait.
    pub(crate) wrong_keys_per_minute: u64,
}

/// The keys in force, and the rule on hosts. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: KeySource,
    /// Replaced as a whole; the lock is held only to copy or to put the pointer.
    keys: RwLock<Arc<KeyRing>>,
    hosts: HostRule,
    guesses: Guesses,
    /// Whether the figures are shown on the main port though there are keys.
    figures_on_main: bool,
}

/// Everybody may ask.
impl Default for Access {
    fn default() -> Self {
        Self(Arc::new(Inner {
            source: KeySource::default(),
            keys: RwLock::default(),
            hosts: HostRule::default(),
            guesses: Guesses::new(1),
            figures_on_main: false,
        }))
    }
}

impl Access {
    /// Reads the keys.
    ///
    /// # Errors
    /// When a file cannot be taken.
    pub(crate) fn read(source: KeySource, rules: Rules) -> anyhow::Result<Self> {
        let Rules { hosts, figures_on_main, wrong_keys_per_minute } = rules;
        let keys = RwLock::new(Arc::new(KeyRing::new(source.read()?, None)));
        let guesses = Guesses::new(wrong_keys_per_minute);
        Ok(Self(Arc::new(Inner { source, keys, hosts, guesses, figures_on_main })))
    }

    /// How many wrong keys were shown.
    fn guesses(&self) -> &Guesses {
        &self.0.guesses
    }

    /// The keys in force.
    pub(crate) fn keys(&self) -> Arc<KeyRing> {
        self.0.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Which hosts are answered to.
    pub(crate) fn hosts(&self) -> &HostRule {
        &self.0.hosts
    }

    /// Whether the figures are shown on the main port.
    pub(crate) fn shows_figures_on_main(&self) -> bool {
        self.0.figures_on_main || self.keys().is_empty()
    }

    /// The files that keys are read from.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.source.paths()
    }

    /// Reads the keys again; what a key has used of its quotas stays used. Tells how many there are.
    ///
    /// # Errors
    /// When a file cannot be taken, or no key would be left and the server be open: then the old ones stay.
    pub(crate) fn reload(&self) -> anyhow::Result<usize> {
        let keys = self.0.source.read()?;
        let before = self.keys();
        if keys.is_empty() && !before.is_empty() {
            anyhow::bail!("no key would be left, and the server be open to all");
        }
        let count = keys.len();
        let after = Arc::new(KeyRing::new(keys, Some(&before)));
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = after;
        Ok(count)
    }
}
