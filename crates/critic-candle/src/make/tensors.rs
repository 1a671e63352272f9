//! The tensors of a made model: names, shapes, and how far their weights spread.
//!
//! With these spreads, activations keep their size through any number of layers, and biases, norms and heads all have a
//! part in the output.

use super::{drawn::DrawnTensor, shape::Shape};

/// A tensor to be drawn.
#[derive(Debug)]
pub(super) struct RandomTensor {
    /// Its name in the Hugging Face layout.
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// The mean of its weights.
    pub(super) centre: f32,
    /// Their standard deviation.
    pub(super) spread: f32,
}

impl RandomTensor {
    /// Number of weights.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its weights, which follow from `seed`.
    pub(super) fn drawn(&self, seed: u64) -> DrawnTensor {
        DrawnTensor::new(seed, &self.name, self.centre, self.spread)
    }
}

/// The tensors that images go through.
pub(super) fn image(shape: Shape) -> Vec<RandomTensor> {
    let mut tensors = Tensors(Vec::new());
    tensors.tower(shape);
    tensors.projector(shape);
    tensors.0
}

/// The tensors of the language model.
pub(super) fn decoder(shape: Shape) -> Vec<RandomTensor> {
    let mut tensors = Tensors(Vec::new());
    tensors.decoder(shape);
    tensors.0
}

struct Tensors(Vec<RandomTensor>);

impl Tensors {
    fn add(&mut self, name: String, shape: &[usize], spread: f32) {
        self.0.push(RandomTensor { name, shape: shape.to_vec(), centre: 0.0, spread });
    }

    /// A product whose outputs are `gain` times as large as its inputs.
    fn product(&mut self, name: &str, (output, input): (usize, usize), gain: f32) {
        self.add(format!("{name}.weight"), &[output, input], gain / (input as f32).sqrt());
    }

    fn biased_product(&mut self, name: &str, shape: (usize, usize), gain: f32, bias: f32) {
        self.product(name, shape, gain);
        self.add(format!("{name}.bias"), &[shape.0], bias);
    }

    fn norm(&mut self, name: &str, size: usize) {
        self.0.push(RandomTensor {
            name: format!("{name}.weight"),
            shape: vec![size],
            centre: 1.0,
            spread: 0.2,
        });
    }

    fn biased_norm(&mut self, name: &str, size: usize) {
        self.norm(name, size);
        self.add(format!("{name}.bias"), &[size], 0.15);
    }

    fn tower(&mut self, shape: Shape) {
        let anatomy = shape.vision();
        let (size, wide, patch) = (anatomy.hidden_size, anatomy.intermediate_size, anatomy.patch_size);
        let prefix = "vision_tower.vision_model";
        let inputs = 3 * patch * patch;
        let kernel = format!("{prefix}.embeddings.patch_embedding.weight");
        self.add(kernel, &[size, 3, patch, patch], 1.0 / (inputs as f32).sqrt());
        self.add(format!("{prefix}.embeddings.patch_embedding.bias"), &[size], 0.15);
        let positions = anatomy.patches_per_side().pow(2);
        self.add(format!("{prefix}.embeddings.position_embedding.weight"), &[positions, size], 0.5);
        for layer in 0..anatomy.layers {
            let name = |part: &str| format!("{prefix}.encoder.layers.{layer}.{part}");
            self.biased_norm(&name("layer_norm1"), size);
            for (part, gain) in [("q_proj", 1.4), ("k_proj", 1.4), ("v_proj", 1.0), ("out_proj", 1.0)] {
                self.biased_product(&name(&format!("self_attn.{part}")), (size, size), gain, 0.15);
            }
            self.biased_norm(&name("layer_norm2"), size);
            self.biased_product(&name("mlp.fc1"), (wide, size), 1.0, 0.15);
            self.biased_product(&name("mlp.fc2"), (size, wide), 1.0, 0.15);
        }
        // Never applied, but published checkpoints have it.
        self.biased_norm(&format!("{prefix}.post_layernorm"), size);
    }

    fn projector(&mut self, shape: Shape) {
        let (seen, size) = (shape.vision().hidden_size, shape.text().hidden_size);
        self.biased_product("multi_modal_projector.linear_1", (size, seen), 1.0, 0.15);
        self.biased_product("multi_modal_projector.linear_2", (size, size), 1.7, 0.15);
        self.add("image_newline".into(), &[size], 1.0);
    }

    fn decoder(&mut self, shape: Shape) {
        let anatomy = shape.text();
        let (size, wide) = (anatomy.hidden_size, anatomy.intermediate_size);
        let (queries, keys) = (anatomy.heads * anatomy.head_size, anatomy.kv_heads * anatomy.head_size);
        self.add("language_model.model.embed_tokens.weight".into(), &[anatomy.vocabulary, size], 1.0);
        for layer in 0..anatomy.layers {
            let name = |part: &str| format!("language_model.model.layers.{layer}.{part}");
            self.norm(&name("input_layernorm"), size);
            self.biased_product(&name("self_attn.q_proj"), (queries, size), 1.7, 0.4);
            self.biased_product(&name("self_attn.k_proj"), (keys, size), 1.7, 0.4);
            self.biased_product(&name("self_attn.v_proj"), (keys, size), 1.0, 0.4);
            self.product(&name("self_attn.o_proj"), (size, queries), 1.0);
            self.norm(&name("post_attention_layernorm"), size);
            self.product(&name("mlp.gate_proj"), (wide, size), 1.0);
            self.product(&name("mlp.up_proj"), (wide, size), 1.0);
            // What a layer adds should outweigh the embedding, or each token would only repeat itself.
            self.product(&name("mlp.down_proj"), (size, wide), 3.0);
        }
        self.norm("language_model.model.norm", size);
        self.product("language_model.lm_head", (anatomy.vocabulary, size), 3.0);
    }
}
