//! A critic's vocabulary in the form needed by the grammar's automaton.

use std::sync::Arc;

use critic::{Processor, TokenId};
use llguidance::{
    ParserFactory,
    api::ParserLimits,
    earley::SlicedBiasComputer,
    toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie},
};

use super::{GrammarError, in_a_line};

/// Limits of one grammar's automaton. Within them, the work takes at worst some tens of milliseconds and some tens
/// of megabytes.
fn limits() -> ParserLimits {
    ParserLimits {
        initial_lexer_fuel: 1_000_000,
        max_lexer_states: 20_000,
        max_grammar_size: 200_000,
        // Errors are returned to clients, for whom a dump of the automaton is useless.
        verbose_errors: false,
        ..ParserLimits::default()
    }
}

/// The tokens, and the factory of automata over them.
pub(super) struct Vocabulary {
    pub(super) factory: ParserFactory,
    environment: TokEnv,
    /// Number of the critic's own tokens, which have the ids below it. Tokens for missing single bytes and one for
    /// the end follow.
    size: u32,
    /// A token for each single byte.
    bytes: Vec<u32>,
    /// The set of tokens that begin with a digit, one bit for each.
    digits: Vec<u32>,
}

impl Vocabulary {
    /// Collects all tokens of a critic except its control tokens.
    pub(super) fn of(processor: &dyn Processor) -> Result<Self, GrammarError> {
        let size = processor.vocabulary() as u32;
        let token = |id| {
            let token = TokenId(id);
            if processor.is_control(token) { Vec::new() } else { processor.token_bytes(token) }
        };
        let mut words: Vec<Vec<u8>> = (0..size).map(token).collect();
        let mut bytes = vec![None; 256];
        for (id, word) in words.iter().enumerate() {
            if let [byte] = word[..] {
                bytes[usize::from(byte)].get_or_insert(id as u32);
            }
        }
        // The search for endings works byte by byte, so that a byte without a token of the critic gets one.
        let bytes = bytes.into_iter().zip(0u8..=255).map(|(known, byte)| {
            known.unwrap_or_else(|| {
                words.push(vec![byte]);
                words.len() as u32 - 1
            })
        });
        let bytes = bytes.collect();
        let mut digits = vec![0; words.len().div_ceil(32)];
        for (id, _) in
            words.iter().enumerate().filter(|(_, word)| word.first().is_some_and(u8::is_ascii_digit))
        {
            digits[id / 32] |= 1 << (id % 32);
        }
        words.push(b"\xFF<end>".to_vec());
        let count = words.len() as u32;
        let trie = TokTrie::from(&TokRxInfo::new(count, count - 1), &words);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let slices = SlicedBiasComputer::general_slices();
        let factory = ParserFactory::new(&environment, InferenceCapabilities::default(), &slices);
        let mut factory = factory.map_err(|error| GrammarError::Refused(in_a_line(&format!("{error:#}"))))?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Self { factory, environment, size, bytes, digits })
    }

    /// The size of the critic's vocabulary.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// The token that stands for the end of a text.
    pub(super) fn end(&self) -> u32 {
        self.environment.tok_trie().eos_token()
    }

    /// The bytes of a token.
    pub(super) fn bytes_of(&self, token: u32) -> &[u8] {
        self.environment.tok_trie().token(token)
    }

    /// The token for a single byte, which may not be one of the critic's.
    pub(super) fn byte(&self, byte: u8) -> u32 {
        self.bytes[usize::from(byte)]
    }

    /// The set of tokens that begin with a digit: bit `id % 32` of element `id / 32` for each.
    pub(super) fn digits(&self) -> &[u32] {
        &self.digits
    }

    /// A short sequence of the critic's tokens for these bytes; `None` if the critic has no such tokens.
    pub(super) fn tokens(&self, bytes: &[u8]) -> Option<Vec<u32>> {
        let tokens = self.environment.tok_trie().greedy_tokenize(bytes);
        tokens.iter().all(|token| *token < self.size).then_some(tokens)
    }
}
