//! Checkpoints of random weights that are not on disk: their tensors are drawn when they are loaded, on the GPU where
//! the model computes on one.

mod random;

use std::{borrow::Cow, ops::Range, thread};

/// The fewest weights per thread: fewer are drawn in no more time than starting the thread takes.
const WEIGHTS_OF_A_THREAD: usize = 1 << 15;

/// The files beside the weights of a checkpoint, and generators of its tensors, as
/// [`drawn_checkpoint`](crate::drawn_checkpoint) makes them.
#[derive(Debug)]
pub struct DrawnCheckpoint {
    /// Its name in messages.
    pub(crate) name: String,
    /// Name and content of the files beside the weights.
    pub(crate) files: Vec<(&'static str, Vec<u8>)>,
    /// Name, shape and generator of every tensor, all of them bf16.
    pub(crate) tensors: Vec<(String, Vec<usize>, DrawnTensor)>,
}

/// The generator of one tensor: each weight depends on its index and is approximately normal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DrawnTensor {
    numbers: random::Drawn,
    /// The mean of the weights.
    pub(crate) centre: f32,
    /// The standard deviation of the weights.
    pub(crate) spread: f32,
}

impl DrawnCheckpoint {
    /// The content of a file beside the weights; `None` when it does not exist.
    pub(crate) fn read(&self, file: &str) -> Option<Cow<'static, [u8]>> {
        self.files.iter().find(|(name, _)| *name == file).map(|(_, bytes)| Cow::Owned(bytes.clone()))
    }
}

impl DrawnTensor {
    /// The generator of the tensor `name` of the checkpoint with this `seed`.
    pub(crate) fn new(seed: u64, name: &str, centre: f32, spread: f32) -> Self {
        Self { numbers: random::Drawn::new(seed, name), centre, spread }
    }

    /// The key that distinguishes this tensor's numbers from those of others.
    pub(crate) fn key(&self) -> u64 {
        self.numbers.key()
    }

    /// The first `count` weights as little-endian bf16, drawn on all cores.
    pub(crate) fn bytes(&self, count: usize) -> Vec<u8> {
        self.bytes_of(0..count)
    }

    /// The weights of `range` as little-endian bf16, drawn on all cores.
    pub(crate) fn bytes_of(&self, range: Range<usize>) -> Vec<u8> {
        let mut bytes = vec![0; 2 * range.len()];
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let part = range.len().div_ceil(threads).max(WEIGHTS_OF_A_THREAD);
        thread::scope(|scope| {
            for (part_bytes, first) in bytes.chunks_mut(2 * part).zip(range.step_by(part)) {
                scope.spawn(move || {
                    for (word, index) in part_bytes.as_chunks_mut::<2>().0.iter_mut().zip(first..) {
                        *word = self.bits(index).to_le_bytes();
                    }
                });
            }
        });
        bytes
    }

    /// The bits of weight `index` in bf16.
    fn bits(&self, index: usize) -> u16 {
        random::bf16_bits(self.centre + self.spread * self.numbers.normal(index))
    }
}

#[cfg(test)]
mod tests {
    use super::{DrawnTensor, WEIGHTS_OF_A_THREAD};

    #[test]
    fn many_threads_draw_what_one_draws_wherever_it_begins() {
        let tensor = DrawnTensor::new(1, "lm_head.weight", 0.25, 1.5);
        for range in [0..0, 0..1, 7..8, 12_345..12_345 + 5 * WEIGHTS_OF_A_THREAD + 3] {
            let one_by_one: Vec<u8> =
                range.clone().flat_map(|index| tensor.bits(index).to_le_bytes()).collect();
            assert!(tensor.bytes_of(range.clone()) == one_by_one, "{range:?}");
        }
    }
}
