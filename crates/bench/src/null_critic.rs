//! A critic that computes nothing, so that everything except the model is measured.
//!
//! A text token is one byte where the critic writes, and four bytes in prompts, as with real tokenizers. The
//! next token depends on the last one alone: a score, a line break, one word, the end of the turn. That is a
//! verdict in the form of the small critic's profile.

use std::sync::Arc;

use critic::{
    Backend, BackendError, Batch, Build, Critic, EncodeError, Encoded, GenerationDefaults, Limits, Logits,
    Medium, Part, Processor, Prompt, Role, StepOutput, Tiles, TokenId, Visual, Wants,
};
use sha2::{Digest, Sha256};

use crate::cache_block::BLOCK_SIZE;

/// Ends the critic's turn; the tokens below it are bytes.
const END: u32 = 256;
/// Begins a turn; the tokens of the other roles follow it.
const TURN: u32 = 257;
/// A position of an image.
const IMAGE: u32 = 260;
/// The first of the tokens that represent four bytes of a prompt.
const WORDS: u32 = 261;
/// The size of the small critic's vocabulary.
const VOCABULARY: u32 = 896;
/// Tokens of an image in a prompt, about as many as a small image has for the small critic.
const IMAGE_TOKENS: usize = 64;
/// The reply, byte by byte; then the turn ends. No byte occurs twice, so that each determines the next.
const VERDICT: &[u8] = b"7\nFine.";

/// A critic that judges everything to be a 7, in the form of the small critic's profile.
pub fn null_critic() -> Critic {
    Critic {
        processor: Arc::new(NullProcessor),
        backend: Box::new(NullBackend::new()),
        generation: GenerationDefaults { end_tokens: vec![TokenId(END)], repetition_penalty: 1.0 },
        build: Build::default(),
        gpu_memory: None,
    }
}

struct NullProcessor;

impl Processor for NullProcessor {
    fn encode(&self, prompt: &Prompt) -> Result<Encoded, EncodeError> {
        let mut encoded = Encoded::default();
        for message in &prompt.messages {
            encoded.tokens.push(turn(message.role));
            for part in &message.parts {
                match part {
                    Part::Text(text) => encoded.tokens.extend(words(text)),
                    Part::Image(image) => encode_image(&mut encoded, image.bytes()),
                    Part::Video(frames) => {
                        frames.iter().for_each(|frame| encode_image(&mut encoded, frame.bytes()));
                    }
                }
            }
        }
        encoded.tokens.push(turn(Role::Assistant));
        encoded.tokens.extend(words(&prompt.reply));
        Ok(encoded)
    }

    fn token_bytes(&self, token: TokenId) -> Vec<u8> {
        u8::try_from(token.0).map_or_else(|_| b"<control>".to_vec(), |byte| vec![byte])
    }

    fn vocabulary(&self) -> usize {
        END as usize + 1
    }

    fn is_control(&self, token: TokenId) -> bool {
        token.0 >= END
    }

    fn tokenize(&self, text: &str) -> Result<Vec<TokenId>, EncodeError> {
        Ok(text.bytes().map(|byte| TokenId(byte.into())).collect())
    }
}

fn turn(role: Role) -> TokenId {
    TokenId(match role {
        Role::System => TURN,
        Role::User => TURN + 1,
        Role::Assistant => TURN + 2,
    })
}

/// One token per four bytes of text. Different bytes may get the same token, which does not matter here.
fn words(text: &str) -> impl Iterator<Item = TokenId> {
    text.as_bytes().chunks(4).map(|bytes| {
        let number = bytes.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        TokenId(WORDS + number % (VOCABULARY - WORDS))
    })
}

/// The image is not even decoded; equal files are equal images.
fn encode_image(encoded: &mut Encoded, file: &[u8]) {
    encoded.visuals.push(Visual {
        start: encoded.tokens.len(),
        length: IMAGE_TOKENS,
        tiles: Arc::new(Tiles { size: 1, pixels: Vec::new() }),
        medium: Medium::Image { height: 1, width: 1 },
        hash: Sha256::digest(file).into(),
    });
    encoded.tokens.extend([TokenId(IMAGE); IMAGE_TOKENS]);
}

struct NullBackend {
    /// The logits after each token, computed once.
    after: Vec<Logits>,
}

impl NullBackend {
    fn new() -> Self {
        let byte = |index: usize| VERDICT.get(index).map_or(END, |byte| u32::from(*byte));
        let next = |last: u32| {
            let written = VERDICT.iter().position(|byte| u32::from(*byte) == last);
            byte(written.map_or(0, |index| index + 1))
        };
        let logits =
            |last| (0..VOCABULARY).map(|token| if token == next(last) { 9.0 } else { 0.0 }).collect();
        Self { after: (0..VOCABULARY).map(logits).collect() }
    }
}

impl Backend for NullBackend {
    fn limits(&self) -> Limits {
        // A step as large as that of a model on an accelerator, and a cache of 131,072 positions, which a busy
        // server soon fills, so that the eviction of cached blocks is measured too.
        Limits {
            block_size: BLOCK_SIZE,
            block_count: 4096,
            context_length: 4096,
            max_step_tokens: 2048,
            efficient_step_tokens: 2048,
        }
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<StepOutput>, BackendError> {
        let wanted = batch.chunks.iter().filter(|chunk| chunk.wants == Wants::Logits);
        let last = wanted.filter_map(|chunk| chunk.tokens.last());
        Ok(last.map(|token| StepOutput::Logits(self.after[token.0 as usize].clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use critic::{EncodedImage, Message, Prompt};

    use super::*;

    #[test]
    fn the_verdict_is_written_after_any_prompt_and_then_the_turn_ends() {
        assert_eq!(VERDICT.iter().collect::<BTreeSet<_>>().len(), VERDICT.len(), "each byte tells the next");
        let backend = NullBackend::new();
        let next = |token: u32| {
            let logits = &backend.after[token as usize];
            (0..VOCABULARY).max_by(|a, b| logits[*a as usize].total_cmp(&logits[*b as usize])).unwrap()
        };
        for prompt_end in [TURN + 2, WORDS, VOCABULARY - 1, u32::from(b' ')] {
            let mut written = vec![next(prompt_end)];
            while *written.last().unwrap() != END {
                written.push(next(*written.last().unwrap()));
            }
            let bytes: Vec<u8> = written.iter().filter_map(|token| u8::try_from(*token).ok()).collect();
            assert_eq!(bytes, VERDICT);
        }
    }

    #[test]
    fn images_are_told_apart_by_their_files() {
        let image = |byte: u8| Part::Image(EncodedImage::new(vec![byte]));
        let parts = vec![image(1), image(2), image(1), Part::Text("five!".into())];
        let message = Message { role: Role::User, parts };
        let prompt = Prompt { messages: vec![message], ..Prompt::default() };
        let encoded = NullProcessor.encode(&prompt).unwrap();
        assert_eq!(encoded.tokens.len(), 1 + 3 * IMAGE_TOKENS + 2 + 1);
        assert_eq!(encoded.visuals[0].hash, encoded.visuals[2].hash);
        assert_ne!(encoded.visuals[0].hash, encoded.visuals[1].hash);
        let starts: Vec<usize> = encoded.visuals.iter().map(|visual| visual.start).collect();
        assert_eq!(starts, [1, 65, 129]);
        assert!(encoded.tokens.iter().all(|token| token.0 < VOCABULARY));
    }
}
