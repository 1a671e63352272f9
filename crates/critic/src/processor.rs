//! Encoding of prompts to token ids and tiles, and decoding of token ids to bytes.

use crate::{ProcessorFigures, Prompt, TokenId, Visual};

/// An encoded prompt, the model's input.
#[derive(Debug, Clone, Default)]
pub struct Encoded {
    /// Token ids; each visual is a run of placeholder ids, one for each feature vector.
    pub tokens: Vec<TokenId>,
    /// The images and videos, in the order of their spans.
    pub visuals: Vec<Visual>,
}

impl Encoded {
    /// The number of tokens that stand for images and videos.
    pub fn visual_tokens(&self) -> usize {
        self.visuals.iter().map(|visual| visual.length).sum()
    }
}

/// What is wrong with an image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFault {
    /// Its format, or its variant of the format, is not supported.
    Unsupported,
    /// Its format is supported, but the data is damaged or cut short.
    Damaged,
    /// Decoding it took longer than the limit.
    TooSlow,
    /// The file has no bytes, or the image no pixels.
    Empty,
    /// The file has too many bytes.
    FileTooLarge,
    /// A side is too long, the sides are too unequal, or the images of the prompt have too many pixels in total.
    TooLarge,
}

/// Why a prompt cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// An image is in an unsupported format, is damaged, or exceeds a limit.
    #[error("image {index} cannot be read: {reason}")]
    Image {
        /// Zero-based index of the image in the prompt.
        index: usize,
        /// What is wrong with it, as a code.
        fault: ImageFault,
        /// What is wrong with it, as text. Not the decoder's own message, since that may quote the file.
        reason: String,
    },
    /// An image has more pixels than the limit.
    #[error("image {index} has {width}x{height} pixels; the limit is {limit} pixels in all")]
    ImageTooLarge {
        /// Zero-based index of the image in the prompt.
        index: usize,
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// The most pixels that an image may have.
        limit: u64,
    },
    /// Too many decoders that exceeded the time limit are still running to start another, or no thread could be
    /// started.
    #[error("too many images are being decoded")]
    Busy,
    /// A video has no frames.
    #[error("a video has no frames")]
    EmptyVideo,
    /// The text cannot be tokenised.
    #[error("the text cannot be tokenised")]
    Tokenizer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The conversation has a form that the checkpoint's chat format cannot express.
    #[error("the critic's chat format cannot express this conversation: {0}")]
    Conversation(&'static str),
}

/// Turns prompts into the model's input, and its tokens back into bytes. Runs on the CPU, shared by all requests.
pub trait Processor: Send + Sync {
    /// Applies the chat format, tokenises, cuts images into tiles, and inserts placeholders for their features.
    ///
    /// # Errors
    /// [`EncodeError`] when an image cannot be read, or the conversation cannot be expressed or tokenised.
    fn encode(&self, prompt: &Prompt) -> Result<Encoded, EncodeError>;

    /// A lower bound on the prompt's tokens, from the headers of its images and the beginning of its text; no image
    /// is decoded. Returns 0 where the images fit into `capacity` tokens whatever their sizes.
    ///
    /// # Errors
    /// [`EncodeError`] when a header cannot be read, an image exceeds a limit, or the text cannot be tokenised.
    fn least_tokens(&self, prompt: &Prompt, capacity: usize) -> Result<usize, EncodeError> {
        let _ = (prompt, capacity);
        Ok(0)
    }

    /// A lower bound on the tokens of `text` alone, from its beginning, when it certainly has `capacity` tokens or
    /// more; otherwise 0.
    ///
    /// # Errors
    /// [`EncodeError::Tokenizer`] when the text cannot be tokenised.
    fn least_text_tokens(&self, text: &str, capacity: usize) -> Result<usize, EncodeError> {
        let _ = (text, capacity);
        Ok(0)
    }

    /// The bytes that `token` stands for; a character may be spread over several tokens. For a control token, the
    /// text it is written as, such as `<|im_end|>`.
    fn token_bytes(&self, token: TokenId) -> Vec<u8>;

    /// Size of the vocabulary: all token ids are below it.
    fn vocabulary(&self) -> usize;

    /// The tokens with which the chat format ends the critic's turn: the end token and those that follow it. Empty
    /// where they are not known.
    fn turn_end(&self) -> Vec<TokenId> {
        Vec::new()
    }

    /// Whether `token` is a control token, which is left out of ordinary output.
    fn is_control(&self, token: TokenId) -> bool;

    /// The ids of `text` on its own, in which no control token is recognised.
    ///
    /// # Errors
    /// [`EncodeError::Tokenizer`] when the text cannot be tokenised.
    fn tokenize(&self, text: &str) -> Result<Vec<TokenId>, EncodeError>;

    /// Counters since the start; all zeros by default.
    fn figures(&self) -> ProcessorFigures {
        ProcessorFigures::default()
    }
}
