//! Integers on a GPU that change from step to step, at an address that stays.

use cudarc::driver::CudaSlice;

use crate::{error::Result, gpu::Gpu, staging::Staging};

/// A list of numbers, whose address changes only when it grows beyond its capacity.
#[derive(Debug)]
pub(crate) struct List {
    numbers: CudaSlice<u32>,
    length: usize,
    moves: usize,
}

impl List {
    /// Creates an empty list with room for `room` numbers.
    pub(crate) fn new(gpu: &Gpu, room: usize) -> Result<Self> {
        Ok(Self { numbers: gpu.zeros(room)?, length: 0, moves: 0 })
    }

    /// Replaces the contents by `numbers`, which are copied by way of `staging`. The list moves if they are more than
    /// it has room for.
    pub(crate) fn set(&mut self, staging: &mut Staging<u32>, numbers: &[u32]) -> Result<()> {
        if self.numbers.len() < numbers.len() {
            // Twice the room, so that a list that grows one by one rarely moves.
            self.numbers = staging.gpu().memory_for(numbers.len() * 2)?;
            self.moves += 1;
        }
        staging.copy(&[numbers], &mut self.numbers)?;
        self.length = numbers.len();
        Ok(())
    }

    /// Returns how often the list has moved to another address. A move counts even if the copy after it failed.
    pub(crate) fn moves(&self) -> usize {
        self.moves
    }

    /// Returns the length of the list.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Returns the memory of the list, which may be longer than the list.
    pub(crate) fn numbers(&self) -> &CudaSlice<u32> {
        &self.numbers
    }
}
