//! The store behind files and batches, if the server has one.

pub(crate) mod crash_record;

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use store::{Figures, Limits, Store, StoreError};
use tokio::sync::{Semaphore, watch};

use crate::{
    error::{ApiError, ErrorCode},
    options::StorageOptions,
};

/// Interval at which expired files and batches are looked for.
pub(crate) const SWEEP: Duration = Duration::from_secs(60);

/// The store of a server, if it has one. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Storage(Option<Arc<StoreHandle>>);

/// A store and the limits of its batches.
#[derive(Debug)]
pub(crate) struct StoreHandle {
    store: Arc<Store>,
    /// Notified whenever a batch begins or is cancelled. A watch channel, so that a busy receiver does not miss the
    /// last change.
    changed: watch::Sender<()>,
    /// Maximum number of lines of a batch.
    pub(crate) max_batch_lines: usize,
    /// Number of lines of batches that run concurrently.
    pub(crate) batch_concurrency: usize,
}

impl Storage {
    /// Opens the data folder, if one is configured.
    ///
    /// # Errors
    /// [`StoreError::Taken`] when another server uses it, and others when it cannot be used.
    pub(crate) fn open(options: &StorageOptions) -> Result<Self, StoreError> {
        let Some(folder) = &options.data_dir else { return Ok(Self(None)) };
        let limits = Limits {
            max_file_bytes: options.max_file_mib << 20,
            max_stored_bytes: options.max_stored_mib << 20,
            max_files: options.max_files,
            keep_for_s: (options.file_expiry_h > 0).then(|| i64::from(options.file_expiry_h) * 3600),
        };
        Ok(Self(Some(Arc::new(StoreHandle {
            store: Arc::new(Store::open(folder, limits)?),
            changed: watch::Sender::new(()),
            max_batch_lines: options.max_batch_lines,
            // A semaphore cannot have more permits.
            batch_concurrency: options.batch_concurrency.clamp(1, Semaphore::MAX_PERMITS),
        }))))
    }

    /// The store, if there is one.
    pub(crate) fn enabled(&self) -> Option<&Arc<StoreHandle>> {
        self.0.as_ref()
    }

    /// The store, for a request that needs it.
    ///
    /// # Errors
    /// 404 `no_data_dir` without a store; the message names the option.
    pub(crate) fn required(&self) -> Result<&Arc<StoreHandle>, ApiError> {
        self.0.as_ref().ok_or_else(|| {
            let message = "This server keeps no files and runs no batches: it was started without a folder for them. \
                           Start it with --data-dir FOLDER (data_dir in the section [storage] of its configuration, or \
                           GAVEL_DATA_DIR).";
            ApiError::new(StatusCode::NOT_FOUND, ErrorCode::NoDataDir, message)
        })
    }

    /// The figures of the store; `None` without a store, or if they cannot be read.
    pub(crate) async fn figures(&self) -> Option<Figures> {
        self.0.as_ref()?.run(|store| store.figures()).await.ok()
    }
}

impl StoreHandle {
    /// Runs `work`, which waits for the disk, on the pool for blocking work.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Store>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process ends before the work began.
                Err(cancelled) => Err(StoreError::Disk(cancelled.into())),
            },
        }
    }

    /// The store, for callers that may wait for the disk.
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Notifies the task that runs batches of a change.
    pub(crate) fn notify(&self) {
        self.changed.send_replace(());
    }

    /// A receiver that is notified when batches change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
