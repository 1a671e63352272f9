//! What is kept for clients: the store behind asynchronous doors, if the server has one.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use store::{Figures, Limits, Store, StoreError};
use tokio::sync::watch;

use crate::{
    command::StorageOptions,
    error::ApiError,
    exit::{Fatal, Status},
};

/// How often what is past its time is looked for.
pub(crate) const SWEEP: Duration = Duration::from_secs(60);

/// The store of a server, or none. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Storage(Option<Arc<Kept>>);

/// A store and what holds for its batches.
#[derive(Debug)]
pub(crate) struct Kept {
    store: Arc<Store>,
    /// Told whenever a batch begins or is to stop. A watch, so that whoever is busy misses no last change.
    changed: watch::Sender<()>,
    /// The most lines of a batch.
    pub(crate) max_batch_lines: usize,
    /// How many lines of batches run at a time.
    pub(crate) batch_concurrency: usize,
}

impl Storage {
    /// Opens the folder that was named, if one was.
    ///
    /// # Errors
    /// When it cannot be used, or another server uses it.
    pub(crate) fn open(options: &StorageOptions) -> Result<Self, Fatal> {
        let Some(folder) = &options.data_dir else { return Ok(Self(None)) };
        let limits = Limits {
            max_file_bytes: options.max_file_mib << 20,
            max_stored_bytes: options.max_stored_mib << 20,
            max_files: options.max_files,
            keep_for_s: (options.file_expiry_h > 0).then(|| i64::from(options.file_expiry_h) * 3600),
        };
        let store = Store::open(folder, limits).map_err(|error| {
            let taken = matches!(error, StoreError::Taken { .. });
            let status = if taken { Status::Taken } else { Status::Misconfigured };
            Fatal::new(status, &anyhow::Error::new(error).context("files and batches cannot be kept"))
        })?;
        Ok(Self(Some(Arc::new(Kept {
            store: Arc::new(store),
            changed: watch::Sender::new(()),
            max_batch_lines: options.max_batch_lines,
            batch_concurrency: options.batch_concurrency.max(1),
        }))))
    }

    /// The store, where there is one.
    pub(crate) fn kept(&self) -> Option<&Arc<Kept>> {
        self.0.as_ref()
    }

    /// The store, for a request that needs it.
    ///
    /// # Errors
    /// One that names the option.
    pub(crate) fn get(&self) -> Result<&Arc<Kept>, ApiError> {
        self.0.as_ref().ok_or_else(|| {
            let message = "This server keeps no files and runs no batches: it was started without a folder for them. \
                           Start it with --data-dir FOLDER (data_dir in the section [storage] of its configuration, or \
                           GAVEL_DATA_DIR).";
            ApiError::new(StatusCode::NOT_FOUND, "no_data_dir", message)
        })
    }

    /// How much is kept, where anything can be.
    pub(crate) async fn figures(&self) -> Option<Figures> {
        self.0.as_ref()?.run(|store| store.figures()).await.ok()
    }
}

impl Kept {
    /// Does `work`, which waits for the disk, where waiting holds nobody up.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Store>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// The store, for who may wait for the disk himself.
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Tells whoever runs batches to look again.
    pub(crate) fn notify(&self) {
        self.changed.send_replace(());
    }

    /// Hears when batches change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
