//! What the interfaces have in common in which the critic writes text: the body of a conversation, sampling parameters,
//! shapes and forms of replies, and the continuation of prompts. It knows none of these interfaces.

pub(super) mod call;
pub(super) mod chat;
pub(super) mod continuation;
pub(super) mod conversation_tokens;
pub(super) mod detached_images;
pub(super) mod forms;
pub(super) mod image_params;
pub(super) mod messages;
mod prompt_keys;
mod prompt_schema;
pub(super) mod sampling;
pub(super) mod shape;
pub(super) mod text_counts;
pub(super) mod text_event;
mod tokens;
pub(super) mod tools;
pub(super) mod unsupported;
