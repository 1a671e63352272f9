//! The tensors of a made model: names, shapes, and the mean and standard deviation of their weights.
//!
//! With these deviations, activations keep their magnitude through any number of layers, and biases, norms and
//! heads all affect the output.

use super::shape::Shape;
use crate::{
    decoders::{DecoderTensor, TensorRole},
    drawn::DrawnTensor,
    vision::{ImageTensor, ImageTensorRole},
};

/// A tensor to draw.
#[derive(Debug)]
pub(super) struct RandomTensor {
    /// Its name in the Hugging Face layout.
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// The mean of its weights.
    pub(super) centre: f32,
    /// The standard deviation of its weights.
    pub(super) spread: f32,
}

impl RandomTensor {
    /// Number of weights.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The generator of its weights for `seed`.
    pub(super) fn drawn(&self, seed: u64) -> DrawnTensor {
        DrawnTensor::new(seed, &self.name, self.centre, self.spread)
    }
}

/// All tensors but the language model's.
pub(super) fn image(shape: Shape) -> Vec<RandomTensor> {
    let tensors = (shape.architecture().image_tensors)(&shape.vision(), &shape.text());
    tensors.into_iter().map(of_image).collect()
}

/// The tensors of the language model.
pub(super) fn decoder(shape: Shape) -> Vec<RandomTensor> {
    let text = shape.text();
    text.tensors(text.kind.published).into_iter().map(of_decoder).collect()
}

/// The mean and the standard deviation of the weights of a norm.
const NORM: (f32, f32) = (1.0, 0.2);

/// The standard deviation of the weights of a product whose outputs are `gain` times as large as its inputs.
fn spread_of_product(gain: f32, input: usize) -> f32 {
    gain / (input as f32).sqrt()
}

fn of_decoder(tensor: DecoderTensor) -> RandomTensor {
    let product = |gain| (0.0, spread_of_product(gain, tensor.shape[1]));
    let (centre, spread) = match tensor.role {
        TensorRole::Embedding => (0.0, 1.0),
        TensorRole::Norm => NORM,
        TensorRole::Bias => (0.0, 0.4),
        TensorRole::Queries | TensorRole::Keys => product(1.7),
        TensorRole::Values | TensorRole::AttentionOutput | TensorRole::Gate | TensorRole::Up => product(1.0),
        // The output of a layer should outweigh the embedding, or the model would only repeat each token.
        TensorRole::Down | TensorRole::Head => product(3.0),
    };
    RandomTensor { name: tensor.name, shape: tensor.shape, centre, spread }
}

fn of_image(tensor: ImageTensor) -> RandomTensor {
    let product = |gain| (0.0, spread_of_product(gain, tensor.shape[1..].iter().product()));
    let (centre, spread) = match tensor.role {
        ImageTensorRole::Positions => (0.0, 0.5),
        ImageTensorRole::Norm => NORM,
        ImageTensorRole::Bias => (0.0, 0.15),
        ImageTensorRole::Newline => (0.0, 1.0),
        ImageTensorRole::Queries | ImageTensorRole::Keys => product(1.4),
        ImageTensorRole::Patches
        | ImageTensorRole::Values
        | ImageTensorRole::AttentionOutput
        | ImageTensorRole::Expand
        | ImageTensorRole::Contract
        | ImageTensorRole::ProjectorIn => product(1.0),
        ImageTensorRole::ProjectorOut => product(1.7),
    };
    RandomTensor { name: tensor.name, shape: tensor.shape, centre, spread }
}
