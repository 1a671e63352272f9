//! Qwen2 as a kind of decoder.

use super::{
    config,
    inventory::{self, GGUF_ARCHITECTURE},
    names::{HEAD_IN_GGUF, IN_GGUF},
};
use crate::{
    chat::{TURN_END, TURN_START},
    decoders::{DecoderKind, DecoderNames, GgufDecoder, TokenizerKind},
};

/// Qwen2, with the names of its tensors in published llava-onevision checkpoints.
pub(crate) static QWEN2: DecoderKind = DecoderKind {
    name: "Qwen2",
    published: DecoderNames { prefix: "language_model.model.", head: "language_model.lm_head.weight" },
    tensors: inventory::tensors,
    config: config::write,
    tokenizer: TokenizerKind {
        class: "Qwen2Tokenizer",
        pattern: PIECES,
        pattern_in_gguf: "qwen2",
        padding: "<|endoftext|>",
        turn_start: TURN_START,
        turn_end: TURN_END,
        chat_template: CHAT_TEMPLATE,
    },
    gguf: GgufDecoder {
        architecture: GGUF_ARCHITECTURE,
        names: &IN_GGUF,
        head: HEAD_IN_GGUF,
        metadata: inventory::gguf_metadata,
    },
};

/// The pre-tokenizer's pattern.
const PIECES: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// ChatML.
const CHAT_TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n\
    {{ message['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
