//! Ways to change the files of a checkpoint.

use std::{
    fs,
    path::{Path, PathBuf},
};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Map, Value};

pub(super) fn weights(folder: &Path) -> PathBuf {
    folder.join("model.safetensors")
}

/// Changes a file as bytes.
pub(super) fn edit(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

/// Changes a file as JSON.
pub(super) fn edit_json(file: &Path, change: impl FnOnce(&mut Value)) {
    edit(file, |bytes| {
        let mut json = serde_json::from_slice(bytes).unwrap();
        change(&mut json);
        *bytes = json.to_string().into_bytes();
    });
}

/// Length of the header of safetensors with the eight bytes before it.
pub(super) fn data_start(bytes: &[u8]) -> usize {
    8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

/// Puts another header before the same data.
pub(super) fn put_header(folder: &Path, header: &[u8]) {
    edit(&weights(folder), |bytes| {
        let data = bytes.split_off(data_start(bytes));
        *bytes = [&(header.len() as u64).to_le_bytes(), header, &data].concat();
    });
}

/// Changes the header of safetensors as JSON; the data stays.
pub(super) fn edit_header(folder: &Path, change: impl FnOnce(&mut Map<String, Value>)) {
    let bytes = fs::read(weights(folder)).unwrap();
    let mut header: Map<String, Value> = serde_json::from_slice(&bytes[8..data_start(&bytes)]).unwrap();
    change(&mut header);
    put_header(folder, Value::Object(header).to_string().as_bytes());
}

/// A tensor that is to be written.
#[derive(Clone)]
pub(super) struct Written {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

/// Writes the weights anew after a change of the tensors.
pub(super) fn rewrite(folder: &Path, change: impl FnOnce(&mut Vec<Written>)) {
    let file = fs::read(weights(folder)).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let mut written: Vec<Written> = tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| Written {
            name,
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            bytes: view.data().to_vec(),
        })
        .collect();
    change(&mut written);
    let views = written.iter().map(|Written { name, dtype, shape, bytes }| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    fs::write(weights(folder), safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Changes one tensor.
pub(super) fn change(folder: &Path, wanted: &str, change: impl FnOnce(&mut Written)) {
    rewrite(folder, |tensors| change(tensors.iter_mut().find(|tensor| tensor.name == wanted).unwrap()));
}

/// Makes one tensor be of `dtype`, filled with `bytes` again and again.
pub(super) fn replace(folder: &Path, wanted: &str, (dtype, bytes): (Dtype, &[u8])) {
    change(folder, wanted, |tensor| {
        tensor.dtype = dtype;
        tensor.bytes = bytes.repeat(tensor.shape.iter().product());
    });
}

/// What the one shard is called, beside which an index counts.
pub(super) const SHARD: &str = "model-00001-of-00001.safetensors";

/// Makes the checkpoint one of shards, whose index is `map`.
pub(super) fn index(folder: &Path, map: &Value) {
    fs::rename(weights(folder), folder.join(SHARD)).unwrap();
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

/// Puts a GGUF file in the place of the weights: its beginning, then a tail.
pub(super) fn gguf(folder: &Path, (version, tensors, keys): (u32, u64, u64), tail: &[u8]) {
    fs::remove_file(weights(folder)).unwrap();
    let head = [&b"GGUF"[..], &version.to_le_bytes(), &tensors.to_le_bytes(), &keys.to_le_bytes()].concat();
    fs::write(folder.join("model.gguf"), [&head, tail].concat()).unwrap();
}

/// A text as GGUF has it.
pub(super) fn gguf_text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// The description of a tensor as GGUF has it.
pub(super) fn gguf_tensor(sizes: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let sizes_bytes: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
    let count = (sizes.len() as u32).to_le_bytes();
    [&gguf_text("blk.0.attn_k.weight")[..], &count, &sizes_bytes, &kind.to_le_bytes(), &offset.to_le_bytes()]
        .concat()
}
