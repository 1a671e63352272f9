//! Host memory through which numbers are copied to a GPU, without waiting for the copies.

use std::sync::Arc;

use cudarc::driver::{CudaEvent, DevicePtrMut, DeviceRepr, PinnedHostSlice, ValidAsZeroBits};

use crate::{error::Result, gpu::Gpu};

/// Pinned memory, which the GPU reads while the CPU goes on. From other memory the driver copies in parts, of which the
/// CPU waits for some.
#[derive(Debug)]
pub(crate) struct Staging<T> {
    memory: PinnedHostSlice<T>,
    /// The numbers at the beginning of `memory` that copies may still read.
    used: usize,
    /// Recorded after each copy.
    copied: CudaEvent,
    gpu: Arc<Gpu>,
}

impl<T: DeviceRepr + ValidAsZeroBits + Copy> Staging<T> {
    /// Creates memory with room for `room` numbers.
    ///
    /// # Errors
    /// `Error::Driver` if it cannot be allocated.
    pub(crate) fn new(gpu: &Arc<Gpu>, room: usize) -> Result<Self> {
        let copied = gpu.stream().context().new_event(None)?;
        Ok(Self { memory: gpu.pinned(room)?, used: 0, copied, gpu: Arc::clone(gpu) })
    }

    /// Returns the GPU to which numbers are copied.
    pub(crate) fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Starts copying `parts`, one after the other, to the beginning of `place`. They have been read when it returns,
    /// and have arrived for all work that is submitted later. Memory that is too small is replaced.
    ///
    /// # Errors
    /// `Error::Driver` if larger memory cannot be allocated, or this or an earlier copy failed.
    ///
    /// # Panics
    /// If `place` is shorter than the parts.
    pub(crate) fn copy(&mut self, parts: &[&[T]], place: &mut impl DevicePtrMut<T>) -> Result<()> {
        let count: usize = parts.iter().map(|part| part.len()).sum();
        if count == 0 {
            return Ok(());
        }
        if self.used + count > self.memory.len() {
            self.copied.synchronize()?;
            self.used = 0;
        }
        if count > self.memory.len() {
            self.memory = self.gpu.pinned(count)?;
        }
        let own = &mut self.memory.as_mut_slice()?[self.used..][..count];
        let mut first = 0;
        for part in parts {
            own[first..][..part.len()].copy_from_slice(part);
            first += part.len();
        }
        let stream = self.gpu.stream();
        stream.memcpy_htod(&*own, place)?;
        self.used += count;
        Ok(self.copied.record(stream)?)
    }
}

impl<T> Drop for Staging<T> {
    fn drop(&mut self) {
        // Copies may still read the memory. There is nothing to do about an error here.
        let _ = self.copied.synchronize();
    }
}
