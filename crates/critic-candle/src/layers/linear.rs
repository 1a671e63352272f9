//! Linear layers: a matrix product with an optional bias.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use critic::TokenId;
use kernels::Form;
use kernels_cuda::{Gpu, Output, PatchCutter};

use super::{
    Activation, Normed, drawn,
    embedding::look_up,
    joined::{ForGpu, Joined},
};
use crate::{
    device::{ComputeDevice, gpu_result, widened},
    error::LoadError,
    rows::Rows,
    weights::{MatrixShape, Products, WeightForm},
};

/// Whether a linear layer has a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bias {
    Present,
    Absent,
}

/// A linear layer, x W^T + b.
#[derive(Debug)]
pub(crate) enum Linear {
    /// On the CPU with arithmetic in f32. The packed weight, in any form, is the only copy.
    Packed(kernels::Linear),
    /// On the CPU in another type.
    Tensors {
        weight: Tensor,       // [out, in]
        bias: Option<Tensor>, // [out]
    },
    /// On a GPU, in bf16 or in quantised blocks.
    Gpu(Box<kernels_cuda::Linear>),
}

impl Linear {
    /// Loads `{prefix}weight`, and `{prefix}bias` where it is present.
    pub(crate) fn load(
        products: Products<'_>,
        prefix: &str,
        MatrixShape { outputs, inputs }: MatrixShape,
        bias: Bias,
    ) -> std::result::Result<Self, LoadError> {
        Self::load_joined(products, (prefix, &[("", outputs)]), inputs, bias)
    }

    /// Loads several linear layers with the same inputs as one, whose outputs are concatenated. Each of `parts` is
    /// the part's prefix after `prefix`, and its number of outputs.
    pub(crate) fn load_joined(
        products: Products<'_>,
        (prefix, parts): (&str, &[(&str, usize)]),
        input: usize,
        bias: Bias,
    ) -> std::result::Result<Self, LoadError> {
        let bias = match bias {
            Bias::Present => {
                let read =
                    |(name, output): &(&str, usize)| products.bias(&format!("{prefix}{name}bias"), *output);
                let biases = parts.iter().map(read).collect::<std::result::Result<Vec<_>, LoadError>>()?;
                Some(Tensor::cat(&biases, 0)?)
            }
            Bias::Absent => None,
        };
        let names =
            parts.iter().map(|(name, output)| (format!("{prefix}{name}weight"), vec![*output, input]));
        Self::read(products, &names.collect::<Vec<_>>(), bias)
    }

    /// Loads weights by name and shape, stacked by rows. The first dimension of a shape is the output, the product
    /// of the others the input.
    pub(crate) fn read(
        products: Products<'_>,
        names: &[(String, Vec<usize>)],
        bias: Option<Tensor>, // [out], of this rank's part
    ) -> std::result::Result<Self, LoadError> {
        let output = names.iter().map(|(_, shape)| products.shape_of(shape).outputs).sum();
        let input = products.shape_of(&names[0].1).inputs;
        let form = products.form();
        match products.device() {
            ComputeDevice::Kernels => {
                let kept = match form {
                    WeightForm::Stored | WeightForm::Q8 | WeightForm::Q4 => {
                        Joined::as_stored(products, names)?
                    }
                    WeightForm::F32 => Joined::as_floats(products, names)?,
                };
                let packed_form = match form {
                    WeightForm::Stored => kept.own_form(),
                    WeightForm::F32 => Form::Given,
                    WeightForm::Q8 => Form::Q8,
                    WeightForm::Q4 => Form::Q4,
                };
                let bias: Option<Vec<f32>> = bias.map(|bias| bias.to_vec1()).transpose()?;
                let shape = (output, input);
                Ok(Self::Packed(kernels::Linear::with_form(
                    kept.matrix(),
                    packed_form,
                    shape,
                    bias.as_deref(),
                )))
            }
            ComputeDevice::Tensors(_) => {
                let read = |(name, shape): &(String, Vec<usize>)| products.tensor(name, shape);
                let parts = names.iter().map(read).collect::<std::result::Result<Vec<_>, LoadError>>()?;
                Ok(Self::Tensors { weight: Tensor::cat(&parts, 0)?, bias })
            }
            ComputeDevice::Gpu(gpu) => {
                if let Some(drawn) = drawn::linear(products, gpu, names, bias.as_ref())? {
                    return Ok(Self::Gpu(Box::new(drawn)));
                }
                let kept = Joined::as_stored(products, names)?.for_gpu(form, input);
                Self::upload(gpu, &kept, MatrixShape { outputs: output, inputs: input }, bias.as_ref())
            }
        }
    }

    /// Loads the weight `[out, channels, height, width]` of a convolution whose stride is its kernel size, and its
    /// bias. On a GPU, rows are padded with zeros like those of patches that it cuts ([`PatchCutter::padded`]).
    pub(crate) fn load_convolution(
        products: Products<'_>,
        named: (String, Vec<usize>),
        bias: Tensor, // [out]
    ) -> std::result::Result<Self, LoadError> {
        let MatrixShape { outputs, inputs } = products.shape_of(&named.1);
        let padded = PatchCutter::padded(inputs);
        match products.device() {
            ComputeDevice::Gpu(gpu) if padded != inputs => {
                let kept = Joined::as_stored(products, &[named])?.for_gpu(products.form(), inputs);
                let kept = kept.with_padded_rows(inputs, padded);
                Self::upload(gpu, &kept, MatrixShape { outputs, inputs: padded }, Some(&bias))
            }
            ComputeDevice::Gpu(_) | ComputeDevice::Kernels | ComputeDevice::Tensors(_) => {
                Self::read(products, &[named], Some(bias))
            }
        }
    }

    /// Copies weights to a GPU.
    fn upload(
        gpu: &Arc<Gpu>,
        kept: &ForGpu<'_>,
        MatrixShape { outputs, inputs }: MatrixShape,
        bias: Option<&Tensor>, // [out]
    ) -> std::result::Result<Self, LoadError> {
        let bias = bias.map(widened).transpose()?;
        let linear = kernels_cuda::Linear::new(gpu, kept.to_cuda(), (outputs, inputs), bias.as_deref())?;
        Ok(Self::Gpu(Box::new(linear)))
    }

    /// Computes `y` `[rows, out]` from `x` `[rows, in]`.
    pub(crate) fn forward(&self, x: &Rows, y: &mut Rows) -> Result<()> {
        match self {
            Self::Packed(linear) => linear.forward(x.floats()?, y.room((x.shape()?.0, linear.output()))),
            Self::Tensors { weight, bias } => {
                let product = x.tensor()?.matmul(&weight.t()?)?;
                *y = Rows::Tensor(match bias {
                    Some(bias) => product.broadcast_add(bias)?,
                    None => product,
                });
            }
            Self::Gpu(linear) => {
                let x = x.gpu()?;
                gpu_result(linear.forward(x, y.on(x.gpu())?, Output::Replace))?;
            }
        }
        Ok(())
    }

    /// Computes `y` `[rows, out]` from `x` `[rows, in]`, and applies `activation` to it.
    pub(crate) fn activated(&self, x: &Rows, y: &mut Rows, activation: Activation) -> Result<()> {
        match (self, activation) {
            (Self::Gpu(linear), Activation::GeluTanh) => {
                let x = x.gpu()?;
                gpu_result(linear.forward(x, y.on(x.gpu())?, Output::GeluTanh))
            }
            (Self::Packed(_) | Self::Tensors { .. } | Self::Gpu(_), _) => {
                self.forward(x, y)?;
                activation.forward(y)
            }
        }
    }

    /// Computes `y` `[rows, out / 2]` from `x` `[rows, in]`: the activation of the first half of the outputs times
    /// the second half. `products` is working memory.
    pub(crate) fn gated(
        &self,
        x: &Rows,
        activation: Activation,
        (products, y): (&mut Rows, &mut Rows),
    ) -> Result<()> {
        if let Self::Gpu(linear) = self {
            let (x, activation) = (x.gpu()?, activation.to_cuda());
            return gpu_result(linear.gated(x, activation, (products.on(x.gpu())?, y.on(x.gpu())?)));
        }
        self.forward(x, products)?;
        activation.gate(products, y)
    }

    /// Computes `y` `[rows, out]` from rows that are normalised first, as [`forward`](Self::forward) does from the
    /// normalised ones.
    pub(crate) fn forward_normed(&self, rows: Normed<'_>, y: &mut Rows) -> Result<()> {
        match self {
            Self::Gpu(linear) => {
                let gpu = rows.x.gpu()?.gpu().clone();
                gpu_result(linear.forward_normed(rows.on_gpu()?, y.on(&gpu)?))
            }
            Self::Packed(_) | Self::Tensors { .. } => self.forward(rows.rows()?, y),
        }
    }

    /// Computes gated outputs of rows that are normalised first, as [`gated`](Self::gated) does of the normalised
    /// ones.
    pub(crate) fn gated_normed(
        &self,
        rows: Normed<'_>,
        activation: Activation,
        (products, y): (&mut Rows, &mut Rows),
    ) -> Result<()> {
        if let Self::Gpu(linear) = self {
            let gpu = rows.x.gpu()?.gpu().clone();
            let written = (products.on(&gpu)?, y.on(&gpu)?);
            return gpu_result(linear.gated_normed(rows.on_gpu()?, activation.to_cuda(), written));
        }
        self.gated(rows.rows()?, activation, (products, y))
    }

    /// Adds the outputs for `x` `[rows, in]` to `y` `[rows, out]`; `change` is working memory.
    pub(crate) fn add(&self, x: &Rows, y: &mut Rows, change: &mut Rows) -> Result<()> {
        if let (Self::Gpu(linear), Rows::Gpu(y)) = (self, &mut *y) {
            return gpu_result(linear.forward(x.gpu()?, y, Output::Add));
        }
        self.forward(x, change)?;
        y.add(change)
    }

    /// The outputs for `x` `[rows, in]`, one vector in f32 for each row.
    pub(crate) fn floats(&self, x: &Rows) -> Result<Vec<Vec<f32>>> {
        match self {
            Self::Gpu(linear) => gpu_result(linear.floats(x.gpu()?)),
            Self::Packed(_) | Self::Tensors { .. } => {
                let mut y = Rows::new();
                self.forward(x, &mut y)?;
                y.into_vectors()
            }
        }
    }

    /// The embeddings `[tokens, in]` of `tokens`, where the embedding table and this weight are the same.
    pub(crate) fn embed(&self, tokens: &[TokenId]) -> Result<Rows> {
        match self {
            Self::Packed(linear) => {
                let rows = tokens.iter().flat_map(|token| linear.weight_row(token.0 as usize));
                Ok(Rows::Floats { floats: rows.collect(), columns: linear.input() })
            }
            Self::Tensors { weight, .. } => Ok(Rows::Tensor(look_up(weight, tokens, weight.dtype())?)),
            Self::Gpu(_) => candle_core::bail!("on a GPU the embedding is a table of its own"),
        }
    }
}
