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

use rusqlite::{Connection, Transaction, ffi::SQLITE_IOERR_FSYNC};
use sha2::{Digest, Sha256};

use crate::{
    Limits, Store,
    error::StoreError,
    files::{count, count_of},
    fresh_id,
};

/// A file that is being written. Dropping it removes it, unless it was kept.
#[derive(Debug)]
pub struct Incoming {
    store: Arc<Store>,
    path: PathBuf,
    file: File,
    digest: Sha256,
    bytes: u64,
    /// What holds for a client's file; nothing for one of results.
    bounds: Option<Bounds>,
}

/// Whose a file is going to be, and how much of the store it may have.
#[derive(Debug, Clone)]
pub struct Part {
    /// Whose.
    pub owner: String,
    /// The part of all bytes, and of all files: more than 0, at most 1.
    pub share: f64,
}

/// Bounds of a file that is being written.
#[derive(Debug)]
struct Bounds {
    part: Part,
    /// Bytes that were kept at its beginning: all, and the owner's.
    stored: [u64; 2],
}

/// A content that is on the disk under the name of its file. Dropping it removes it, unless it was recorded.
pub(crate) struct Settled {
    pub(crate) id: String,
    pub(crate) bytes: i64,
    pub(crate) sha256: String,
    /// Where it is, as long as nothing is known to record it.
    unrecorded: Option<PathBuf>,
}

impl Part {
    /// The part of a number of all bytes or files.
    fn of(&self, all: u64) -> u64 {
        (all as f64 * self.share) as u64
    }
}

impl Incoming {
    /// Begins a client's file.
    ///
    /// # Errors
    /// When too much is kept already, or nothing can be written.
    pub fn begin(store: &Arc<Store>, part: Part) -> Result<Self, StoreError> {
        let stored = store.room(&store.database(), &part, 0)?;
        Self::new(store, Some(Bounds { part, stored }))
    }

    /// What it is a part of, for a client's file.
    pub(crate) fn part(&self) -> Option<&Part> {
        self.bounds.as_ref().map(|bounds| &bounds.part)
    }

    /// Begins a file of results: work that was done is not refused.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn begin_output(store: &Arc<Store>) -> Result<Self, StoreError> {
        Self::new(store, None)
    }

    fn new(store: &Arc<Store>, bounds: Option<Bounds>) -> Result<Self, StoreError> {
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
        if let Some(Bounds { part, stored: [all, own] }) = &self.bounds {
            if self.bytes > limits.max_file_bytes {
                return Err(StoreError::FileTooLarge { limit_bytes: limits.max_file_bytes });
            }
            // Others that are on their way count, too, so that many at once cannot fill the disk together.
            if all + incoming > limits.max_stored_bytes {
                return Err(StoreError::Full { limit_bytes: limits.max_stored_bytes });
            }
            let limit_bytes = part.of(limits.max_stored_bytes);
            if own + self.bytes > limit_bytes {
                return Err(StoreError::PartFull { limit_bytes });
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
        let path = folder.join(&id);
        fs::rename(&self.path, &path)?;
        let sha256 = self.digest.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let bytes = i64::try_from(self.bytes).unwrap_or(i64::MAX);
        let settled = Settled { id, bytes, sha256, unrecorded: Some(path) };
        synchronise(&folder)?;
        Ok(settled)
    }
}

impl Settled {
    /// Ends the transaction that records these contents. Where that fails they are gone, as if they had never come.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn commit(
        transaction: Transaction<'_>,
        contents: impl IntoIterator<Item = Self>,
    ) -> Result<(), StoreError> {
        let committed = transaction.commit();
        // A record that was written and not synchronised may be found by the next start all the same, and needs its content
        // then; where that start finds no record, it removes the content.
        let may_be_found = |error: &rusqlite::Error| {
            error.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_IOERR_FSYNC)
        };
        if committed.as_ref().map_or_else(may_be_found, |()| true) {
            contents.into_iter().for_each(Self::recorded);
        }
        Ok(committed?)
    }

    fn recorded(mut self) {
        self.unrecorded = None;
    }
}

impl Drop for Settled {
    fn drop(&mut self) {
        if let Some(path) = &self.unrecorded {
            let _ = fs::remove_file(path);
        }
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
    /// Whether there is room for one more file of so many bytes; gives the bytes that are kept, all and the owner's.
    ///
    /// # Errors
    /// When all files together, or those of the owner, would be too many or too large.
    pub(crate) fn room(
        &self,
        database: &Connection,
        part: &Part,
        bytes: u64,
    ) -> Result<[u64; 2], StoreError> {
        let Limits { max_files, max_stored_bytes, .. } = self.limits;
        let (files, all) = count(database)?;
        let (own_files, own) = count_of(database, &part.owner)?;
        if files >= max_files {
            return Err(StoreError::TooManyFiles { limit: max_files });
        }
        if all + bytes > max_stored_bytes {
            return Err(StoreError::Full { limit_bytes: max_stored_bytes });
        }
        // One file is always somebody's part.
        let limit = part.of(max_files).max(1);
        if own_files >= limit {
            return Err(StoreError::PartTooManyFiles { limit });
        }
        let limit_bytes = part.of(max_stored_bytes);
        if own + bytes > limit_bytes {
            return Err(StoreError::PartFull { limit_bytes });
        }
        Ok([all, own])
    }

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
