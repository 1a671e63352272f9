//! Why keys cannot be read.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::key_file::KeyProblem;

/// Why keys cannot be read, or not take the place of those in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// A file has invalid entries; all of its problems, each on a line of its own.
    #[error("{}", in_lines(path, problems))]
    Invalid { path: PathBuf, problems: Vec<KeyProblem> },
    /// A file has a key with the same id as a key of another file.
    #[error("{}: there are two keys with the id {id:?}", path.display())]
    SameId { path: PathBuf, id: String },
    /// A file has a key with the same digest as a key of another file. One key has one account: a second entry would
    /// silently replace quotas and permissions.
    #[error("{}: {id:?} has the same digest as the key {other:?}", path.display())]
    SameDigest { path: PathBuf, id: String, other: String },
    /// A file that is to have the keys has none, and the configuration file has none either. The server would be open
    /// to everybody, although a file of keys was named.
    #[error(
        "{} has no keys, and the server would be open to all: make one with `gavel key new` and put its entry into the \
         file, or start the server without --keys-file",
        path.display()
    )]
    NoKeys { path: PathBuf },
    /// All keys were removed while the server runs.
    #[error("no key would be left, and the server be open to all")]
    NoneLeft,
    /// All keys for administration were removed while the server runs.
    #[error("no key for administration (admin = true) would be left, and nobody could reload the keys")]
    NoAdminLeft,
}

fn in_lines(path: &Path, problems: &[KeyProblem]) -> String {
    let told = problems.iter().map(|problem| format!("{}:{}: {problem}", path.display(), problem.line));
    told.collect::<Vec<_>>().join("\n")
}
