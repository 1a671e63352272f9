//! The activation functions that configurations name.

use candle_core::{Result, Tensor};
use kernels::Isa;

use crate::{device::gpu_result, error::LoadError, rows::Rows, source::Source};

/// An elementwise activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Exact GELU, with the error function.
    Gelu,
    /// GELU with the tanh approximation.
    GeluTanh,
    /// x * sigmoid(x).
    Silu,
}

impl Activation {
    /// The activation with this `name`, which is the value of `key` in `config.json`.
    ///
    /// # Errors
    /// [`LoadError::Unsupported`] for an unknown name.
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

    /// Applies the activation to each number in place.
    pub(crate) fn forward(self, x: &mut Rows) -> Result<()> {
        match x {
            Rows::Floats { floats, .. } => self.kernel().run(Isa::best(), floats),
            Rows::Tensor(x) => *x = self.of(x)?,
            Rows::Gpu(x) => gpu_result(self.to_cuda().run(x))?,
        }
        Ok(())
    }

    /// Computes `y` `[rows, size]` from `x` `[rows, 2 * size]`: the activation of the first half of each row times
    /// the second half.
    pub(crate) fn gate(self, x: &Rows, y: &mut Rows) -> Result<()> {
        let (rows, size) = (x.shape()?.0, x.shape()?.1 / 2);
        match x {
            Rows::Floats { floats, .. } => {
                self.kernel().gate(Isa::best(), floats, size, y.room((rows, size)));
            }
            Rows::Tensor(x) => {
                *y = Rows::Tensor((self.of(&x.narrow(1, 0, size)?)? * x.narrow(1, size, size)?)?);
            }
            Rows::Gpu(x) => gpu_result(self.to_cuda().gate(x, y.on(x.gpu())?))?,
        }
        Ok(())
    }

    fn of(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Gelu => x.gelu_erf(),
            Self::GeluTanh => x.gelu(),
            Self::Silu => x.silu(),
        }
    }

    fn kernel(self) -> kernels::Activation {
        match self {
            Self::Gelu => kernels::Activation::Gelu,
            Self::GeluTanh => kernels::Activation::GeluTanh,
            Self::Silu => kernels::Activation::Silu,
        }
    }

    pub(super) fn to_cuda(self) -> kernels_cuda::Activation {
        match self {
            Self::Gelu => kernels_cuda::Activation::Gelu,
            Self::GeluTanh => kernels_cuda::Activation::GeluTanh,
            Self::Silu => kernels_cuda::Activation::Silu,
        }
    }
}
