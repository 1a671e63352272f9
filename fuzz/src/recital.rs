//! Critics for targets that use the server: one computes nothing, the other writes a given text.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use critic::{
    Backend, BackendError, Batch, Build, Critic, EncodeError, Encoded, GenerationDefaults, Limits, Processor,
    Prompt, StepOutput, TokenId, Wants,
};
use gavel::fuzz_api::FuzzApi;
use judge::{EngineConfig, Judge, RubricLibrary};

/// The token that ends the critic's turn; the tokens below it are bytes.
const END: u32 = 256;
/// The first of the tokens that stand for a whole prompt, whatever it is. Each text has another one, since a request
/// that equals one that still runs would share its sequence, and so get its text.
const PROMPT: u32 = 257;
const PROMPTS: u32 = 64;
const VOCABULARY: u32 = PROMPT + PROMPTS;

/// The logit of the next byte: so far above all others that sampling chooses it too.
const CERTAIN: f32 = 100.0;

/// Maximum number of bytes that are written.
pub const LONGEST: usize = 900;

/// The question of every request.
pub const QUESTION: &str = "?";

/// The text to write.
static TEXT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
/// Number of texts so far.
static TEXTS: AtomicU32 = AtomicU32::new(0);

/// A server whose critic gives every response a 7 and computes nothing.
pub fn quiet() -> &'static FuzzApi {
    static API: OnceLock<FuzzApi> = OnceLock::new();
    API.get_or_init(|| FuzzApi::start(judge_by(bench::null_critic())).expect("a runtime can be made"))
}

/// A server whose critic writes `text`, up to [`LONGEST`] bytes and the limits of the request.
pub fn reciting(text: &[u8]) -> &'static FuzzApi {
    static API: OnceLock<FuzzApi> = OnceLock::new();
    *TEXT.lock().unwrap_or_else(PoisonError::into_inner) = text[..text.len().min(LONGEST)].to_vec();
    TEXTS.fetch_add(1, Relaxed);
    API.get_or_init(|| FuzzApi::start(judge()).expect("a runtime can be made"))
}

/// A judge whose tokens are the bytes.
pub fn judge() -> Judge {
    judge_by(Critic {
        processor: Arc::new(OneToken),
        backend: Box::new(Reciter),
        generation: GenerationDefaults { end_tokens: vec![TokenId(END)], repetition_penalty: 1.0 },
        build: Build::default(),
        gpu_memory: None,
    })
}

fn judge_by(critic: Critic) -> Judge {
    let library = RubricLibrary::compiled_in().expect("our own rubrics can be read");
    Judge::new("gavel-mini".into(), critic, library, EngineConfig::default())
}

fn prompt_token() -> TokenId {
    TokenId(PROMPT + TEXTS.load(Relaxed) % PROMPTS)
}

/// Encodes any prompt as one token, so that the position of a token is the place of its byte in the text.
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
            // The prompt of a completion without a conversation.
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

    fn forward(&mut self, batch: &Batch) -> Result<Vec<StepOutput>, BackendError> {
        let text = TEXT.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outputs = Vec::new();
        for chunk in batch.chunks.iter().filter(|chunk| chunk.wants == Wants::Logits) {
            let next = text.get(chunk.end() - 1).map_or(END, |byte| u32::from(*byte));
            let logits = (0..VOCABULARY).map(|token| if token == next { CERTAIN } else { 0.0 });
            outputs.push(StepOutput::Logits(logits.collect()));
        }
        Ok(outputs)
    }
}
