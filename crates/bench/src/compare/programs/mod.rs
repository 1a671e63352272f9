//! The programs that are compared, behind common interfaces.

mod gavel;
mod llama_cpp;
mod mistralrs;
mod transformers;

use std::path::Path;

use serde_json::Value;

pub(crate) use gavel::Gavel;
pub(crate) use llama_cpp::LlamaCpp;
pub(crate) use mistralrs::MistralRs;
pub(crate) use transformers::{Batches, Transformers};

use super::{contender::Contender, script};
use crate::{error::BenchError, weight_form::Form};

/// The language model in a GGUF file, for other engines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gguf<'a> {
    /// The form of its weights.
    pub(crate) form: Form,
    /// The path of the file.
    pub(crate) path: &'a Path,
    /// The number of tokens that prompts are drawn from.
    pub(crate) vocabulary: usize,
}

/// The capacity that a peer reserves memory for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Concurrent sequences.
    pub(crate) sequences: usize,
    /// Tokens of each, including decoded ones.
    pub(crate) tokens: usize,
}

/// A job for the language model alone: new prompts, and tokens decoded after them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LanguageJob {
    /// Concurrent sequences.
    pub(crate) batch: usize,
    /// Tokens of each prompt, approximately.
    pub(crate) prompt_tokens: usize,
    /// Tokens that each sequence decodes after its first one.
    pub(crate) steps: usize,
    /// Makes the prompts differ from those of every other job.
    pub(crate) serial: u64,
}

/// The duration of a job, and its tokens as the program counted them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LanguageTimes {
    /// Tokens of all prompts.
    pub(crate) prompt_tokens: f64,
    /// Seconds from the first request until every sequence has its first token.
    pub(crate) prefill_s: f64,
    /// Tokens decoded after the first one of each sequence.
    pub(crate) written_tokens: f64,
    /// Seconds that decoding them took.
    pub(crate) decode_s: f64,
}

impl LanguageTimes {
    /// Reads the answer of a script.
    fn of(answer: &Value) -> Result<Self, BenchError> {
        let number = |name| script::number(answer, name);
        Ok(Self {
            prompt_tokens: number("prompt_tokens")?,
            prefill_s: number("prefill_s")?,
            written_tokens: number("written_tokens")?,
            decode_s: number("decode_s")?,
        })
    }

    /// Prompt tokens per second.
    pub(crate) fn prefill_per_s(&self) -> f64 {
        self.prompt_tokens / self.prefill_s
    }

    /// Decoded tokens per second, of all sequences together. `None` if the difference of two times that it is
    /// derived from is lost in noise.
    pub(crate) fn decode_per_s(&self) -> Option<f64> {
        (self.decode_s > 0.0 && self.written_tokens > 0.0).then(|| self.written_tokens / self.decode_s)
    }
}

/// A program that runs a language model.
pub(crate) trait Language {
    /// The program, and the form of its weights.
    fn contender(&self) -> Contender;

    /// Runs a job.
    ///
    /// # Errors
    /// [`BenchError`] when it fails.
    fn run(&mut self, job: LanguageJob) -> Result<LanguageTimes, BenchError>;
}
