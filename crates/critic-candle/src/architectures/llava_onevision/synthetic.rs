//! The configurations of a checkpoint of random weights, which both transformers and this crate can read.

use serde_json::{Value, json};

use super::inventory;
use crate::{
    architectures::{SyntheticArchitecture, SyntheticModel},
    vision::{VisionConfig, write_siglip_config},
};

/// Checkpoints in the Hugging Face layout.
pub(crate) static SYNTHETIC: SyntheticArchitecture = SyntheticArchitecture {
    processor: PROCESSOR,
    image_token: IMAGE_TOKEN,
    video_token: VIDEO_TOKEN,
    files,
    image_tensors: inventory::image_tensors,
};

const PROCESSOR: &str = "LlavaOnevisionProcessor";
const IMAGE_TOKEN: &str = "<image>";
const VIDEO_TOKEN: &str = "<video>";

/// The bound on tiles of features.
const ASPECT_RATIO: &str = "anyres_max_9";

/// Which of the tower's features are used.
const FEATURES: &str = "full";

fn files(model: &SyntheticModel<'_>) -> Vec<(&'static str, Value)> {
    vec![
        ("preprocessor_config.json", image_processor(model.vision)),
        ("video_preprocessor_config.json", video_processor(model.vision)),
        ("processor_config.json", processor(model.vision)),
        ("config.json", config(model)),
    ]
}

/// Grids of up to 6 by 6 tiles, as in published checkpoints.
fn grid_sizes(vision: &VisionConfig) -> Value {
    let tile = vision.image_size;
    (1..=6).flat_map(|rows| (1..=6).map(move |columns| json!([tile * rows, tile * columns]))).collect()
}

fn config(model: &SyntheticModel<'_>) -> Value {
    let SyntheticModel { vision, text, .. } = model;
    json!({
        "architectures": ["LlavaOnevisionForConditionalGeneration"],
        "model_type": "llava_onevision",
        "image_grid_pinpoints": grid_sizes(vision),
        "image_token_index": model.image,
        "video_token_index": model.video,
        "multimodal_projector_bias": true,
        "projector_hidden_act": "gelu",
        "text_config": (text.kind.config)(text, model.control),
        "tie_word_embeddings": text.tied,
        "use_image_newline_parameter": true,
        "vision_aspect_ratio": ASPECT_RATIO,
        "vision_config": write_siglip_config(vision),
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": FEATURES,
        "torch_dtype": model.dtype,
    })
}

fn image_processor(vision: &VisionConfig) -> Value {
    let mut keys = pixels(vision);
    keys["do_pad"] = true.into();
    keys["image_grid_pinpoints"] = grid_sizes(vision);
    keys["image_processor_type"] = "LlavaOnevisionImageProcessor".into();
    keys
}

fn video_processor(vision: &VisionConfig) -> Value {
    let mut keys = pixels(vision);
    keys["video_processor_type"] = "LlavaOnevisionVideoProcessor".into();
    keys
}

/// The settings that the processors of images and of videos share.
fn pixels(vision: &VisionConfig) -> Value {
    let size = vision.image_size;
    json!({
        "do_convert_rgb": true,
        "do_normalize": true,
        "do_rescale": true,
        "do_resize": true,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": PROCESSOR,
        "resample": 3,
        "rescale_factor": 1.0 / 255.0,
        "size": {"height": size, "width": size},
    })
}

fn processor(vision: &VisionConfig) -> Value {
    json!({
        "image_token": IMAGE_TOKEN,
        "num_image_tokens": vision.patches_per_side().pow(2),
        "processor_class": PROCESSOR,
        "video_token": VIDEO_TOKEN,
        "vision_aspect_ratio": ASPECT_RATIO,
        "vision_feature_select_strategy": FEATURES,
    })
}
