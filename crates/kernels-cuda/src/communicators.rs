//! Sums of rows over several GPUs of this process, each of which a thread of its own asks.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use half::bf16;

use crate::{
    error::{Error, Result},
    gpu::Gpu,
    nccl::Communicator,
    rows::Rows,
};

/// What connects several GPUs.
#[derive(Debug)]
pub struct Communicators {
    gpus: Vec<Arc<Gpu>>,
    /// That of each GPU, unless it was aborted. Its lock is held while a sum is asked for, which takes microseconds once all are
    /// connected, so that it is not aborted meanwhile.
    communicators: Vec<Mutex<Option<Communicator>>>,
}

impl Communicators {
    /// Connects GPUs; the place of a GPU in the list is its rank.
    ///
    /// # Errors
    /// [`Error::NoCommunication`] when the program was built without, [`Error::NoNccl`] when the library is missing, or what the
    /// library says.
    pub fn among(gpus: Vec<Arc<Gpu>>) -> Result<Self> {
        for gpu in &gpus {
            gpu.open_memory_to(&gpus)?;
        }
        let communicators = Communicator::among(&gpus)?;
        let communicators = communicators.into_iter().map(|own| Mutex::new(Some(own))).collect();
        let connected = Self { gpus, communicators };
        connected.make_first_sum()?;
        Ok(connected)
    }

    /// Replaces the numbers of `rows`, which are on the GPU `rank` and of which every GPU has as many, by the sums of all
    /// GPUs' numbers. Once all GPUs were asked for it, it is done in the order of each GPU's work.
    ///
    /// # Errors
    /// [`Error::Disconnected`] after [`abort`](Self::abort), or what the library says.
    pub fn sum(&self, rank: usize, rows: &mut Rows) -> Result<()> {
        match &*lock(&self.communicators[rank]) {
            Some(own) => own.sum(rows),
            None => Err(Error::Disconnected),
        }
    }

    /// Gives up all sums that were asked for and not done, since a GPU has failed: what their GPUs wait with goes on, with
    /// whatever numbers.
    pub fn abort(&self) {
        self.communicators.iter().for_each(|own| *lock(own) = None);
    }

    /// Connects the GPUs again if they were disconnected, while none is asked for anything.
    ///
    /// # Errors
    /// What the library says.
    pub fn renew(&self) -> Result<()> {
        if self.communicators.iter().all(|own| lock(own).is_some()) {
            return Ok(());
        }
        self.abort();
        for (own, new) in self.communicators.iter().zip(Communicator::among(&self.gpus)?) {
            *lock(own) = Some(new);
        }
        self.make_first_sum()
    }

    /// Makes a sum of nothing: the library makes some connections with the first one, for which all GPUs must ask. Were that while a
    /// step runs, a GPU that fails then could not abort the others, whose locks are held.
    fn make_first_sum(&self) -> Result<()> {
        let rows = self.gpus.iter().map(|gpu| Rows::upload(gpu, &[bf16::ZERO; 8], 8));
        let rows = rows.collect::<Result<Vec<Rows>>>()?;
        let sum = |(rank, mut rows): (usize, Rows)| {
            let summed = self.sum(rank, &mut rows).and_then(|()| self.gpus[rank].wait());
            if summed.is_err() {
                self.abort();
            }
            summed
        };
        thread::scope(|scope| {
            let threads: Vec<_> =
                rows.into_iter().enumerate().map(|rows| scope.spawn(move || sum(rows))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(Error::Disconnected)))
        })
    }
}

/// Nothing is half done when a thread panics with the lock.
fn lock(own: &Mutex<Option<Communicator>>) -> MutexGuard<'_, Option<Communicator>> {
    own.lock().unwrap_or_else(PoisonError::into_inner)
}
