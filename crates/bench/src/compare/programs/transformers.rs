//! transformers, in a Python process of its own.

use std::path::Path;

use serde_json::{Value, json};

use super::{Language, LanguageJob, LanguageTimes};
use crate::{
    compare::{
        CompareDevice,
        contender::Contender,
        scene,
        script::{Script, number},
    },
    error::BenchError,
};

/// A loaded model.
#[derive(Debug)]
pub(crate) struct Transformers {
    /// The number of tokens that prompts are drawn from.
    vocabulary: usize,
    device: CompareDevice,
    script: Script,
}

/// Judgements in batches of one size.
#[derive(Debug)]
pub(crate) struct Batches<'a> {
    /// The image of all prompts, a PNG in base64.
    pub(crate) image: &'a str,
    /// The text of each prompt.
    pub(crate) prompts: &'a [String],
    /// The beginning of the critic's turn.
    pub(crate) reply: &'a str,
    /// Prompts per batch.
    pub(crate) batch: usize,
    /// Tokens to decode; 0 for the logits alone.
    pub(crate) write: usize,
}

/// The cost of the judgements, and the probabilities read from the logits.
#[derive(Debug)]
pub(crate) struct BatchTimes {
    pub(crate) seconds: f64,
    pub(crate) prompt_tokens: f64,
    pub(crate) written_tokens: f64,
    /// The natural logarithms of the probabilities of [`scene::LABELS`] after each prompt; empty if tokens were
    /// decoded.
    pub(crate) labels: Vec<Vec<f64>>,
}

impl Transformers {
    /// Loads a checkpoint in the floating-point type of a device.
    ///
    /// # Errors
    /// [`BenchError::Program`] when that fails.
    pub(crate) fn start(
        python: &Path,
        checkpoint: &str,
        vocabulary: usize,
        device: CompareDevice,
    ) -> Result<Self, BenchError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).to_string();
        let text = include_str!("../../../peers/transformers_peer.py");
        let script = Script::start("transformers", python, text, &[checkpoint, &threads, device.name()])?;
        Ok(Self { vocabulary, device, script })
    }

    /// The library's version.
    pub(crate) fn version(&self) -> String {
        self.script.hello["version"].as_str().unwrap_or_default().to_owned()
    }

    /// Returns the seconds for the features of an image, and the number of its tiles.
    ///
    /// # Errors
    /// [`BenchError::Program`] when that fails.
    pub(crate) fn encode_image(&mut self, image: &str) -> Result<(f64, f64), BenchError> {
        let answer = self.script.ask(&json!({"do": "image", "image": image}))?;
        Ok((number(&answer, "seconds")?, number(&answer, "tiles")?))
    }

    /// Makes judgements.
    ///
    /// # Errors
    /// [`BenchError::Program`] when that fails.
    pub(crate) fn judge(&mut self, batches: &Batches<'_>) -> Result<BatchTimes, BenchError> {
        let Batches { image, prompts, reply, batch, write } = batches;
        let answer = self.script.ask(&json!({
            "do": "judge", "image": image, "prompts": prompts, "reply": reply, "batch": batch, "write": write,
            "labels": scene::LABELS,
        }))?;
        let number = |name| number(&answer, name);
        let numbers =
            |label: &Value| label.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        Ok(BatchTimes {
            seconds: number("seconds")?,
            prompt_tokens: number("prompt_tokens")?,
            written_tokens: number("written_tokens")?,
            labels: answer["labels"].as_array().into_iter().flatten().map(numbers).collect(),
        })
    }
}

impl Language for &mut Transformers {
    fn contender(&self) -> Contender {
        Contender::transformers(self.device)
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
