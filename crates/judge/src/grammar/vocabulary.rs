//! A critic's tokens as the grammar's automaton reads them.

use std::sync::Arc;

use critic::{Processor, TokenId};
use llguidance::{
    ParserFactory,
    api::ParserLimits,
    earley::SlicedBiasComputer,
    toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie},
};

use super::GrammarError;

/// The bounds of one grammar's automaton. Work that is bounded by them takes some tens of milliseconds, and memory some tens of
/// megabytes, at the worst.
fn limits() -> ParserLimits {
    ParserLimits {
        initial_lexer_fuel: 1_000_000,
        max_lexer_states: 20_000,
        max_grammar_size: 200_000,
        // Errors are told to clients, who need no dump of the automaton.
        verbose_errors: false,
        ..ParserLimits::default()
    }
}

/// The tokens, and what makes automata over them.
pub(super) struct Vocabulary {
    pub(super) factory: ParserFactory,
    environment: TokEnv,
    /// The critic's own tokens have the ids below; some for single bytes and one for the end follow.
    size: u32,
    /// A token for each single byte.
    bytes: Vec<u32>,
}

impl Vocabulary {
    /// Takes all tokens of a critic but its control tokens.
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
        // The way to the end of a text is looked for byte by byte, also where the critic has no token for a byte.
        let bytes = bytes.into_iter().zip(0u8..=255).map(|(known, byte)| {
            known.unwrap_or_else(|| {
                words.push(vec![byte]);
                words.len() as u32 - 1
            })
        });
        let bytes = bytes.collect();
        words.push(b"\xFF<end>".to_vec());
        let count = words.len() as u32;
        let trie = TokTrie::from(&TokRxInfo::new(count, count - 1), &words);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let slices = SlicedBiasComputer::general_slices();
        let factory = ParserFactory::new(&environment, InferenceCapabilities::default(), &slices);
        let mut factory = factory.map_err(GrammarError::refused)?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Self { factory, environment, size, bytes })
    }

    /// How many tokens the critic has.
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

    /// A token for a single byte, which need not be one of the critic's.
    pub(super) fn byte(&self, byte: u8) -> u32 {
        self.bytes[usize::from(byte)]
    }

    /// Tokens of the critic that stand for these bytes, few of them; none where it has no such tokens.
    pub(super) fn tokens(&self, bytes: &[u8]) -> Option<Vec<u32>> {
        let tokens = self.environment.tok_trie().greedy_tokenize(bytes);
        tokens.iter().all(|token| *token < self.size).then_some(tokens)
    }
}
