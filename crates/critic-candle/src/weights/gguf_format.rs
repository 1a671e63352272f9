//! Constants of the GGUF format for reading and writing, from
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

/// The first bytes of a file.
pub(crate) const MAGIC: &[u8; 4] = b"GGUF";

/// The default alignment of tensors in bytes, used where the file specifies none.
pub(crate) const ALIGNMENT: usize = 32;

/// The key of the architecture's name.
pub(crate) const ARCHITECTURE_KEY: &str = "general.architecture";

/// Numbers of the kinds of metadata values.
pub(crate) mod value_kind {
    pub(crate) const U8: u32 = 0;
    pub(crate) const I8: u32 = 1;
    pub(crate) const U16: u32 = 2;
    pub(crate) const I16: u32 = 3;
    pub(crate) const U32: u32 = 4;
    pub(crate) const I32: u32 = 5;
    pub(crate) const F32: u32 = 6;
    pub(crate) const BOOL: u32 = 7;
    pub(crate) const TEXT: u32 = 8;
    pub(crate) const ARRAY: u32 = 9;
    pub(crate) const U64: u32 = 10;
    pub(crate) const I64: u32 = 11;
    pub(crate) const F64: u32 = 12;
}

/// Numbers of the types of tensors.
pub(crate) mod tensor_type {
    pub(crate) const F32: u32 = 0;
    pub(crate) const F16: u32 = 1;
    pub(crate) const Q4_0: u32 = 2;
    pub(crate) const Q4_1: u32 = 3;
    pub(crate) const Q5_0: u32 = 6;
    pub(crate) const Q5_1: u32 = 7;
    pub(crate) const Q8_0: u32 = 8;
    pub(crate) const Q2_K: u32 = 10;
    pub(crate) const Q3_K: u32 = 11;
    pub(crate) const Q4_K: u32 = 12;
    pub(crate) const Q5_K: u32 = 13;
    pub(crate) const Q6_K: u32 = 14;
    pub(crate) const IQ4_NL: u32 = 20;
    pub(crate) const BF16: u32 = 30;
}

/// Values of `general.file_type`: the type of most weights of a file.
pub(crate) mod file_type {
    pub(crate) const F32: u32 = 0;
    pub(crate) const F16: u32 = 1;
    pub(crate) const Q4_0: u32 = 2;
    pub(crate) const Q8_0: u32 = 7;
    pub(crate) const IQ4_NL: u32 = 25;
}

/// A metadata value to write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    Integers(Vec<i32>),
    Texts(Vec<String>),
}

/// A metadata key and its value.
pub(crate) type KeyValue = (String, Value);
