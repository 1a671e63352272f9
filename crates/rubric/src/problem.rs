//! Problems in files of rubrics, profiles and forms, each with its file and key.

use std::fmt;

/// One problem of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file or folder.
    pub file: String,
    /// The key at fault, as a path such as `scale.step`; `None` if the whole file is at fault.
    pub key: Option<String>,
    /// A description of the problem.
    pub reason: String,
}

impl Problem {
    /// A problem of `file` at `key`.
    pub(crate) fn at(file: &str, key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { file: file.to_owned(), key: Some(key.into()), reason: reason.into() }
    }
}

/// A problem at a key of a definition, independent of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyProblem<K> {
    /// The key at fault, as a path such as `scale.step`.
    pub(crate) key: K,
    /// A description of the problem.
    pub(crate) reason: String,
}

impl<K: Into<String>> KeyProblem<K> {
    pub(crate) fn new(key: K, reason: impl Into<String>) -> Self {
        Self { key, reason: reason.into() }
    }

    /// The problem in `file`.
    pub(crate) fn in_file(self, file: &str) -> Problem {
        Problem::at(file, self.key, self.reason)
    }
}

impl From<KeyProblem<&'static str>> for KeyProblem<String> {
    fn from(KeyProblem { key, reason }: KeyProblem<&'static str>) -> Self {
        Self { key: key.to_owned(), reason }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(formatter, "{}: {key}: {}", self.file, self.reason),
            None => write!(formatter, "{}: {}", self.file, self.reason),
        }
    }
}

/// All problems; displayed one per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            write!(formatter, "{gap}{problem}")?;
        }
        Ok(())
    }
}
