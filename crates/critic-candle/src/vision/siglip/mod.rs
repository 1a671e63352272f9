//! The SigLIP vision tower up to the last layer that is run, without its final norm and pooling head.

mod config;
mod inventory;
mod names;

use candle_core::{Result, Tensor};
use kernels::{Columns, Dense, Isa};
use kernels_cuda::PatchCutter;

pub(crate) use self::{
    config::{SiglipConfig, write},
    inventory::tensors,
    names::IN_GGUF,
};

use self::names::{
    ATTENTION_NORM, ATTENTION_OUTPUT, CONTRACT, EXPAND, KEYS, LAYERS, MLP_NORM, PATCHES, POSITIONS, QUERIES,
    VALUES,
};
use super::VisionConfig;
use crate::{
    device::{ComputeDevice, gpu_result},
    error::LoadError,
    layers::{Activation, Bias, Linear, Norm, softmax},
    rows::Rows,
    weights::{MatrixShape, Weights},
};

/// A tower that turns tiles into one vector for each patch.
#[derive(Debug)]
pub(crate) struct Siglip {
    patches: Linear, // [3 * patch * patch, padded on a GPU] -> [E], a convolution whose stride is its kernel size
    positions: Rows, // [P, E]
    layers: Vec<Layer>,
    side: usize,
    patch_size: usize,
    device: ComputeDevice,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Norm,
    attention: Attention,
    mlp_norm: Norm,
    expand: Linear,
    contract: Linear,
    activation: Activation,
}

#[derive(Debug)]
struct Attention {
    projections: Linear, // [E] -> [3 * E]: queries, keys and values
    output: Linear,
    heads: usize,
}

/// Working memory of a layer, shared by all layers.
struct Buffers {
    normed: Rows,      // [N * P, E]
    projections: Rows, // [N * P, 3 * E]
    attended: Rows,    // [N * P, E]
    wide: Rows,        // [N * P, wide]
    change: Rows,      // [N * P, E]
}

impl Siglip {
    /// Loads the tower whose tensors' names begin with `prefix`.
    pub(crate) fn load(
        weights: &Weights,
        prefix: &str,
        config: &VisionConfig,
    ) -> std::result::Result<Self, LoadError> {
        let (size, patch, side) = (config.hidden_size, config.patch_size, config.patches_per_side());
        let kernel = format!("{prefix}{PATCHES}.weight");
        let bias = weights.get(&format!("{prefix}{PATCHES}.bias"), &[size])?;
        let form = weights.form().of_the_rest();
        let positions = format!("{prefix}{POSITIONS}.weight");
        let layers: std::result::Result<Vec<Layer>, LoadError> = (0..config.layers)
            .map(|index| Layer::load(weights, &format!("{prefix}{LAYERS}{index}."), config))
            .collect();
        Ok(Self {
            patches: Linear::load_convolution(
                weights.products(form),
                (kernel, vec![size, 3, patch, patch]),
                bias,
            )?,
            positions: weights.device().rows(&weights.get(&positions, &[side * side, size])?)?,
            layers: layers?,
            side,
            patch_size: patch,
            device: weights.device().clone(),
        })
    }

    /// The features `[N * P, E]` of normalised pixels `[N, 3, size, size]`.
    pub(crate) fn forward(&self, pixels: &Tensor) -> Result<Rows> {
        self.run(pixels, |_| Ok(()))
    }

    /// The features `[N * P, E]` of tiles that are cut already: normalised patches as [`PatchCutter`] writes them.
    pub(crate) fn forward_patches(&self, patches: &Rows) -> Result<Rows> {
        self.run_layers(self.embed_patches(patches)?, |_| Ok(()))
    }

    /// The residual stream after the embedding and after each layer, `[N, P, E]` each.
    pub(crate) fn hidden_states(&self, pixels: &Tensor) -> Result<Vec<Tensor>> {
        let shape = (pixels.dim(0)?, self.side * self.side, self.positions.shape()?.1);
        let mut states = Vec::new();
        self.run(pixels, |x| {
            states.push(x.to_tensor()?.reshape(shape)?);
            Ok(())
        })?;
        Ok(states)
    }

    /// The features of `pixels`; calls `observe` with the residual stream after the embedding and after each layer.
    fn run(&self, pixels: &Tensor, observe: impl FnMut(&Rows) -> Result<()>) -> Result<Rows> {
        self.run_layers(self.embed_patches(&self.cut(pixels)?)?, observe)
    }

    /// Like [`Self::run`], from the embedded patches `x` `[N * P, E]` on.
    fn run_layers(&self, mut x: Rows, mut observe: impl FnMut(&Rows) -> Result<()>) -> Result<Rows> {
        observe(&x)?;
        let mut buffers = Buffers::new();
        for layer in &self.layers {
            layer.forward(&mut x, self.side * self.side, &mut buffers)?;
            observe(&x)?;
        }
        Ok(x)
    }

    /// Cuts tiles into patches, row-major; pixels to the right of and below the last whole patch are ignored.
    fn cut(&self, pixels: &Tensor) -> Result<Rows> {
        let (tiles, channels, _, _) = pixels.dims4()?;
        let (side, patch) = (self.side, self.patch_size);
        let columns = channels * patch * patch;
        let patches = pixels
            .narrow(2, 0, side * patch)?
            .narrow(3, 0, side * patch)?
            .contiguous()?
            .reshape(vec![tiles, channels, side, patch, side, patch])?
            .permute(vec![0, 2, 4, 1, 3, 5])? // [N, rows, columns, channel, y, x]
            .contiguous()?
            .reshape((tiles * side * side, columns))?;
        match &self.device {
            ComputeDevice::Kernels | ComputeDevice::Tensors(_) => self.device.rows(&patches),
            ComputeDevice::Gpu(_) => {
                let padding = PatchCutter::padded(columns) - columns;
                self.device.rows(&patches.pad_with_zeros(1, 0, padding)?)
            }
        }
    }

    /// The input of the first layer `[N * P, E]` for patches.
    fn embed_patches(&self, patches: &Rows) -> Result<Rows> {
        let mut x = Rows::new(); // [N * P, E]
        self.patches.forward(patches, &mut x)?;
        x.add_repeated(&self.positions)?;
        Ok(x)
    }
}

impl Buffers {
    fn new() -> Self {
        let [normed, projections, attended, wide, change] = std::array::from_fn(|_| Rows::new());
        Self { normed, projections, attended, wide, change }
    }
}

impl Layer {
    fn load(weights: &Weights, prefix: &str, config: &VisionConfig) -> std::result::Result<Self, LoadError> {
        let (size, wide, epsilon) = (config.hidden_size, config.intermediate_size, config.norm_epsilon);
        // On a GPU, all rows of a tile are multiplied at once, for which quantised weights would have to be
        // expanded first.
        let form = match weights.device() {
            ComputeDevice::Gpu(_) => weights.form().of_the_rest(),
            ComputeDevice::Kernels | ComputeDevice::Tensors(_) => weights.form(),
        };
        let products = weights.products(form);
        let linear =
            |name: &str, shape| Linear::load(products, &format!("{prefix}{name}."), shape, Bias::Present);
        let names = [QUERIES, KEYS, VALUES].map(|name| format!("{name}."));
        let projections = names.each_ref().map(|name| (name.as_str(), size));
        Ok(Self {
            attention_norm: Norm::layer(weights, &format!("{prefix}{ATTENTION_NORM}."), size, epsilon)?,
            attention: Attention {
                projections: Linear::load_joined(products, (prefix, &projections), size, Bias::Present)?,
                output: linear(ATTENTION_OUTPUT, MatrixShape { outputs: size, inputs: size })?,
                heads: config.heads,
            },
            mlp_norm: Norm::layer(weights, &format!("{prefix}{MLP_NORM}."), size, epsilon)?,
            expand: linear(EXPAND, MatrixShape { outputs: wide, inputs: size })?,
            contract: linear(CONTRACT, MatrixShape { outputs: size, inputs: wide })?,
            activation: config.activation,
        })
    }

    /// Runs the layer on the residual stream `x` `[N * P, E]` of tiles with `patches` patches.
    fn forward(&self, x: &mut Rows, patches: usize, buffers: &mut Buffers) -> Result<()> {
        self.attention_norm.forward(x, &mut buffers.normed)?;
        self.attention.forward(x, patches, buffers)?;
        self.mlp_norm.forward(x, &mut buffers.normed)?;
        self.expand.activated(&buffers.normed, &mut buffers.wide, self.activation)?;
        self.contract.add(&buffers.wide, x, &mut buffers.change)
    }
}

impl Attention {
    /// Adds the attention output of the normed rows to `x`. Each patch attends to all patches of its tile.
    fn forward(&self, x: &mut Rows, patches: usize, buffers: &mut Buffers) -> Result<()> {
        self.projections.forward(&buffers.normed, &mut buffers.projections)?;
        let (rows, columns) = buffers.projections.shape()?;
        let size = columns / 3;
        match &buffers.projections {
            Rows::Floats { floats, .. } => {
                let part = |index| Columns::new(floats, columns, index * size..(index + 1) * size);
                let dense = Dense {
                    heads: self.heads,
                    head_size: size / self.heads,
                    length: patches,
                    queries: part(0),
                    keys: part(1),
                    values: part(2),
                };
                kernels::attend_all(&dense, Isa::best(), buffers.attended.room((rows, size)));
            }
            Rows::Tensor(projections) => {
                let part = |index| projections.narrow(1, index * size, size);
                let (query, key, value) = (part(0)?, part(1)?, part(2)?);
                buffers.attended =
                    Rows::Tensor(self.attend(&query, (&key, &value), (rows / patches, patches))?);
            }
            Rows::Gpu(projections) => {
                let shape = (self.heads, patches);
                gpu_result(kernels_cuda::attend_all(
                    projections,
                    shape,
                    buffers.attended.on(projections.gpu())?,
                ))?;
            }
        }
        self.output.add(&buffers.attended, x, &mut buffers.change)
    }

    /// Attention with tensors of the library: `[N * P, E]` from queries, keys and values of the same shape.
    fn attend(
        &self,
        query: &Tensor,
        (key, value): (&Tensor, &Tensor),
        (tiles, patches): (usize, usize),
    ) -> Result<Tensor> {
        let size = query.dim(1)?;
        let head_size = size / self.heads;
        let heads = |x: &Tensor| {
            x.reshape((tiles, patches, self.heads, head_size))?.transpose(1, 2)?.contiguous()?.reshape((
                tiles * self.heads,
                patches,
                head_size,
            ))
        };
        let scale = 1.0 / (head_size as f64).sqrt();
        let (query, key, value) = (heads(&(query * scale)?)?, heads(key)?, heads(value)?);
        let weights = softmax(&query.matmul(&key.t()?)?)?; // [N * heads, P, P]
        weights
            .matmul(&value)? // [N * heads, P, head size]
            .reshape((tiles, self.heads, patches, head_size))?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((tiles * patches, size))
    }
}
