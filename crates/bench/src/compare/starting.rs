//! Starting the programs that are compared, or recording why one is missing.

use std::{path::PathBuf, process::Command};

use super::{
    Program,
    comparison::Comparison,
    contender::{Contender, ProgramName, gguf_name},
    programs::{Gavel, Gguf, LlamaCpp, MistralRs, Room, Transformers},
    texts::Texts,
};
use crate::{
    error::BenchError,
    live::process::{self, Running},
    weight_form::Form,
};

impl<'a> Comparison<'a> {
    /// Starts a server of the model with weights in a form, measures the tokens per word, and waits for the
    /// weights' digest.
    pub(super) fn gavel(&self, form: Form) -> Result<Gavel<'a>, BenchError> {
        let server = self.started(form)?;
        server.know_weights()?;
        Ok(server)
    }

    /// Starts one server for each form. They compute the digests of their weights concurrently.
    pub(super) fn gavels(&self, forms: &[Form]) -> Result<Vec<Gavel<'a>>, BenchError> {
        let servers: Vec<_> = forms.iter().map(|form| self.started(*form)).collect::<Result<_, _>>()?;
        servers.iter().try_for_each(Gavel::know_weights)?;
        Ok(servers)
    }

    fn started(&self, form: Form) -> Result<Gavel<'a>, BenchError> {
        let device = self.options.device;
        let mut options = device.options(form, self.options.extent);
        options.extend(["--config-dir".to_owned(), self.folder.path().to_string_lossy().into_owned()]);
        if let Some(checkpoint) = &self.options.checkpoint {
            options.extend(["--model".to_owned(), checkpoint.to_string_lossy().into_owned()]);
        }
        let contender = Contender::gavel(device, form);
        let mut server = Gavel::start(self.runtime, &self.options.gavel, contender, &options)?;
        server.learn_words()?;
        Ok(server)
    }

    pub(super) fn transformers(&mut self) -> Option<Transformers> {
        let name = ProgramName::Transformers;
        let Some(python) = &self.options.python else {
            self.record.skip(name.as_str(), &"no --python");
            return None;
        };
        let Some(checkpoint) = &self.options.checkpoint else {
            self.record.skip(name.as_str(), &"no --model: it reads checkpoints from folders alone");
            return None;
        };
        let vocabulary = self.bounds.size.vocabulary;
        let checkpoint = checkpoint.to_string_lossy();
        match Transformers::start(python, &checkpoint, vocabulary, self.options.device) {
            Ok(peer) => {
                self.record.took_part(Program::new(name, peer.version()));
                Some(peer)
            }
            Err(error) => {
                self.record.skip(name.as_str(), &error);
                None
            }
        }
    }

    /// Converts the language model to a GGUF file for the other engines.
    pub(super) fn gguf(&mut self, form: Form) -> Option<PathBuf> {
        let form = gguf_name(form);
        let what = format!("llama.cpp and mistral.rs {form}");
        let Some(checkpoint) = &self.options.checkpoint else {
            self.record.skip(what, &"no --model: they read files alone");
            return None;
        };
        if self.options.python.is_none() && self.options.llama_server.is_none() {
            self.record.skip(what, &"neither --llama-server nor --python");
            return None;
        }
        let file = self.folder.path().join(format!("{}-{form}.gguf", self.options.model));
        let mut command = Command::new(&self.options.gavel);
        command.arg("convert").arg(checkpoint).arg(&file).args(["--form", form]);
        match Running::start("gavel convert", &mut command).and_then(Running::finish) {
            Ok(()) => Some(file),
            Err(error) => {
                self.record.skip(what, &error);
                None
            }
        }
    }

    pub(super) fn llama_cpp(&mut self, file: Gguf<'_>, room: Room) -> Option<LlamaCpp<'a>> {
        let name = ProgramName::LlamaCpp;
        let what = Contender::with_gguf(name, file.form).to_string();
        let Some(program) = &self.options.llama_server else {
            self.record.skip(what, &"no --llama-server");
            return None;
        };
        match LlamaCpp::start(self.runtime, program, file, room) {
            Ok(peer) => {
                let version = process::version(program).unwrap_or_else(|| "unknown".to_owned());
                self.record.took_part(Program::new(name, version));
                Some(peer)
            }
            Err(error) => {
                self.record.skip(what, &error);
                None
            }
        }
    }

    pub(super) fn mistralrs(&mut self, file: Gguf<'_>, room: Room, texts: Texts) -> Option<MistralRs> {
        let name = ProgramName::MistralRs;
        let what = Contender::with_gguf(name, file.form).to_string();
        let Some(python) = &self.options.python else {
            self.record.skip(what, &"no --python");
            return None;
        };
        match MistralRs::start(python, file, room, texts) {
            Ok(peer) => {
                self.record.took_part(Program::new(name, peer.version()));
                Some(peer)
            }
            Err(error) => {
                self.record.skip(what, &error);
                None
            }
        }
    }
}
