//! Reads the golden data.

use std::{collections::HashMap, path::PathBuf};

use candle_core::{DType, Device, Tensor};
use critic_candle::{Checkpoint, Options, Source, WeightForm};
use serde::Deserialize;

/// A file of `tests/reference`.
pub(crate) fn path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference").join(relative)
}

/// Loads a reference checkpoint with the default options.
pub(crate) fn checkpoint(model: &str) -> Checkpoint {
    checkpoint_in(model, WeightForm::Stored)
}

/// Loads a reference checkpoint with its weights in another form.
pub(crate) fn checkpoint_in(model: &str, weights: WeightForm) -> Checkpoint {
    let source = Source::Folder(path(&format!("models/{model}")));
    Checkpoint::load(&Options { weights, ..Options::new(source) }).unwrap()
}

/// The tensors of one golden file.
pub(crate) struct Golden(HashMap<String, Tensor>);

impl Golden {
    pub(crate) fn open(relative: &str) -> Self {
        Self(candle_core::safetensors::load(path(relative), &Device::Cpu).unwrap())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn tensor(&self, name: &str) -> &Tensor {
        self.0.get(name).unwrap_or_else(|| panic!("the golden file has {name}"))
    }

    /// A tensor's values as f32, whatever its shape.
    pub(crate) fn floats(&self, name: &str) -> Vec<f32> {
        floats(self.tensor(name))
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        self.tensor(name).flatten_all().unwrap().to_vec1().unwrap()
    }

    pub(crate) fn integers(&self, name: &str) -> Vec<i64> {
        self.tensor(name).to_dtype(DType::I64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }
}

/// All values of a tensor in f32.
pub(crate) fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Asserts that no value differs by more than `tolerance`.
pub(crate) fn assert_close(what: &str, got: &[f32], wanted: &[f32], tolerance: f32) {
    assert_eq!(got.len(), wanted.len(), "{what}: number of values");
    let worst = got.iter().zip(wanted).map(|(got, wanted)| (got - wanted).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "{what} differs by {worst:e}; {tolerance:e} is allowed");
}

/// One case of `index.json`.
#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) model: String,
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) messages: Option<Vec<CaseMessage>>,
    #[serde(default)]
    pub(crate) prompt: String,
    #[serde(default)]
    pub(crate) images: Vec<String>,
    #[serde(default)]
    pub(crate) video_frames: Vec<String>,
    #[serde(default)]
    pub(crate) image_tile_sha256: Vec<String>,
    #[serde(default)]
    pub(crate) video_tile_sha256: Vec<String>,
    #[serde(default)]
    pub(crate) image_token_counts: Vec<usize>,
    #[serde(default)]
    pub(crate) video_token_counts: Vec<usize>,
    #[serde(default)]
    pub(crate) members: Vec<String>,
    #[serde(default)]
    pub(crate) file: String,
    pub(crate) native_model: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct CaseMessage {
    pub(crate) role: String,
    pub(crate) content: Vec<CasePart>,
}

#[derive(Deserialize)]
pub(crate) struct CasePart {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) text: String,
}

/// Every case.
pub(crate) fn cases() -> Vec<Case> {
    #[derive(Deserialize)]
    struct Index {
        cases: Vec<Case>,
    }
    let index: Index = serde_json::from_slice(&std::fs::read(path("index.json")).unwrap()).unwrap();
    index.cases
}

/// The case of this name.
pub(crate) fn case(model: &str, name: &str) -> Case {
    cases().into_iter().find(|case| case.model == model && case.name == name).unwrap()
}
