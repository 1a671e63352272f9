//! Layer norm and RMS norm, over the last dimension.

use candle_core::{D, Result, Tensor};
use kernels::Isa;

use super::with_floats;
use crate::{
    device::{ComputeDevice, gpu_result, widened},
    error::LoadError,
    rows::Rows,
    weights::Weights,
};

/// Without a bias, RMS norm: x / sqrt(mean of squares + epsilon) * weight. With a bias, layer norm: (x - mean) /
/// sqrt(variance + epsilon) * weight + bias.
#[derive(Debug)]
pub(crate) struct Norm {
    pub(super) weight: Tensor,       // [size]
    pub(super) bias: Option<Tensor>, // [size]
    pub(super) epsilon: f32,
    /// The norm on the GPU, where the model computes on one.
    pub(super) gpu: Option<kernels_cuda::Norm>,
}

/// Rows that are normalised before they are multiplied.
pub(crate) struct Normed<'a> {
    pub(crate) norm: &'a Norm,
    /// The rows `[rows, size]` before they are normalised.
    pub(crate) x: &'a Rows,
    /// Working memory for the normalised rows. What it holds afterwards is not specified.
    pub(crate) normed: &'a mut Rows,
}

impl<'a> Normed<'a> {
    /// Computes the normalised rows.
    pub(super) fn rows(self) -> Result<&'a Rows> {
        self.norm.forward(self.x, self.normed)?;
        Ok(self.normed)
    }

    /// The same for the GPU on which the rows are.
    pub(super) fn on_gpu(self) -> Result<kernels_cuda::Normed<'a>> {
        let x = self.x.gpu()?;
        match &self.norm.gpu {
            Some(norm) => Ok(kernels_cuda::Normed { norm, x, normed: self.normed.on(x.gpu())? }),
            None => candle_core::bail!("rows on a GPU came to a norm that is not there"),
        }
    }
}

impl Norm {
    /// Loads the layer norm with the tensors `{prefix}weight` and `{prefix}bias`.
    pub(crate) fn layer(
        weights: &Weights,
        prefix: &str,
        size: usize,
        epsilon: f64,
    ) -> std::result::Result<Self, LoadError> {
        let bias = weights.get(&format!("{prefix}bias"), &[size])?;
        Self::new(weights, (&format!("{prefix}weight"), size), Some(bias), epsilon)
    }

    /// Loads the RMS norm with the weight `name`.
    pub(crate) fn rms(
        weights: &Weights,
        name: &str,
        size: usize,
        epsilon: f64,
    ) -> std::result::Result<Self, LoadError> {
        Self::new(weights, (name, size), None, epsilon)
    }

    fn new(
        weights: &Weights,
        (name, size): (&str, usize),
        bias: Option<Tensor>, // [size]
        epsilon: f64,
    ) -> std::result::Result<Self, LoadError> {
        let (weight, epsilon) = (weights.get(name, &[size])?, epsilon as f32);
        let gpu = match weights.device() {
            ComputeDevice::Kernels | ComputeDevice::Tensors(_) => None,
            ComputeDevice::Gpu(gpu) => {
                let bias = bias.as_ref().map(widened).transpose()?;
                Some(kernels_cuda::Norm::new(gpu, &widened(&weight)?, bias.as_deref(), epsilon)?)
            }
        };
        Ok(Self { weight, bias, epsilon, gpu })
    }

    /// Computes `y` from `x` `[rows, size]`, of the same shape.
    pub(crate) fn forward(&self, x: &Rows, y: &mut Rows) -> Result<()> {
        let shape = x.shape()?;
        match (x, &self.bias) {
            (Rows::Floats { floats, .. }, None) => with_floats(&self.weight, |weight| {
                let norm = kernels::Norm { weight, bias: None, epsilon: self.epsilon };
                norm.run(Isa::best(), floats, y.room(shape));
            }),
            (Rows::Floats { floats, .. }, Some(bias)) => with_floats(&self.weight, |weight| {
                with_floats(bias, |bias| {
                    let norm = kernels::Norm { weight, bias: Some(bias), epsilon: self.epsilon };
                    norm.run(Isa::best(), floats, y.room(shape));
                })
            })?,
            (Rows::Tensor(x), None) => {
                *y = Rows::Tensor(candle_nn::ops::rms_norm(&x.contiguous()?, &self.weight, self.epsilon)?);
                Ok(())
            }
            (Rows::Tensor(x), Some(bias)) => {
                // The mean is subtracted first: the mean of squares minus the square of the mean loses digits in f32.
                let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
                let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
                let scaled = centred.broadcast_div(&(variance + f64::from(self.epsilon))?.sqrt()?)?;
                *y = Rows::Tensor(scaled.broadcast_mul(&self.weight)?.broadcast_add(bias)?);
                Ok(())
            }
            (Rows::Gpu(x), _) => match &self.gpu {
                Some(norm) => gpu_result(norm.run(x, y.on(x.gpu())?)),
                None => candle_core::bail!("rows on a GPU came to a norm that is not there"),
            },
        }
    }
}
