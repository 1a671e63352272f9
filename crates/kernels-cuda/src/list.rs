//! Whole numbers on a GPU that change from step to step, in a place that stays.

use std::sync::Arc;

use cudarc::driver::CudaSlice;

use crate::{error::Result, gpu::Gpu};

/// A list of numbers. Its place changes only when it grows beyond what it ever was.
#[derive(Debug)]
pub(crate) struct List {
    numbers: CudaSlice<u32>,
    length: usize,
}

impl List {
    /// An empty one, with room for `room` numbers before it has to move.
    pub(crate) fn new(gpu: &Gpu, room: usize) -> Result<Self> {
        Ok(Self { numbers: gpu.zeros(room)?, length: 0 })
    }

    /// Becomes `numbers`; tells whether it had to move.
    pub(crate) fn set(&mut self, gpu: &Arc<Gpu>, numbers: &[u32]) -> Result<Moved> {
        let moves = self.numbers.len() < numbers.len();
        if moves {
            // Twice the room, so that a list that grows one by one moves seldom.
            self.numbers = gpu.memory_for(numbers.len() * 2)?;
        }
        if !numbers.is_empty() {
            gpu.stream().memcpy_htod(numbers, &mut self.numbers.slice_mut(..numbers.len()))?;
        }
        self.length = numbers.len();
        Ok(if moves { Moved::Yes } else { Moved::No })
    }

    /// How many numbers there are.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Where they are.
    pub(crate) fn numbers(&self) -> &CudaSlice<u32> {
        &self.numbers
    }
}

/// Whether a list is at another place than before, so that what was captured with the old one cannot run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    Yes,
    No,
}
