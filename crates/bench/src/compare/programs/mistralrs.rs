//! mistral.rs, as the library that Python has of it: its package has no server.

use std::path::Path;

use serde_json::json;

use super::{Language, LanguageJob, LanguageTimes};
use crate::{
    compare::{script::Script, texts::Texts},
    error::BenchError,
};

/// A runner in a process of its own.
#[derive(Debug)]
pub(crate) struct MistralRs {
    form: &'static str,
    texts: Texts,
    script: Script,
}

impl MistralRs {
    /// Loads a GGUF file, for so many sequences at the same time.
    ///
    /// # Errors
    /// [`BenchError::Program`] when that fails.
    pub(crate) fn start(
        python: &Path,
        (form, file): (&'static str, &Path),
        (sequences, texts): (usize, Texts),
    ) -> Result<Self, BenchError> {
        let (file, sequences) = (file.to_string_lossy(), sequences.to_string());
        let text = include_str!("../../../peers/mistralrs_peer.py");
        let script = Script::start("mistral.rs", python, (text, &[&file, &sequences]))?;
        Ok(Self { form, texts, script })
    }

    /// Of which version.
    pub(crate) fn version(&self) -> String {
        self.script.hello["version"].as_str().unwrap_or_default().to_owned()
    }
}

impl Language for MistralRs {
    fn name(&self) -> String {
        format!("mistral.rs {}", self.form)
    }

    fn is_gavel(&self) -> bool {
        false
    }

    fn run(&mut self, job: LanguageJob) -> Result<LanguageTimes, BenchError> {
        // Prompts of equal lengths make it fail with weights of eight bits. Since it keeps nothing, one text will do for all.
        let text = self.texts.prompts(LanguageJob { batch: 1, ..job }).swap_remove(0);
        let prompts: Vec<String> =
            (0..job.batch).map(|index| format!("{text}{}", " a".repeat(index))).collect();
        LanguageTimes::of(&self.script.ask(&json!({"prompts": prompts, "steps": job.steps}))?)
    }
}
