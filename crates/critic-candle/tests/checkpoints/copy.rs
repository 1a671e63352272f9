//! Copies of reference checkpoints that a test may damage, and the logits of a checkpoint.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor};
use critic::{Backend, Batch, BlockId, Chunk, Message, Prompt, Role, SequenceId};
use critic_candle::{Checkpoint, LoadError, Options, Source};

pub(crate) fn reference(model: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/models").join(model)
}

/// A copy of a reference checkpoint that a test may damage.
pub(crate) struct Copy(tempfile::TempDir);

impl Copy {
    pub(crate) fn of(model: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(reference(model)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn weights(&self) -> PathBuf {
        self.path().join("model.safetensors")
    }

    /// Rewrites the weights: `edit` maps the old tensors by name to the new ones.
    pub(crate) fn edit_weights(&self, edit: impl FnOnce(HashMap<String, Tensor>) -> HashMap<String, Tensor>) {
        let tensors = candle_core::safetensors::load(self.weights(), &Device::Cpu).unwrap();
        candle_core::safetensors::save(&edit(tensors), self.weights()).unwrap();
    }

    /// Renames tensors.
    pub(crate) fn rename(&self, rename: impl Fn(&str) -> String) {
        self.edit_weights(|tensors| {
            tensors.into_iter().map(|(name, tensor)| (rename(&name), tensor)).collect()
        });
    }

    /// Rewrites a JSON file.
    pub(crate) fn edit_json(&self, file: &str, edit: impl FnOnce(&mut serde_json::Value)) {
        let path = self.path().join(file);
        let mut json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        edit(&mut json);
        fs::write(path, serde_json::to_vec(&json).unwrap()).unwrap();
    }

    pub(crate) fn load(&self) -> Result<Checkpoint, Box<LoadError>> {
        Ok(Checkpoint::load(&Options::new(Source::Folder(self.path().into())))?)
    }

    /// The error message with which loading fails.
    pub(crate) fn complaint(&self) -> String {
        match self.load() {
            Ok(_) => panic!("a spoilt checkpoint loaded"),
            Err(error) => error.to_string(),
        }
    }
}

/// Logits after a short question with an image, which depend on the tower, the projector and the decoder.
pub(crate) fn answer(checkpoint: &mut Checkpoint) -> Vec<f32> {
    let image = fs::read(reference("../images/tiny56-square-0.png")).unwrap();
    let mut message = Message::text(Role::User, "What is shown?");
    message.parts.insert(0, critic::Part::Image(critic::EncodedImage::new(image)));
    let messages = vec![Message::text(Role::System, "Be brief."), message];
    answer_to(checkpoint, &Prompt { messages, ..Default::default() })
}

/// Logits after a prompt.
pub(crate) fn answer_to(checkpoint: &mut Checkpoint, prompt: &Prompt) -> Vec<f32> {
    let encoded = checkpoint.processor.encode(prompt).unwrap();
    let chunk = Chunk {
        sequence: SequenceId(0),
        start: 0,
        block_table: (0..encoded.tokens.len().div_ceil(32) as u32).map(BlockId).collect(),
        tokens: encoded.tokens,
        visuals: encoded.visuals,
        wants: critic::Wants::Logits,
    };
    checkpoint.backend.forward(&Batch { chunks: vec![chunk] }).unwrap().remove(0).into_logits().unwrap()
}

pub(crate) fn worst_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
