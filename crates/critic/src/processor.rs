//! From prompts to token ids and tiles, and from token ids back to bytes.

use crate::{ProcessorFigures, Prompt, TokenId, Visual};

/// A prompt as the model reads it.
#[derive(Debug, Clone, Default)]
pub struct Encoded {
    /// Token ids; each visual stands as a run of placeholder ids, one for each feature vector.
    pub tokens: Vec<TokenId>,
    /// The images and videos, in the order of their spans.
    pub visuals: Vec<Visual>,
}

/// What is wrong with an image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFault {
    /// It is in none of the formats that are read.
    Unsupported,
    /// It is in one of them, and damaged or cut short.
    Damaged,
    /// It has no byte, or no pixel.
    Empty,
    /// It has too many bytes.
    FileTooLarge,
    /// Its sides are too long or too unequal, or the images of a prompt have too many pixels together.
    TooLarge,
}

/// Why a prompt cannot be shown to a critic.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The bytes of an image are in no format that is read, or they are damaged.
    #[error("image {index} cannot be read: {reason}")]
    Image {
        /// Which image of the prompt, from 0.
        index: usize,
        /// What is wrong with it, for programs.
        fault: ImageFault,
        /// What is wrong with it, for people: words of our own, since those of decoders quote what they read.
        reason: String,
    },
    /// The image is larger than the limit on pixels.
    #[error("image {index} has {width}x{height} pixels; the limit is {limit} pixels in all")]
    ImageTooLarge {
        /// Which image of the prompt, from 0.
        index: usize,
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// The most pixels that an image may have.
        limit: u64,
    },
    /// Decoders that took too long are still running, so many that no further image is decoded now.
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

/// Turns prompts into what the model reads and its tokens back into bytes. Runs on the CPU, shared by all requests.
pub trait Processor: Send + Sync {
    /// Applies the chat format, tokenises, cuts images into tiles and makes room for their features.
    ///
    /// # Errors
    /// [`EncodeError`] when an image cannot be read or the conversation cannot be expressed.
    fn encode(&self, prompt: &Prompt) -> Result<Encoded, EncodeError>;

    /// Tokens that a prompt surely takes, told by the headers of its images and the beginning of its text; no image is
    /// decoded. 0 where it is plain without a look that images have room in `capacity` tokens.
    ///
    /// # Errors
    /// [`EncodeError`] when a header cannot be read or says that a bound is passed.
    fn least_tokens(&self, prompt: &Prompt, capacity: usize) -> Result<usize, EncodeError> {
        let _ = (prompt, capacity);
        Ok(0)
    }

    /// Tokens that a text surely has by itself, told by its beginning; 0 where it is plain without a look that it may have no more
    /// than `capacity`.
    ///
    /// # Errors
    /// [`EncodeError::Tokenizer`] when the text cannot be tokenised.
    fn least_text_tokens(&self, text: &str, capacity: usize) -> Result<usize, EncodeError> {
        let _ = (text, capacity);
        Ok(0)
    }

    /// The bytes that `token` stands for; a character may be spread over several tokens. A control token gives the
    /// text it is written as, such as `<|im_end|>`.
    fn token_bytes(&self, token: TokenId) -> Vec<u8>;

    /// How many tokens there are: their ids are those below.
    fn vocabulary(&self) -> usize;

    /// The tokens by which the chat format ends the critic's turn, those that follow the end token included; none where
    /// that is not known.
    fn turn_end(&self) -> Vec<TokenId> {
        Vec::new()
    }

    /// Whether `token` is a control token, which ordinary output leaves out.
    fn is_control(&self, token: TokenId) -> bool;

    /// The ids of `text` as it would stand alone, with control tokens switched off.
    ///
    /// # Errors
    /// [`EncodeError::Tokenizer`] when the text cannot be tokenised.
    fn tokenize(&self, text: &str) -> Result<Vec<TokenId>, EncodeError>;

    /// What it did since its start.
    fn figures(&self) -> ProcessorFigures {
        ProcessorFigures::default()
    }
}
