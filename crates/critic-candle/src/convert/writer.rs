//! Writes GGUF files, version 3, with only a piece of a tensor in memory at a time.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use super::{OpenTensor, form::GgufForm};
use crate::{
    decoders::DecoderTensor,
    error::LoadError,
    weights::gguf_format::{ALIGNMENT, KeyValue, MAGIC, Value, value_kind},
};

/// The version of the format that is written.
const VERSION: u32 = 3;

/// Weights that are read and written at a time: a multiple of every block size.
const WEIGHTS_AT_ONCE: usize = 1 << 20;

/// A tensor to be written.
pub(super) struct TensorToWrite {
    pub(super) tensor: DecoderTensor,
    pub(super) form: GgufForm,
}

/// Writes a new file, which has the ending `.part` until it is complete.
pub(super) fn write(
    path: &Path,
    metadata: &[KeyValue],
    tensors: &[TensorToWrite],
    open: &OpenTensor<'_>,
) -> Result<(), LoadError> {
    let failed = |cause| LoadError::Write { file: path.display().to_string(), cause };
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let written = File::create(&part).map_err(failed).and_then(|file| {
        let mut file = BufWriter::new(file);
        file.write_all(&header(metadata, tensors)).map_err(failed)?;
        for TensorToWrite { tensor, form } in tensors {
            let (count, read) = (tensor.weights(), open(tensor)?);
            for start in (0..count).step_by(WEIGHTS_AT_ONCE) {
                let weights = read(start..count.min(start + WEIGHTS_AT_ONCE))?;
                file.write_all(&form.encode(&weights, &tensor.name_in_gguf)?).map_err(failed)?;
            }
            let length = form.size_bytes(count);
            file.write_all(&vec![0; length.next_multiple_of(ALIGNMENT) - length]).map_err(failed)?;
        }
        file.into_inner().map_err(std::io::IntoInnerError::into_error).map_err(failed)?;
        fs::rename(&part, path).map_err(failed)
    });
    if written.is_err() {
        // The first error is the one to report. Removing fails where the file was never created.
        let _ = fs::remove_file(&part);
    }
    written
}

fn header(metadata: &[KeyValue], tensors: &[TensorToWrite]) -> Vec<u8> {
    let mut header = Header(MAGIC.to_vec());
    header.number(VERSION);
    header.length(tensors.len());
    header.length(metadata.len());
    for (key, value) in metadata {
        header.text(key);
        header.value(value);
    }
    let mut offset = 0;
    for TensorToWrite { tensor, form } in tensors {
        header.text(&tensor.name_in_gguf);
        header.number(tensor.shape.len() as u32);
        // The format lists the innermost dimension first.
        tensor.shape.iter().rev().for_each(|size| header.length(*size));
        header.number(form.tensor_type());
        header.length(offset);
        offset += form.size_bytes(tensor.weights()).next_multiple_of(ALIGNMENT);
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

    /// Writes the number of the value's kind, then the value.
    fn value(&mut self, value: &Value) {
        match value {
            Value::U32(number) => {
                self.number(value_kind::U32);
                self.number(*number);
            }
            Value::F32(float) => {
                self.number(value_kind::F32);
                self.number(float.to_bits());
            }
            Value::Bool(value) => {
                self.number(value_kind::BOOL);
                self.0.push(u8::from(*value));
            }
            Value::Text(text) => {
                self.number(value_kind::TEXT);
                self.text(text);
            }
            Value::Integers(numbers) => {
                self.number(value_kind::ARRAY);
                self.number(value_kind::I32);
                self.length(numbers.len());
                numbers.iter().for_each(|number| self.0.extend(number.to_le_bytes()));
            }
            Value::Texts(texts) => {
                self.number(value_kind::ARRAY);
                self.number(value_kind::TEXT);
                self.length(texts.len());
                texts.iter().for_each(|text| self.text(text));
            }
        }
    }
}
