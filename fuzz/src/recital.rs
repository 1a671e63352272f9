//! Critics for targets that speak with the server: one computes nothing, the other writes what it is told to.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use critic::{
    Backend, BackendError, Batch, Build, Critic, EncodeError, Encoded, GenerationDefaults, Limits, Logits,
    Processor, Prompt, TokenId, Wants,
};
use gavel::border::Border;
use judge::{EngineConfig, Judge, RubricLibrary};

/// Ends the critic's turn; the tokens below it are bytes.
const END: u32 = 256;
/// The first of the tokens that stand for a whole prompt, whatever it is: another one for each text, since a request that equals one that
/// still runs would hear that one's text.
const PROMPT: u32 = 257;
const PROMPTS: u32 = 64;
const VOCABULARY: u32 = PROMPT + PROMPTS;

/// The logit of the next byte: so far above all others that one who draws draws it, too.
const CERTAIN: f32 = 100.0;

/// The most bytes that are recited.
pub const LONGEST: usize = 900;

/// What every request asks.
pub const QUESTION: &str = "?";

/// What is recited next.
static TEXT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
/// How many texts there were.
static TEXTS: AtomicU32 = AtomicU32::new(0);

/// A server whose critic judges everything to be a 7 and computes nothing.
pub fn quiet() -> &'static Border {
    static BORDER: OnceLock<Border> = OnceLock::new();
    BORDER.get_or_init(|| border(bench::null_critic()))
}

/// A server whose critic writes `text`, as far as it may.
pub fn reciting(text: &[u8]) -> &'static Border {
    static BORDER: OnceLock<Border> = OnceLock::new();
    *TEXT.lock().unwrap_or_else(PoisonError::into_inner) = text[..text.len().min(LONGEST)].to_vec();
    TEXTS.fetch_add(1, Relaxed);
    BORDER.get_or_init(|| {
        border(Critic {
            processor: Arc::new(OneToken),
            backend: Box::new(Reciter),
            generation: GenerationDefaults { end_tokens: vec![TokenId(END)], repetition_penalty: 1.0 },
            build: Build::default(),
            gpu_memory: None,
        })
    })
}

fn border(critic: Critic) -> Border {
    let library = RubricLibrary::compiled_in().expect("our own rubrics can be read");
    let judge = Judge::new("gavel-mini".into(), critic, library, EngineConfig::default());
    Border::start(judge).expect("a runtime can be made")
}

fn prompt_token() -> TokenId {
    TokenId(PROMPT + TEXTS.load(Relaxed) % PROMPTS)
}

/// Any prompt is one token, so that the place of a token tells which byte of the text it is.
struct OneToken;

impl Processor for OneToken {
    fn encode(&self, prompt: &Prompt) -> Result<Encoded, EncodeError> {
        let reply = prompt.reply.bytes().map(|byte| TokenId(byte.into()));
        Ok(Encoded { tokens: [prompt_token()].into_iter().chain(reply).collect(), visuals: Vec::new() })
    }

    fn token_bytes(&self, token: TokenId) -> Vec<u8> {
        u8::try_from(token.0).map_or_else(|_| b"<control>".to_vec(), |byte| vec![byte])
    }

    fn vocabulary(&self) -> usize {
        VOCABULARY as usize
    }

    fn is_control(&self, token: TokenId) -> bool {
        token.0 >= END
    }

    fn tokenize(&self, text: &str) -> Result<Vec<TokenId>, EncodeError> {
        match text {
            // What is continued without a conversation.
            QUESTION => Ok(vec![prompt_token()]),
            _ => Ok(text.bytes().map(|byte| TokenId(byte.into())).collect()),
        }
    }
}

struct Reciter;

impl Backend for Reciter {
    fn limits(&self) -> Limits {
        Limits {
            block_size: 32,
            block_count: 512,
            context_length: 2048,
            max_step_tokens: 512,
            efficient_step_tokens: 512,
        }
    }

    fn forward(&mut self, batch: &Batch) -> Result<Vec<Logits>, BackendError> {
        let text = TEXT.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows = Vec::new();
        for chunk in batch.chunks.iter().filter(|chunk| chunk.wants == Wants::Logits) {
            let next = text.get(chunk.end() - 1).map_or(END, |byte| u32::from(*byte));
            rows.push((0..VOCABULARY).map(|token| if token == next { CERTAIN } else { 0.0 }).collect());
        }
        Ok(rows)
    }
}
