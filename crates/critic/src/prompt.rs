//! Prompts: messages made of text, images and videos, before any chat format or tokenizer.

use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

/// The author of a [`Message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Instructions that hold for the whole conversation.
    System,
    /// The user.
    User,
    /// The critic.
    Assistant,
}

/// The bytes of an image file (PNG, JPEG, WebP, GIF or BMP) as the client sent them; the processor decodes them.
/// Clones share the bytes and their digest.
#[derive(Debug, Clone)]
pub struct EncodedImage {
    file: Arc<File>,
    detail: Detail,
}

/// At which resolution a client wants one image to be seen. The architecture decides how it is cut for that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Detail {
    /// By the [`ImageTiling`] of the prompt.
    #[default]
    Auto,
    /// Scaled down, so that it takes few tokens.
    Low,
    /// At its own resolution, even among other images.
    High,
}

#[derive(Debug)]
struct File {
    bytes: Box<[u8]>,
    /// Computed on first use, and once: many judgements may be about one image.
    digest: OnceLock<[u8; 32]>,
}

impl EncodedImage {
    /// Takes the bytes of one image file.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        let file = Arc::new(File { bytes: bytes.into(), digest: OnceLock::new() });
        Self { file, detail: Detail::Auto }
    }

    /// The same image, to be seen with `detail`.
    pub fn with_detail(self, detail: Detail) -> Self {
        Self { detail, ..self }
    }

    /// The resolution at which it is to be seen.
    pub fn detail(&self) -> Detail {
        self.detail
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.file.bytes
    }

    /// SHA-256 of the bytes of the file.
    pub fn digest(&self) -> [u8; 32] {
        *self.file.digest.get_or_init(|| Sha256::digest(&self.file.bytes).into())
    }
}

impl PartialEq for EncodedImage {
    fn eq(&self, other: &Self) -> bool {
        self.detail == other.detail && self.bytes() == other.bytes()
    }
}

impl Eq for EncodedImage {}

/// One piece of a message. Text is always data: nothing in it can become a role, an image or a control token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Plain text.
    Text(String),
    /// An image at this position between the texts.
    Image(EncodedImage),
    /// A video, as the frames that the critic should see, in order.
    Video(Vec<EncodedImage>),
}

/// One turn of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The author.
    pub role: Role,
    /// Texts, images and videos, in order.
    pub parts: Vec<Part>,
}

impl Message {
    /// A turn that is one text.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, parts: vec![Part::Text(text.into())] }
    }
}

/// At which resolution images with [`Detail::Auto`] are seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImageTiling {
    /// As the critic was trained, which may depend on how many images the prompt has.
    #[default]
    Trained,
    /// Each at its own resolution, however many there are.
    OwnResolution,
}

/// A whole request to a critic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    /// The turns so far, oldest first.
    pub messages: Vec<Message>,
    /// The start of the critic's own turn, which it continues; may be empty.
    pub reply: String,
    /// The resolution of images that do not have one of their own.
    pub tiling: ImageTiling,
    /// Who may find what is cached of its images. It is no part of the digest.
    pub cache_scope: CacheScope,
}

/// A scope of caches: what was decoded or computed for a prompt of one scope is not found by prompts of another, so
/// that nobody learns from the time that a request takes which images others have sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheScope(pub [u8; 32]);

impl Prompt {
    /// Identifies the prompt: SHA-256 over its parts, each with its kind and length; an image enters as its own
    /// SHA-256.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let mut part = |kind: u8, bytes: &[u8]| {
            digest.update([kind]);
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        for message in &self.messages {
            let role = match message.role {
                Role::System => b"system".as_slice(),
                Role::User => b"user",
                Role::Assistant => b"assistant",
            };
            part(0, role);
            for piece in &message.parts {
                match piece {
                    Part::Text(text) => part(1, text.as_bytes()),
                    Part::Image(image) => {
                        part(2, &image.digest());
                        match image.detail() {
                            Detail::Auto => {}
                            Detail::Low => part(6, b"low"),
                            Detail::High => part(6, b"high"),
                        }
                    }
                    Part::Video(frames) => {
                        let frames: Vec<u8> = frames.iter().flat_map(EncodedImage::digest).collect();
                        part(3, &frames);
                    }
                }
            }
        }
        part(4, self.reply.as_bytes());
        part(5, &[u8::from(self.tiling == ImageTiling::OwnResolution)]);
        digest.finalize().into()
    }
}
