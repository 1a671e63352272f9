//! The tensors of a made model: names, shapes, and the mean and standard deviation of their weights.
//!
//! With these deviations, activations keep their magnitude through any number of layers, and biases, norms and
//! heads all affect the output.

use super::shape::Shape;
use crate::{
    decoders::{DecoderTensor, TensorRole},
    drawn::DrawnTensor,
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

/// The tensors of the tower and the projector, and the newline vector.
pub(super) fn image(shape: Shape) -> Vec<RandomTensor> {
    let mut tensors = Tensors(Vec::new());
    tensors.tower(shape);
    tensors.projector(shape);
    tensors.0
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

struct Tensors(Vec<RandomTensor>);

/// The standard deviation of the biases of tower and projector.
const BIAS: f32 = 0.15;

impl Tensors {
    fn add(&mut self, name: String, shape: &[usize], spread: f32) {
        self.0.push(RandomTensor { name, shape: shape.to_vec(), centre: 0.0, spread });
    }

    /// A product whose outputs are `gain` times as large as its inputs, and its bias.
    fn biased_product(&mut self, name: &str, (output, input): (usize, usize), gain: f32) {
        self.add(format!("{name}.weight"), &[output, input], spread_of_product(gain, input));
        self.add(format!("{name}.bias"), &[output], BIAS);
    }

    fn biased_norm(&mut self, name: &str, size: usize) {
        let (centre, spread) = NORM;
        self.0.push(RandomTensor { name: format!("{name}.weight"), shape: vec![size], centre, spread });
        self.add(format!("{name}.bias"), &[size], BIAS);
    }

    fn tower(&mut self, shape: Shape) {
        let config = shape.vision();
        let (size, wide, patch) = (config.hidden_size, config.intermediate_size, config.patch_size);
        let prefix = "vision_tower.vision_model";
        let inputs = 3 * patch * patch;
        let kernel = format!("{prefix}.embeddings.patch_embedding.weight");
        self.add(kernel, &[size, 3, patch, patch], 1.0 / (inputs as f32).sqrt());
        self.add(format!("{prefix}.embeddings.patch_embedding.bias"), &[size], BIAS);
        let positions = config.patches_per_side().pow(2);
        self.add(format!("{prefix}.embeddings.position_embedding.weight"), &[positions, size], 0.5);
        for layer in 0..config.layers {
            let name = |part: &str| format!("{prefix}.encoder.layers.{layer}.{part}");
            self.biased_norm(&name("layer_norm1"), size);
            for (part, gain) in [("q_proj", 1.4), ("k_proj", 1.4), ("v_proj", 1.0), ("out_proj", 1.0)] {
                self.biased_product(&name(&format!("self_attn.{part}")), (size, size), gain);
            }
            self.biased_norm(&name("layer_norm2"), size);
            self.biased_product(&name("mlp.fc1"), (wide, size), 1.0);
            self.biased_product(&name("mlp.fc2"), (size, wide), 1.0);
        }
        // Never applied, but part of published checkpoints.
        self.biased_norm(&format!("{prefix}.post_layernorm"), size);
    }

    fn projector(&mut self, shape: Shape) {
        let (seen, size) = (shape.vision().hidden_size, shape.text().hidden_size);
        self.biased_product("multi_modal_projector.linear_1", (size, seen), 1.0);
        self.biased_product("multi_modal_projector.linear_2", (size, size), 1.7);
        self.add("image_newline".into(), &[size], 1.0);
    }
}
