//! Writes GGUF files, version 3, one piece of a tensor after the other.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use super::{ReadWeights, form::GgufForm};
use crate::error::LoadError;

/// Each tensor begins at a multiple of so many bytes, which is what readers take for granted.
const ALIGNMENT: usize = 32;

/// Weights that are read before they are written; whole blocks.
const WEIGHTS_AT_ONCE: usize = 1 << 20;

/// A value of the metadata.
pub(super) enum Value {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    Integers(Vec<i32>),
    Texts(Vec<String>),
}

/// A tensor to be written.
pub(super) struct Outgoing {
    /// Its name in the file.
    pub(super) name: String,
    /// Its name where weights are read.
    pub(super) ours: String,
    pub(super) shape: Vec<usize>,
    pub(super) form: GgufForm,
}

impl Outgoing {
    fn weights(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Writes a new file: first under another name, so that what has its name is complete.
pub(super) fn write(
    path: &Path,
    metadata: &[(String, Value)],
    tensors: &[Outgoing],
    read: &ReadWeights<'_>,
) -> Result<(), LoadError> {
    let failed = |cause| LoadError::Write { file: path.display().to_string(), cause };
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let written = File::create(&part).map_err(failed).and_then(|file| {
        let mut file = BufWriter::new(file);
        file.write_all(&header(metadata, tensors)).map_err(failed)?;
        for tensor in tensors {
            for start in (0..tensor.weights()).step_by(WEIGHTS_AT_ONCE) {
                let weights = read(&tensor.ours, start..tensor.weights().min(start + WEIGHTS_AT_ONCE))?;
                file.write_all(&tensor.form.encode(&weights, &tensor.name)?).map_err(failed)?;
            }
            let length = tensor.form.size_bytes(tensor.weights());
            file.write_all(&vec![0; length.next_multiple_of(ALIGNMENT) - length]).map_err(failed)?;
        }
        file.into_inner().map_err(std::io::IntoInnerError::into_error).map_err(failed)?;
        fs::rename(&part, path).map_err(failed)
    });
    if written.is_err() {
        // The first error is the one to tell; what cannot be removed was not made.
        let _ = fs::remove_file(&part);
    }
    written
}

fn header(metadata: &[(String, Value)], tensors: &[Outgoing]) -> Vec<u8> {
    let mut header = Header(b"GGUF\x03\0\0\0".to_vec());
    header.length(tensors.len());
    header.length(metadata.len());
    for (key, value) in metadata {
        header.text(key);
        header.value(value);
    }
    let mut offset = 0;
    for tensor in tensors {
        header.text(&tensor.name);
        header.number(tensor.shape.len() as u32);
        // The format has the innermost dimension first.
        tensor.shape.iter().rev().for_each(|size| header.length(*size));
        header.number(tensor.form.tensor_type());
        header.length(offset);
        offset += tensor.form.size_bytes(tensor.weights()).next_multiple_of(ALIGNMENT);
    }
    header.0.resize(header.0.len().next_multiple_of(ALIGNMENT), 0);
    header.0
}

struct Header(Vec<u8>);

impl Header {
    fn number(&mut self, number: u32) {
        self.0.extend(number.to_le_bytes());
    }

    fn length(&mut self, length: usize) {
        self.0.extend((length as u64).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend(text.as_bytes());
    }

    /// The number of a kind, and the value.
    fn value(&mut self, value: &Value) {
        const INTEGER: u32 = 5;
        const TEXT: u32 = 8;
        const ARRAY: u32 = 9;
        match value {
            Value::U32(number) => {
                self.number(4);
                self.number(*number);
            }
            Value::F32(float) => {
                self.number(6);
                self.number(float.to_bits());
            }
            Value::Bool(value) => {
                self.number(7);
                self.0.push(u8::from(*value));
            }
            Value::Text(text) => {
                self.number(TEXT);
                self.text(text);
            }
            Value::Integers(numbers) => {
                self.number(ARRAY);
                self.number(INTEGER);
                self.length(numbers.len());
                numbers.iter().for_each(|number| self.0.extend(number.to_le_bytes()));
            }
            Value::Texts(texts) => {
                self.number(ARRAY);
                self.number(TEXT);
                self.length(texts.len());
                texts.iter().for_each(|text| self.text(text));
            }
        }
    }
}
