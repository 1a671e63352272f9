//! A checkpoint of random weights that is on no disk: its tensors are drawn when they are loaded, on a card where the model is to
//! be there.

use std::{borrow::Cow, thread};

use super::{MadeForm, MakeOptions, files, random, shape::Shape, tensors};
use crate::{error::LoadError, source::Source};

/// The files of such a checkpoint, and its tensors.
#[derive(Debug)]
pub struct DrawnCheckpoint {
    shape: Shape,
    seed: u64,
    files: Vec<(&'static str, Vec<u8>)>,
    tensors: Vec<(String, Vec<usize>, DrawnTensor)>,
}

/// The weights of one tensor: each follows from its index, nearly normal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DrawnTensor {
    numbers: random::Drawn,
    /// The mean of the weights.
    pub(crate) centre: f32,
    /// Their standard deviation.
    pub(crate) spread: f32,
}

impl DrawnCheckpoint {
    /// The checkpoint that [`make_model`](super::make_model) writes for the same shape and seed, with the tokenizer and the chat
    /// template of `vocabulary`.
    ///
    /// # Errors
    /// [`LoadError`] when `vocabulary` lacks what a checkpoint needs.
    pub fn new(shape: Shape, seed: u64, vocabulary: &Source) -> Result<Self, LoadError> {
        let files = files::describe(vocabulary, MakeOptions { shape, seed, form: MadeForm::Bf16 })?;
        let drawn = |tensor: tensors::RandomTensor| {
            let numbers = random::Drawn::new(seed, &tensor.name);
            let weights = DrawnTensor { numbers, centre: tensor.centre, spread: tensor.spread };
            (tensor.name, tensor.shape, weights)
        };
        let tensors = tensors::picture(shape).into_iter().chain(tensors::decoder(shape)).map(drawn);
        Ok(Self { shape, seed, files, tensors: tensors.collect() })
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> String {
        format!("the checkpoint of shape {:?} drawn from seed {}", self.shape, self.seed)
    }

    /// A file beside the weights.
    pub(crate) fn read(&self, file: &str) -> Option<Cow<'static, [u8]>> {
        self.files.iter().find(|(name, _)| *name == file).map(|(_, bytes)| Cow::Owned(bytes.clone()))
    }

    /// Name, shape and weights of every tensor, all of them bf16.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&str, &[usize], DrawnTensor)> {
        self.tensors.iter().map(|(name, shape, weights)| (name.as_str(), shape.as_slice(), *weights))
    }
}

impl DrawnTensor {
    /// What tells this tensor's numbers from those of others.
    pub(crate) fn key(&self) -> u64 {
        self.numbers.key()
    }

    /// The first `count` weights as little-endian bf16, drawn by all processors.
    pub(crate) fn bytes(&self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; 2 * count];
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let part = count.div_ceil(threads).max(1);
        thread::scope(|scope| {
            for (index, part_bytes) in bytes.chunks_mut(2 * part).enumerate() {
                scope.spawn(move || {
                    for (offset, word) in part_bytes.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                        let number = self.numbers.normal(index * part + offset);
                        *word = random::bf16_bits(self.centre + self.spread * number).to_le_bytes();
                    }
                });
            }
        });
        bytes
    }
}
