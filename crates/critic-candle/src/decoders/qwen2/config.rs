//! Reads and writes the transformers configuration of a Qwen2 decoder.

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::QWEN2;
use crate::{
    decoders::{ControlIds, DecoderConfig},
    error::LoadError,
    layers::Activation,
    source::Source,
};

/// Qwen2's keys. `save_pretrained` leaves out values that equal the class's defaults, so each default is the class's.
#[derive(Deserialize)]
pub(crate) struct Qwen2Config {
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    /// `null` differs from an absent key: it means as many as there are query heads.
    #[serde(default, deserialize_with = "given")]
    num_key_value_heads: Option<Option<usize>>,
    head_dim: Option<usize>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_parameters: Option<RopeParameters>,
    rope_scaling: Option<RopeParameters>,
    hidden_act: Option<String>,
    use_sliding_window: Option<bool>,
    /// `null` means no window.
    #[serde(default, deserialize_with = "given")]
    sliding_window: Option<Option<usize>>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    /// The kind of decoder, where the decoder has a configuration of its own.
    pub(crate) model_type: Option<String>,
    pub(crate) tie_word_embeddings: Option<bool>,
}

#[derive(Deserialize)]
struct RopeParameters {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
    /// The older name of `rope_type`; a file may contain both.
    #[serde(rename = "type")]
    old_rope_type: Option<String>,
}

/// The value of a key that exists, where `null` is a value.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Qwen2Config {
    /// The sliding window in positions; `None` if none of `layers` layers has one.
    fn narrowest(&self, layers: usize) -> Option<usize> {
        // Where layers are not listed, those from `max_window_layers` on have the window.
        let windowed = match &self.layer_types {
            Some(kinds) => kinds.iter().any(|kind| kind != "full_attention"),
            None => self.max_window_layers.unwrap_or(28) < layers,
        };
        let window = self.sliding_window.unwrap_or(Some(4096));
        window.filter(|_| windowed && self.use_sliding_window == Some(true))
    }

    /// The base of rotary embeddings, whose only supported kind is the default one.
    fn rope_theta(&self, source: &Source) -> Result<f64, LoadError> {
        let scaling = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        if let Some(kind) = scaling.and_then(|rope| rope.rope_type.as_ref().or(rope.old_rope_type.as_ref()))
            && kind != "default"
        {
            return Err(source.unsupported("rope_type", kind, "default"));
        }
        Ok(scaling.and_then(|rope| rope.rope_theta).or(self.rope_theta).unwrap_or(10_000.0))
    }

    /// The same configuration without its key `rope_scaling`, for code that ignores it.
    pub(crate) fn without_rope_scaling(self) -> Self {
        Self { rope_scaling: None, ..self }
    }

    /// The sizes and settings of the decoder.
    ///
    /// # Errors
    /// [`LoadError::Unsupported`] for a value that is not implemented or makes no sense.
    pub(crate) fn into_decoder_config(self, source: &Source) -> Result<DecoderConfig, LoadError> {
        let layers = self.num_hidden_layers.unwrap_or(32);
        let context_length = self.max_position_embeddings.unwrap_or(32_768);
        if layers == 0 {
            return Err(source.unsupported("num_hidden_layers", layers, "at least 1"));
        }
        if context_length == 0 {
            return Err(source.unsupported("max_position_embeddings", context_length, "at least 1"));
        }
        if self.narrowest(layers).is_some_and(|window| window < context_length) {
            return Err(source.unsupported(
                "use_sliding_window",
                "true",
                "false: attention is over the whole context",
            ));
        }
        let rope_theta = self.rope_theta(source)?;
        let hidden_size = self.hidden_size.unwrap_or(4096);
        let heads = self.num_attention_heads.unwrap_or(32);
        let kv_heads = self.num_key_value_heads.map_or(32, |count| count.unwrap_or(heads));
        if heads == 0 || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            let found = format!("{kv_heads} for {heads} query heads");
            return Err(source.unsupported("num_key_value_heads", found, "a divisor of num_attention_heads"));
        }
        let head_size = self.head_dim.unwrap_or(hidden_size / heads);
        if head_size == 0 || !head_size.is_multiple_of(2) {
            return Err(source.unsupported("head_dim", head_size, "an even number"));
        }
        Ok(DecoderConfig {
            kind: &QWEN2,
            hidden_size,
            intermediate_size: self.intermediate_size.unwrap_or(22016),
            layers,
            heads,
            kv_heads,
            head_size,
            vocabulary: self.vocab_size.unwrap_or(151_936),
            context_length,
            norm_epsilon: self.rms_norm_eps.unwrap_or(1e-6),
            rope_theta,
            activation: Activation::read(source, "hidden_act", self.hidden_act.as_deref().unwrap_or("silu"))?,
            tied: self.tie_word_embeddings.unwrap_or(false),
            stored_head_counts: false,
        })
    }
}

/// The configuration of a decoder that activates with SiLU, in the keys of published checkpoints.
pub(super) fn write(config: &DecoderConfig, control: ControlIds) -> Value {
    json!({
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "bos_token_id": control.padding,
        "eos_token_id": control.turn_end,
        "hidden_size": config.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.context_length,
        "max_window_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "num_key_value_heads": config.kv_heads,
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": config.rope_theta,
        "sliding_window": null,
        "use_sliding_window": false,
        "tie_word_embeddings": config.tied,
        "use_cache": true,
        "vocab_size": config.vocabulary,
    })
}
