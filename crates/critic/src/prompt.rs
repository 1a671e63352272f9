//! What a client asks: messages made of text, pictures and videos, before any chat format or tokenizer.

use std::sync::Arc;

/// Who speaks in a [`Message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions that hold for the whole conversation.
    System,
    /// The person who asks.
    User,
    /// The critic itself.
    Assistant,
}

/// The bytes of an image file (PNG, JPEG, WebP, GIF or BMP) as the client sent them; decoding is the processor's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedImage(pub Arc<[u8]>);

impl EncodedImage {
    /// Takes the bytes of one image file.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }
}

/// One piece of a message. Text is always data: nothing in it can become a role, a picture or a control token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Plain text.
    Text(String),
    /// A picture, in its place between the texts.
    Image(EncodedImage),
    /// A video, as the frames that the critic should see, in order.
    Video(Vec<EncodedImage>),
}

/// One turn of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said and shown, in order.
    pub parts: Vec<Part>,
}

impl Message {
    /// A turn of text alone.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, parts: vec![Part::Text(text.into())] }
    }
}

/// How the pictures of a prompt with several pictures are cut. A single picture is always tiled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImageTiling {
    /// As the checkpoints were trained: one picture at any resolution, several as one padded tile each.
    #[default]
    Trained,
    /// Every picture at any resolution, however many there are.
    AnyResolution,
}

/// A whole request to a critic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    /// The turns so far, oldest first.
    pub messages: Vec<Message>,
    /// The start of the critic's own turn, which it continues; may be empty.
    pub reply: String,
    /// How several pictures are cut.
    pub tiling: ImageTiling,
}
