//! Starting what is compared, or telling why it is not there.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Form, Program, Skipped,
    comparison::Comparison,
    process::{self, Running},
    programs::{Gavel, LlamaCpp, MistralRs, Transformers},
    texts::Texts,
};
use crate::error::BenchError;

impl<'a> Comparison<'a> {
    /// A server of the model with weights of a form, which knows how long words are.
    pub(super) fn gavel(&self, form: Form) -> Result<Gavel<'a>, BenchError> {
        let device = self.options.device;
        let mut options = device.options(form, self.options.extent);
        options.extend(["--config-dir".to_owned(), self.folder.path().to_string_lossy().into_owned()]);
        if let Some(checkpoint) = &self.options.checkpoint {
            options.extend(["--model".to_owned(), checkpoint.to_string_lossy().into_owned()]);
        }
        let name = (&*device.gavel(form), &*options);
        let mut server = Gavel::start(self.runtime, &self.options.gavel, name)?;
        server.learn_words()?;
        Ok(server)
    }

    pub(super) fn transformers(&mut self) -> Option<Transformers> {
        let name = "transformers";
        let Some(python) = &self.options.python else {
            self.skip(name, &"no --python");
            return None;
        };
        let Some(checkpoint) = &self.options.checkpoint else {
            self.skip(name, &"no --model: it reads checkpoints from folders alone");
            return None;
        };
        let model = (self.bounds.size.vocabulary, self.options.device);
        match Transformers::start(python, &checkpoint.to_string_lossy(), model) {
            Ok(peer) => {
                self.programs.push(Program { name, version: peer.version() });
                Some(peer)
            }
            Err(error) => {
                self.skip(name, &error);
                None
            }
        }
    }

    /// The language model in a file that the other engines read.
    pub(super) fn gguf(&mut self, form: &str) -> Option<PathBuf> {
        let what = format!("llama.cpp and mistral.rs {form}");
        let Some(checkpoint) = &self.options.checkpoint else {
            self.skip(what, &"no --model: they read files alone");
            return None;
        };
        if self.options.python.is_none() && self.options.llama_server.is_none() {
            self.skip(what, &"neither --llama-server nor --python");
            return None;
        }
        let file = self.folder.path().join(format!("{}-{form}.gguf", self.options.model));
        let mut command = Command::new(&self.options.gavel);
        command.arg("convert").arg(checkpoint).arg(&file).args(["--form", form]);
        match Running::start("gavel convert", &mut command).and_then(Running::finish) {
            Ok(()) => Some(file),
            Err(error) => {
                self.skip(what, &error);
                None
            }
        }
    }

    pub(super) fn llama_cpp(
        &mut self,
        file: (&'static str, &Path),
        room: (usize, usize, usize),
    ) -> Option<LlamaCpp<'a>> {
        let name = "llama.cpp";
        let what = format!("{name} {}", file.0);
        let Some(program) = &self.options.llama_server else {
            self.skip(what, &"no --llama-server");
            return None;
        };
        match LlamaCpp::start(self.runtime, program, file, room) {
            Ok(peer) => {
                let version = process::version(program).unwrap_or_else(|| "unknown".to_owned());
                self.took_part(Program { name, version });
                Some(peer)
            }
            Err(error) => {
                self.skip(what, &error);
                None
            }
        }
    }

    pub(super) fn mistralrs(
        &mut self,
        file: (&'static str, &Path),
        room: (usize, Texts),
    ) -> Option<MistralRs> {
        let Some(python) = &self.options.python else {
            self.skip(format!("mistral.rs {}", file.0), &"no --python");
            return None;
        };
        match MistralRs::start(python, file, room) {
            Ok(peer) => {
                self.took_part(Program { name: "mistral.rs", version: peer.version() });
                Some(peer)
            }
            Err(error) => {
                self.skip(format!("mistral.rs {}", file.0), &error);
                None
            }
        }
    }

    fn took_part(&mut self, program: Program) {
        if self.programs.iter().all(|known| known.name != program.name) {
            self.programs.push(program);
        }
    }

    pub(super) fn skip(&mut self, what: impl Into<String>, why: &impl ToString) {
        self.skipped.push(Skipped { what: what.into(), why: why.to_string() });
    }
}
