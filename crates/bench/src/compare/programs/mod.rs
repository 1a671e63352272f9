//! What is compared, each behind the same questions.

mod gavel;
mod llama_cpp;
mod mistralrs;
mod transformers;

use serde_json::Value;

pub use gavel::Form;
pub(crate) use gavel::Gavel;
pub(crate) use llama_cpp::LlamaCpp;
pub(crate) use mistralrs::MistralRs;
pub(crate) use transformers::{Batches, Transformers};

use super::script;
use crate::error::BenchError;

/// The language model alone: new prompts, and tokens after them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LanguageJob {
    /// Sequences at the same time.
    pub(crate) batch: usize,
    /// Tokens of each prompt, or about so many.
    pub(crate) prompt_tokens: usize,
    /// Tokens that each sequence writes after its first one.
    pub(crate) steps: usize,
    /// Sets the prompts apart from those of every other job.
    pub(crate) serial: u64,
}

/// How long a job took, by tokens as the program counted them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LanguageTimes {
    /// Tokens of all prompts.
    pub(crate) prompt_tokens: f64,
    /// From the first request to the last first token.
    pub(crate) prefill_s: f64,
    /// Tokens written after the first one of each sequence.
    pub(crate) written_tokens: f64,
    /// What these took.
    pub(crate) decode_s: f64,
}

impl LanguageTimes {
    /// What a script tells.
    fn of(answer: &Value) -> Result<Self, BenchError> {
        let number = |name| script::number(answer, name);
        Ok(Self {
            prompt_tokens: number("prompt_tokens")?,
            prefill_s: number("prefill_s")?,
            written_tokens: number("written_tokens")?,
            decode_s: number("decode_s")?,
        })
    }

    /// Tokens read each second.
    pub(crate) fn prefill_per_s(&self) -> f64 {
        self.prompt_tokens / self.prefill_s
    }

    /// Tokens written each second, by all sequences together. None when the difference of two times that it is made of is
    /// lost in noise.
    pub(crate) fn decode_per_s(&self) -> Option<f64> {
        (self.decode_s > 0.0 && self.written_tokens > 0.0).then(|| self.written_tokens / self.decode_s)
    }
}

/// A program that runs a language model.
pub(crate) trait Language {
    /// Its name and the form of its weights.
    fn name(&self) -> String;

    /// Whether it is Gavel, whose failures are not passed over.
    fn is_gavel(&self) -> bool;

    /// Does a job.
    ///
    /// # Errors
    /// [`BenchError`] when it fails.
    fn run(&mut self, job: LanguageJob) -> Result<LanguageTimes, BenchError>;
}
