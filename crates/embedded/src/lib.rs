//! The small critic that the binary carries: its checkpoint files, compiled in.
//!
//! `checkpoint/MODEL_CARD.md` says what it is and how well it judges; `training/` makes it.

/// The critic's name.
pub const NAME: &str = "gavel-mini";

/// Each file of the checkpoint by its name.
///
/// A `static`, because the bytes of a constant may be copied into every part of a program that uses it.
pub static FILES: &[(&str, &[u8])] = &[
    ("config.json", include_bytes!("../checkpoint/config.json")),
    ("generation_config.json", include_bytes!("../checkpoint/generation_config.json")),
    ("preprocessor_config.json", include_bytes!("../checkpoint/preprocessor_config.json")),
    ("tokenizer.json", include_bytes!("../checkpoint/tokenizer.json")),
    ("chat_template.jinja", include_bytes!("../checkpoint/chat_template.jinja")),
    ("model.safetensors", include_bytes!("../checkpoint/model.safetensors")),
];
