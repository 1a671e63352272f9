//! The list of all tensors but the decoder's, by which checkpoints of random weights are drawn.

use super::names::Names;
use crate::{
    decoders::DecoderConfig,
    vision::{ImageTensor, ImageTensorRole, VisionConfig, siglip_tensors},
};

/// The tensors of the tower and the projector, and the newline vector, with the names of published checkpoints.
pub(super) fn image_tensors(vision: &VisionConfig, text: &DecoderConfig) -> Vec<ImageTensor> {
    let names = Names::published();
    let (seen, size) = (vision.hidden_size, text.hidden_size);
    let mut tensors = siglip_tensors(vision, names.vision);
    let layers = [(seen, ImageTensorRole::ProjectorIn), (size, ImageTensorRole::ProjectorOut)];
    for (prefix, (inputs, role)) in names.projector.iter().zip(layers) {
        let weight = ImageTensor { name: format!("{prefix}weight"), shape: vec![size, inputs], role };
        let (name, role) = (format!("{prefix}bias"), ImageTensorRole::Bias);
        tensors.extend([weight, ImageTensor { name, shape: vec![size], role }]);
    }
    let (name, role) = (names.newline.to_owned(), ImageTensorRole::Newline);
    tensors.push(ImageTensor { name, shape: vec![size], role });
    tensors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decoders::QWEN2, layers::Activation};

    #[test]
    fn the_list_has_every_part_between_images_and_the_decoder() {
        let vision = VisionConfig { layers: 2, ..VisionConfig::SO400M };
        let text = DecoderConfig {
            kind: &QWEN2,
            hidden_size: 64,
            intermediate_size: 128,
            layers: 1,
            heads: 2,
            kv_heads: 1,
            head_size: 32,
            vocabulary: 100,
            context_length: 512,
            norm_epsilon: 1e-6,
            rope_theta: 1e6,
            activation: Activation::Silu,
            tied: false,
            stored_head_counts: false,
        };
        let tensors = image_tensors(&vision, &text);
        // Three embeddings, a weight and a bias for each of eight parts of two layers, a norm, a projector, a vector.
        assert_eq!(tensors.len(), 3 + 2 * 16 + 2 + 4 + 1);
        let shape = |name: &str| tensors.iter().find(|tensor| tensor.name == name).map(|found| &*found.shape);
        let tower = "vision_tower.vision_model.";
        assert_eq!(shape(&format!("{tower}embeddings.patch_embedding.weight")), Some(&[1152, 3, 14, 14][..]));
        assert_eq!(shape(&format!("{tower}encoder.layers.1.mlp.fc1.weight")), Some(&[4304, 1152][..]));
        assert_eq!(shape(&format!("{tower}encoder.layers.1.mlp.fc2.bias")), Some(&[1152][..]));
        assert_eq!(shape("multi_modal_projector.linear_1.weight"), Some(&[64, 1152][..]));
        assert_eq!(shape("multi_modal_projector.linear_2.weight"), Some(&[64, 64][..]));
        assert_eq!(shape("image_newline"), Some(&[64][..]));
    }
}
