//! The activations that configurations name.

use candle_core::{Result, Tensor};
use kernels::Isa;

use super::floats::{has_kernels, with_floats};
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
        match (self.kernel(x), self) {
            (Some(kernel), _) => run(kernel, x, None),
            (None, Self::Gelu) => x.gelu_erf(),
            (None, Self::GeluTanh) => x.gelu(),
            (None, Self::Silu) => x.silu(),
        }
    }

    /// The activation of `x` times `factors` of the same shape.
    pub(crate) fn gate(self, x: &Tensor, factors: &Tensor) -> Result<Tensor> {
        match self.kernel(x) {
            Some(kernel) => run(kernel, x, Some(factors)),
            None => self.forward(x)? * factors,
        }
    }

    /// Its kernel, where `x` goes through kernels and it has one.
    fn kernel(self, x: &Tensor) -> Option<kernels::Activation> {
        let kernel = match self {
            Self::Gelu => None,
            Self::GeluTanh => Some(kernels::Activation::GeluTanh),
            Self::Silu => Some(kernels::Activation::Silu),
        };
        kernel.filter(|_| has_kernels(x.device(), x.dtype()))
    }
}

fn run(kernel: kernels::Activation, x: &Tensor, factors: Option<&Tensor>) -> Result<Tensor> {
    let mut y = vec![0.0; x.elem_count()];
    with_floats(x, |x| match factors {
        None => {
            kernel.run(Isa::best(), x, None, &mut y);
            Ok(())
        }
        Some(factors) => with_floats(factors, |factors| kernel.run(Isa::best(), x, Some(factors), &mut y)),
    })??;
    Tensor::from_vec(y, x.shape(), x.device())
}
