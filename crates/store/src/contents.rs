//! Contents of files on their way in: written in pieces under another name, and there whole or not at all.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::Ordering::{AcqRel, Acquire},
    },
};

use sha2::{Digest, Sha256};

use crate::{Store, error::StoreError, fresh_id};

/// A file that is being written. Dropping it removes it, unless it was kept.
#[derive(Debug)]
pub struct Incoming {
    store: Arc<Store>,
    path: PathBuf,
    file: File,
    digest: Sha256,
    bytes: u64,
    /// Whether the bounds of clients hold, and the bytes that were kept at its beginning.
    bounds: Option<u64>,
}

/// A content that is on the disk under the name of its file.
pub(crate) struct Settled {
    pub(crate) id: String,
    pub(crate) bytes: i64,
    pub(crate) sha256: String,
}

impl Incoming {
    /// Begins a client's file.
    ///
    /// # Errors
    /// When too much is kept already, or nothing can be written.
    pub fn begin(store: &Arc<Store>) -> Result<Self, StoreError> {
        let (files, bytes) = store.stored()?;
        if files >= store.limits.max_files {
            return Err(StoreError::TooManyFiles { limit: store.limits.max_files });
        }
        Self::new(store, Some(bytes))
    }

    /// Begins a file of results: work that was done is not refused.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn begin_output(store: &Arc<Store>) -> Result<Self, StoreError> {
        Self::new(store, None)
    }

    fn new(store: &Arc<Store>, bounds: Option<u64>) -> Result<Self, StoreError> {
        let path = store.folder.join("incoming").join(fresh_id(""));
        let file = File::create_new(&path)?;
        Ok(Self { store: store.clone(), path, file, digest: Sha256::new(), bytes: 0, bounds })
    }

    /// Writes the next piece.
    ///
    /// # Errors
    /// When the file or all files together become too large, or it cannot be written.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        let length = piece.len() as u64;
        let limits = self.store.limits;
        self.bytes += length;
        let incoming = self.store.incoming.fetch_add(length, AcqRel) + length;
        if let Some(stored) = self.bounds {
            if self.bytes > limits.max_file_bytes {
                return Err(StoreError::FileTooLarge { limit_bytes: limits.max_file_bytes });
            }
            // Others that are on their way count, too, so that many at once cannot fill the disk together.
            if stored + incoming > limits.max_stored_bytes {
                return Err(StoreError::Full { limit_bytes: limits.max_stored_bytes });
            }
        }
        self.file.write_all(piece)?;
        self.digest.update(piece);
        Ok(())
    }

    /// How many bytes were written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Puts the content under the name of a new file, for good.
    pub(crate) fn settle(self) -> Result<Settled, StoreError> {
        self.file.sync_all()?;
        let id = fresh_id("file-");
        let folder = self.store.folder.join("files");
        fs::rename(&self.path, folder.join(&id))?;
        synchronise(&folder)?;
        let sha256 = self.digest.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Settled { id, bytes: i64::try_from(self.bytes).unwrap_or(i64::MAX), sha256 })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.store.incoming.fetch_sub(self.bytes.min(self.store.incoming.load(Acquire)), AcqRel);
        // One that was kept has another name by now.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes what was renamed in a folder outlive a loss of power.
fn synchronise(folder: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

impl Store {
    /// Opens the content of a file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_content(&self, id: &str) -> Result<File, StoreError> {
        Ok(File::open(self.content_path(id))?)
    }

    pub(crate) fn content_path(&self, id: &str) -> PathBuf {
        self.folder.join("files").join(id)
    }

    /// Removes contents; one that is missing already is no matter.
    pub(crate) fn remove_contents(&self, ids: &[String]) {
        for id in ids {
            let _ = fs::remove_file(self.content_path(id));
        }
    }

    /// Removes what a killed process left without a record.
    pub(crate) fn remove_unrecorded(&self) -> Result<(), StoreError> {
        let known = self.all_file_ids()?;
        for entry in fs::read_dir(self.folder.join("files"))? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| known.contains(name)) {
                fs::remove_file(entry.path())?;
            }
        }
        for entry in fs::read_dir(self.folder.join("incoming"))? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }
}
