//! Sums of rows over several GPUs of this process, each of which is driven by a thread of its own.

use std::{
    iter,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::{
    error::{Error, Result},
    gpu::Gpu,
    nccl::Communicator,
    rows::Rows,
};

/// Numbers in the smallest sum that is made when GPUs are connected: 16 bytes.
const FEWEST: usize = 8;

/// The connection of several GPUs.
#[derive(Debug)]
pub struct Communicators {
    gpus: Vec<Arc<Gpu>>,
    /// The communicator of each GPU, unless it was aborted. Its lock is held while a sum is submitted, which takes
    /// microseconds once all are connected, so that it is not aborted meanwhile.
    communicators: Vec<Mutex<Option<Communicator>>>,
    /// Numbers in the largest sum.
    most: usize,
}

impl Communicators {
    /// Connects GPUs for sums of up to `most` numbers; the index of a GPU in the list is its rank.
    ///
    /// # Errors
    /// [`Error::NoCommunication`] if the program was built without the feature `nccl`, [`Error::NoNccl`] if the
    /// library is missing, [`Error::Communication`] if it fails, [`Error::OutOfMemory`] or [`Error::Driver`] if the
    /// first sums cannot be made.
    pub fn connect(gpus: Vec<Arc<Gpu>>, most: usize) -> Result<Self> {
        for gpu in &gpus {
            gpu.open_memory_to(&gpus)?;
        }
        let communicators = Communicator::connect(&gpus)?;
        let communicators = communicators.into_iter().map(|own| Mutex::new(Some(own))).collect();
        let connected = Self { gpus, communicators, most };
        connected.make_first_sums()?;
        Ok(connected)
    }

    /// Replaces the numbers of `rows`, which are on the GPU `rank` and of which every GPU has as many, by the sums of
    /// all GPUs' numbers. Once it was submitted on all GPUs, the sum is computed in the order of each GPU's stream.
    ///
    /// No other work may be submitted to any of the GPUs before all calls have returned. The first GPU to begin a sum
    /// waits for the others in a running kernel. A call that waits for that GPU meanwhile, as allocating host memory
    /// or loading a kernel may, holds locks of the driver that the others' calls need to begin their part: a
    /// deadlock.
    ///
    /// # Errors
    /// [`Error::Disconnected`] after [`abort`](Self::abort), [`Error::Communication`] or [`Error::Driver`] if NCCL or
    /// the driver fails.
    pub fn sum(&self, rank: usize, rows: &mut Rows) -> Result<()> {
        match &*lock(&self.communicators[rank]) {
            Some(own) => own.sum(rows),
            None => Err(Error::Disconnected),
        }
    }

    /// Gives up all sums that were submitted and not computed, since a GPU has failed: work that waits for them
    /// continues with undefined numbers.
    pub fn abort(&self) {
        self.communicators.iter().for_each(|own| *lock(own) = None);
    }

    /// Connects the GPUs again if they were disconnected. No work may be submitted to them meanwhile.
    ///
    /// # Errors
    /// [`Error::Communication`] if NCCL fails, [`Error::OutOfMemory`] or [`Error::Driver`] if the first sums cannot
    /// be made.
    pub fn renew(&self) -> Result<()> {
        if self.communicators.iter().all(|own| lock(own).is_some()) {
            return Ok(());
        }
        self.abort();
        for (own, new) in self.communicators.iter().zip(Communicator::connect(&self.gpus)?) {
            *lock(own) = Some(new);
        }
        self.make_first_sums()
    }

    /// Makes a sum of each size, of arbitrary numbers. The library chooses an algorithm (rings, trees, the switch
    /// between GPUs) by the size of a sum, and connects the GPUs and allocates memory for it when it is first chosen.
    /// If that happened during a step, a GPU that fails then could not abort the others, whose locks are held, and
    /// the cache might have taken the memory already.
    ///
    /// With the variable `NCCL_RUNTIME_CONNECT=0` the library would connect for all algorithms at once. But setting
    /// an environment variable is unsound in a process that has threads, and loading a critic has many.
    fn make_first_sums(&self) -> Result<()> {
        let room = |gpu: &Arc<Gpu>| -> Result<Rows> {
            let mut rows = Rows::empty(gpu)?;
            rows.room((1, self.most))?;
            Ok(rows)
        };
        let mut rows = self.gpus.iter().map(room).collect::<Result<Vec<Rows>>>()?;
        sizes(self.most).try_for_each(|size| self.make_sum(&mut rows, size))
    }

    /// Makes one sum of `size` numbers, for which the rows of every GPU have room.
    fn make_sum(&self, rows: &mut [Rows], size: usize) -> Result<()> {
        let sum = |(rank, rows): (usize, &mut Rows)| {
            let summed = rows.room((1, size)).and_then(|rows| self.sum(rank, rows));
            if summed.is_err() {
                self.abort();
            }
            summed
        };
        thread::scope(|scope| {
            let threads: Vec<_> =
                rows.iter_mut().enumerate().map(|rows| scope.spawn(move || sum(rows))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(Error::Disconnected)))
        })?;
        self.gpus.iter().try_for_each(|gpu| gpu.wait())
    }
}

/// Returns the sizes of the sums that are made when GPUs are connected, up to `most`: each is twice the one before,
/// since the library changes its algorithm at bounds that are further apart.
fn sizes(most: usize) -> impl Iterator<Item = usize> {
    iter::successors(Some(FEWEST), |size| Some(size * 2)).take_while(move |size| *size < most).chain([most])
}

/// Locks a communicator. A thread that panics with the lock leaves nothing half done.
fn lock(own: &Mutex<Option<Communicator>>) -> MutexGuard<'_, Option<Communicator>> {
    own.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_every_size_up_to_the_largest_are_made() {
        let sizes: Vec<usize> = sizes(4096 * 8192 + 8).collect();
        assert_eq!((sizes.first(), sizes.last()), (Some(&FEWEST), Some(&(4096 * 8192 + 8))));
        assert!(sizes.windows(2).all(|pair| pair[0] < pair[1] && pair[1] <= 2 * pair[0]), "{sizes:?}");
        assert!(super::sizes(3).eq([3]));
    }
}
