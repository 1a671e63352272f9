//! Numbers that begin at a cache line, so that no vector spans two lines.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line.
const LINE: usize = 64;

/// An array of fixed length. It is not `Clone`, since a copied `Vec` would begin at another alignment.
#[derive(Debug)]
pub(crate) struct Aligned<T> {
    memory: Vec<T>,
    start: usize,
    length: usize,
}

impl<T: Copy + Default> Aligned<T> {
    /// Returns `length` zeros. The system commits the memory when it is first written.
    pub(crate) fn zeros(length: usize) -> Self {
        let spare = LINE / size_of::<T>();
        let memory = vec![T::default(); length + spare];
        let start = memory.as_ptr().align_offset(LINE).min(spare);
        Self { memory, start, length }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory[self.start..self.start + self.length]
    }
}
