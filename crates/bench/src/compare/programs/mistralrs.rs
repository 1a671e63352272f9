//! mistral.rs, as a Python library: its package has no server.

use std::path::Path;

use serde_json::json;

use super::{Gguf, Language, LanguageJob, LanguageTimes, Room};
use crate::{
    compare::{
        contender::{Contender, ProgramName},
        script::Script,
        texts::Texts,
    },
    error::BenchError,
    weight_form::Form,
};

/// A runner in a process of its own.
#[derive(Debug)]
pub(crate) struct MistralRs {
    form: Form,
    texts: Texts,
    script: Script,
}

impl MistralRs {
    /// Loads a GGUF file, with room for `room.sequences` concurrent sequences.
    ///
    /// # Errors
    /// [`BenchError::Program`] when that fails.
    pub(crate) fn start(python: &Path, file: Gguf<'_>, room: Room, texts: Texts) -> Result<Self, BenchError> {
        let Gguf { form, path, .. } = file;
        let (path, sequences) = (path.to_string_lossy(), room.sequences.to_string());
        let text = include_str!("../../../peers/mistralrs_peer.py");
        let script = Script::start("mistral.rs", python, text, &[&path, &sequences])?;
        Ok(Self { form, texts, script })
    }

    /// The library's version.
    pub(crate) fn version(&self) -> String {
        self.script.hello["version"].as_str().unwrap_or_default().to_owned()
    }
}

impl Language for MistralRs {
    fn contender(&self) -> Contender {
        Contender::with_gguf(ProgramName::MistralRs, self.form)
    }

    fn run(&mut self, job: LanguageJob) -> Result<LanguageTimes, BenchError> {
        // With 8-bit weights it fails for prompts of equal lengths. Since nothing is cached, all prompts may
        // begin with one text.
        let text = self.texts.prompts(LanguageJob { batch: 1, ..job }).swap_remove(0);
        let prompts: Vec<String> =
            (0..job.batch).map(|index| format!("{text}{}", " a".repeat(index))).collect();
        LanguageTimes::of(&self.script.ask(&json!({"prompts": prompts, "steps": job.steps}))?)
    }
}
