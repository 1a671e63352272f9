//! Floats that begin at a cache line, so that no vector is read out of two.

use std::ops::{Deref, DerefMut};

use crate::isa::LANES;

/// A fixed number of floats. It has no copy: one would begin somewhere else.
#[derive(Debug)]
pub(crate) struct Aligned {
    memory: Vec<f32>,
    start: usize,
    length: usize,
}

impl Aligned {
    /// `length` zeros. The system gives the memory when it is first written to.
    pub(crate) fn zeros(length: usize) -> Self {
        let memory = vec![0.0; length + LANES];
        let start = memory.as_ptr().align_offset(size_of::<[f32; LANES]>()).min(LANES);
        Self { memory, start, length }
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..self.start + self.length]
    }
}
