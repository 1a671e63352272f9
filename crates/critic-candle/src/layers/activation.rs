//! The activations that configurations name.

use candle_core::{Result, Tensor};

use crate::{error::LoadError, source::Source};

/// An elementwise activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Exact GELU, by the error function.
    Gelu,
    /// GELU by the tanh approximation.
    GeluTanh,
    /// x * sigmoid(x).
    Silu,
}

impl Activation {
    /// Reads the name that `key` has in `config.json`.
    pub(crate) fn read(
        source: &Source,
        key: &'static str,
        name: &str,
    ) -> std::result::Result<Self, LoadError> {
        match name {
            "gelu" => Ok(Self::Gelu),
            "gelu_pytorch_tanh" | "gelu_new" => Ok(Self::GeluTanh),
            "silu" | "swish" => Ok(Self::Silu),
            other => Err(LoadError::Unsupported {
                file: source.path("config.json"),
                key,
                found: other.into(),
                expected: "gelu, gelu_pytorch_tanh or silu".into(),
            }),
        }
    }

    /// Any shape to the same shape.
    pub(crate) fn forward(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Gelu => x.gelu_erf(),
            Self::GeluTanh => x.gelu(),
            Self::Silu => x.silu(),
        }
    }
}
