//! The source of a checkpoint's files: a folder, the binary itself, or a generator of random weights.

use std::{borrow::Cow, path::PathBuf, sync::Arc};

use serde::de::DeserializeOwned;

use crate::{drawn::DrawnCheckpoint, error::LoadError};

/// The files of one checkpoint.
#[derive(Debug, Clone)]
pub enum Source {
    /// A folder on disk.
    Folder(PathBuf),
    /// Files compiled into the binary, by name.
    Embedded(&'static [(&'static str, &'static [u8])]),
    /// No files: random weights are drawn when they are loaded.
    Drawn(Arc<DrawnCheckpoint>),
}

impl Source {
    /// The name of the source in messages.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            Self::Embedded(_) => "the embedded checkpoint".into(),
            Self::Drawn(checkpoint) => checkpoint.name.clone(),
        }
    }

    /// The name of `file` in messages.
    pub(crate) fn path(&self, file: &str) -> String {
        match self {
            Self::Folder(folder) => folder.join(file).display().to_string(),
            Self::Embedded(_) | Self::Drawn(_) => format!("{file} of {}", self.place()),
        }
    }

    /// The bytes of a small file; `None` when it is absent.
    pub(crate) fn read(&self, file: &str) -> Result<Option<Cow<'static, [u8]>>, LoadError> {
        match self {
            Self::Embedded(files) => {
                Ok(files.iter().find(|(name, _)| *name == file).map(|(_, bytes)| Cow::Borrowed(*bytes)))
            }
            Self::Drawn(checkpoint) => Ok(checkpoint.read(file)),
            Self::Folder(folder) => match std::fs::read(folder.join(file)) {
                Ok(bytes) => Ok(Some(Cow::Owned(bytes))),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(cause) => Err(LoadError::Read { file: self.path(file), cause }),
            },
        }
    }

    /// The names of all files that end in `ending`, sorted.
    pub(crate) fn names_ending(&self, ending: &str) -> Result<Vec<String>, LoadError> {
        let mut names: Vec<String> = match self {
            Self::Embedded(files) => files.iter().map(|(name, _)| (*name).to_owned()).collect(),
            Self::Drawn(_) => Vec::new(), // only weight files are listed, and it has none
            Self::Folder(folder) => {
                let entries =
                    std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
                let entries = entries.map_err(|cause| LoadError::Read { file: self.place(), cause })?;
                entries.iter().filter_map(|entry| entry.file_name().into_string().ok()).collect()
            }
        };
        names.retain(|name| name.ends_with(ending));
        names.sort_unstable();
        Ok(names)
    }

    /// A JSON file; `None` when it is absent.
    pub(crate) fn json<T: DeserializeOwned>(
        &self,
        file: &str,
        expected: &'static str,
    ) -> Result<Option<T>, LoadError> {
        let Some(bytes) = self.read(file)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|cause| LoadError::Json {
            file: self.path(file),
            expected,
            cause,
        })
    }

    /// The error for a value `found` of `key` in `config.json` that is not implemented or makes no sense.
    #[expect(clippy::needless_pass_by_value, reason = "callers pass numbers and literals")]
    pub(crate) fn unsupported(
        &self,
        key: &'static str,
        found: impl ToString,
        expected: impl ToString,
    ) -> LoadError {
        LoadError::Unsupported {
            file: self.path("config.json"),
            key,
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }

    /// A JSON file that must exist.
    ///
    /// # Errors
    /// [`LoadError::MissingFile`] when it is absent, [`LoadError::Read`] or [`LoadError::Json`] when it is damaged.
    pub(crate) fn required_json<T: DeserializeOwned>(
        &self,
        file: &str,
        expected: &'static str,
    ) -> Result<T, LoadError> {
        self.json(file, expected)?.ok_or_else(|| LoadError::MissingFile {
            file: file.into(),
            folder: self.place(),
            expected,
        })
    }
}
