//! transformers, in a Python process of its own.

use std::path::Path;

use serde_json::{Value, json};

use super::{Language, LanguageJob, LanguageTimes};
use crate::{
    compare::{
        CompareDevice,
        script::{Script, number},
    },
    error::BenchError,
};

/// A loaded model.
#[derive(Debug)]
pub(crate) struct Transformers {
    /// Tokens of which prompts are drawn.
    vocabulary: usize,
    device: CompareDevice,
    script: Script,
}

/// Judgements that are made in batches of one size.
#[derive(Debug)]
pub(crate) struct Batches<'a> {
    /// The image of all, a PNG in base64.
    pub(crate) image: &'a str,
    /// What stands beside it.
    pub(crate) prompts: &'a [String],
    /// How the critic's turn begins.
    pub(crate) reply: &'a str,
    /// Prompts in each batch.
    pub(crate) batch: usize,
    /// Tokens to write; 0 for the logits alone.
    pub(crate) write: usize,
}

/// What they took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchTimes {
    pub(crate) seconds: f64,
    pub(crate) prompt_tokens: f64,
    pub(crate) written_tokens: f64,
}

impl Transformers {
    /// Loads a checkpoint, in the floats of a device.
    ///
    /// # Errors
    /// [`BenchError::Program`] when that fails.
    pub(crate) fn start(
        python: &Path,
        checkpoint: &str,
        (vocabulary, device): (usize, CompareDevice),
    ) -> Result<Self, BenchError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).to_string();
        let text = include_str!("../../../peers/transformers_peer.py");
        let script = Script::start("transformers", python, (text, &[checkpoint, &threads, device.name()]))?;
        Ok(Self { vocabulary, device, script })
    }

    /// Of which version.
    pub(crate) fn version(&self) -> String {
        self.script.hello["version"].as_str().unwrap_or_default().to_owned()
    }

    /// Seconds for the features of an image, and the tiles it has.
    ///
    /// # Errors
    /// [`BenchError::Program`] when that fails.
    pub(crate) fn encode_image(&mut self, image: &str) -> Result<(f64, f64), BenchError> {
        let answer = self.script.ask(&json!({"do": "image", "picture": image}))?;
        Ok((number(&answer, "seconds")?, number(&answer, "tiles")?))
    }

    /// Judges.
    ///
    /// # Errors
    /// [`BenchError::Program`] when that fails.
    pub(crate) fn judge(&mut self, batches: &Batches<'_>) -> Result<BatchTimes, BenchError> {
        let Batches { image, prompts, reply, batch, write } = batches;
        let answer = self.script.ask(&json!({
            "do": "judge", "picture": image, "prompts": prompts, "reply": reply, "batch": batch, "write": write,
        }))?;
        let number = |name| number(&answer, name);
        Ok(BatchTimes {
            seconds: number("seconds")?,
            prompt_tokens: number("prompt_tokens")?,
            written_tokens: number("written_tokens")?,
        })
    }
}

impl Language for &mut Transformers {
    fn name(&self) -> String {
        self.device.transformers()
    }

    fn is_gavel(&self) -> bool {
        false
    }

    fn run(&mut self, job: LanguageJob) -> Result<LanguageTimes, BenchError> {
        let LanguageJob { batch, prompt_tokens, steps, serial } = job;
        let request: Value = json!({
            "do": "language", "batch": batch, "prompt_tokens": prompt_tokens, "steps": steps, "serial": serial,
            "vocabulary": self.vocabulary,
        });
        LanguageTimes::of(&self.script.ask(&request)?)
    }
}
