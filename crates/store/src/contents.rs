//! Contents of files: written in chunks under a temporary name, so that a file is complete or does not exist.

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
    /// The limits of a client's file; `None` for a file of results.
    bounds: Option<Bounds>,
}

/// The owner of a new file, and how much of the store the files of this owner may take.
#[derive(Debug, Clone)]
pub struct StoreQuota {
    /// The owner.
    pub owner: String,
    /// The fraction of all bytes, and of all files, that the owner may have: more than 0, at most 1.
    pub share: f64,
}

/// Limits of a file that is being written.
#[derive(Debug)]
struct Bounds {
    quota: StoreQuota,
    /// The bytes that were stored when it was begun.
    stored: StoredBytes,
}

/// Bytes that are stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredBytes {
    /// Of all owners.
    all: u64,
    /// Of the owner of the new file.
    own: u64,
}

/// A complete content under the name of its file. Dropping it removes it, unless it was recorded.
pub(crate) struct Settled {
    pub(crate) id: String,
    pub(crate) bytes: i64,
    pub(crate) sha256: String,
    /// Its path, as long as no record of it is known to exist.
    unrecorded: Option<PathBuf>,
}

impl StoreQuota {
    /// The owner's share of a number of all bytes or files.
    fn of(&self, all: u64) -> u64 {
        (all as f64 * self.share) as u64
    }
}

impl Incoming {
    /// Begins a client's file.
    ///
    /// # Errors
    /// [`StoreError::TooManyFiles`] or [`StoreError::Full`], or those of the owner's share, when there is no room for
    /// another file, or when the disk fails.
    pub fn begin(store: &Arc<Store>, quota: StoreQuota) -> Result<Self, StoreError> {
        let stored = store.room(&store.database(), &quota, 0)?;
        Self::new(store, Some(Bounds { quota, stored }))
    }

    /// The quota that it counts towards; `None` for a file of results.
    pub(crate) fn quota(&self) -> Option<&StoreQuota> {
        self.bounds.as_ref().map(|bounds| &bounds.quota)
    }

    /// Begins a file of results, which has no limits: finished work is not refused.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn begin_output(store: &Arc<Store>) -> Result<Self, StoreError> {
        Self::new(store, None)
    }

    fn new(store: &Arc<Store>, bounds: Option<Bounds>) -> Result<Self, StoreError> {
        let path = store.folder.join("incoming").join(fresh_id(""));
        let file = File::create_new(&path)?;
        Ok(Self { store: store.clone(), path, file, digest: Sha256::new(), bytes: 0, bounds })
    }

    /// Writes the next chunk.
    ///
    /// # Errors
    /// [`StoreError::FileTooLarge`], [`StoreError::Full`] or [`StoreError::PartFull`] when a client's file exceeds a
    /// limit, or when the disk fails.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        let length = piece.len() as u64;
        let limits = self.store.limits;
        self.bytes += length;
        let incoming = self.store.incoming.fetch_add(length, AcqRel) + length;
        if let Some(Bounds { quota, stored: StoredBytes { all, own } }) = &self.bounds {
            if self.bytes > limits.max_file_bytes {
                return Err(StoreError::FileTooLarge { limit_bytes: limits.max_file_bytes });
            }
            // Other files that are being written count too, so that many at once cannot fill the disk together.
            if all + incoming > limits.max_stored_bytes {
                return Err(StoreError::Full { limit_bytes: limits.max_stored_bytes });
            }
            let limit_bytes = quota.of(limits.max_stored_bytes);
            if own + self.bytes > limit_bytes {
                return Err(StoreError::PartFull { limit_bytes });
            }
        }
        self.file.write_all(piece)?;
        self.digest.update(piece);
        Ok(())
    }

    /// Number of bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Syncs the content and moves it to the name of a new file.
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
    /// Commits the transaction that records these contents. If that fails, the contents are removed.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn commit(
        transaction: Transaction<'_>,
        contents: impl IntoIterator<Item = Self>,
    ) -> Result<(), StoreError> {
        let committed = transaction.commit();
        // A record that was written but not synced may still be found by the next start, and then needs its content;
        // if that start finds no record, it removes the content.
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
        // A content that was kept has another name by now.
        let _ = fs::remove_file(&self.path);
    }
}

/// Syncs a folder, so that renames in it survive a power failure.
fn synchronise(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

impl Store {
    /// Checks that there is room for one more file of `bytes` bytes; returns the bytes that are stored already.
    ///
    /// # Errors
    /// [`StoreError::TooManyFiles`] or [`StoreError::Full`] for all files, [`StoreError::PartTooManyFiles`] or
    /// [`StoreError::PartFull`] for those of the owner.
    pub(crate) fn room(
        &self,
        database: &Connection,
        quota: &StoreQuota,
        bytes: u64,
    ) -> Result<StoredBytes, StoreError> {
        let Limits { max_files, max_stored_bytes, .. } = self.limits;
        let (files, all) = count(database)?;
        let (own_files, own) = count_of(database, &quota.owner)?;
        if files >= max_files {
            return Err(StoreError::TooManyFiles { limit: max_files });
        }
        if all + bytes > max_stored_bytes {
            return Err(StoreError::Full { limit_bytes: max_stored_bytes });
        }
        // The share of every owner is at least one file.
        let limit = quota.of(max_files).max(1);
        if own_files >= limit {
            return Err(StoreError::PartTooManyFiles { limit });
        }
        let limit_bytes = quota.of(max_stored_bytes);
        if own + bytes > limit_bytes {
            return Err(StoreError::PartFull { limit_bytes });
        }
        Ok(StoredBytes { all, own })
    }

    /// Opens the content of a file.
    ///
    /// # Errors
    /// [`StoreError::Content`] when it is missing, or when the disk fails.
    pub fn open_content(&self, id: &str) -> Result<File, StoreError> {
        Ok(File::open(self.content_path(id))?)
    }

    pub(crate) fn content_path(&self, id: &str) -> PathBuf {
        self.folder.join("files").join(id)
    }

    /// Removes contents. One that is missing already is ignored.
    pub(crate) fn remove_contents(&self, ids: &[String]) {
        for id in ids {
            let _ = fs::remove_file(self.content_path(id));
        }
    }

    /// Removes contents without a record, and incomplete ones, which a killed process left.
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
