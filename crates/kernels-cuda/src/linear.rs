//! A matrix product with an optional bias, of any number of rows: few by our own kernels, which read weights once, more by
//! cuBLASLt.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cudarc::driver::CudaSlice;
use half::bf16;
use rayon::prelude::*;

use crate::{
    activation::Activation,
    error::Result,
    gpu::Gpu,
    matrix_product::{After, Shape},
    products::{Bf16Weights, Bias, Destination, FEW_ROWS, Floats},
    quantised::{Blocks, QuantisedWeights, RoundedRows},
    rows::Rows,
};

/// Numbers of quantised weights that are expanded at a time, at most: 128 MiB in bf16. Fewer would stay in a second-level cache
/// (50 MiB on H100), but a product of few outputs has too few tiles for all multiprocessors: of the 29,568 inputs of a 72B
/// critic 16 Mi numbers are 567 outputs, which with 512 rows are some ten tiles of 128 x 256 for 132 multiprocessors.
const EXPANDED: usize = 64 << 20;

/// Outputs that begin a piece are a multiple of this, so that what begins there in bf16 is aligned to 256 bytes, as memory is that
/// was allocated: the library chooses its kernels for that.
const ALIGNED_OUTPUTS: usize = 128;

/// The weights of a product `[output, input]` as they come.
#[derive(Debug, Clone, Copy)]
pub enum Weight<'a> {
    /// Numbers.
    Bf16(&'a [bf16]),
    /// Blocks as GGUF files have them.
    Blocks(Blocks<'a>),
}

/// What becomes of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// It takes the place of what was there.
    Replace,
    /// It is added to what was there.
    Add,
    /// Its GELU, by tanh, takes the place of what was there.
    GeluTanh,
}

/// x W^T + b.
#[derive(Debug)]
pub struct Linear {
    weights: Weights,
    /// The bias for our own kernels, and the same for the library's.
    bias: Option<(Bias, CudaSlice<bf16>)>,
    output: usize,
    input: usize,
    /// Memory for [`floats`](Self::floats), once they were asked for. Used by one thread, see `Gpu`.
    floats: Mutex<Option<(Rows, Floats)>>,
}

#[derive(Debug)]
enum Weights {
    Bf16(Bf16Weights),
    Quantised(QuantisedWeights, Arc<Scratch>),
}

/// What products with quantised weights work in, the same for all of a GPU, so that nothing is allocated while they run. The
/// lock is never waited for, since one thread asks for all work.
#[derive(Debug)]
pub(crate) struct Scratch(Mutex<Memory>);

#[derive(Debug)]
struct Memory {
    rounded: RoundedRows,
    /// Inputs that there is room for.
    input: usize,
    expanded: Rows,
}

impl Scratch {
    /// That of a GPU, with room for products of `input` inputs.
    fn of(gpu: &Arc<Gpu>, input: usize) -> Result<Arc<Self>> {
        let mut known = gpu.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scratch) = known.upgrade() {
            let mut memory = scratch.memory();
            if memory.input < input {
                memory.rounded = RoundedRows::reserved(gpu, input)?;
                memory.input = input;
            }
            drop(memory);
            return Ok(scratch);
        }
        let rounded = RoundedRows::reserved(gpu, input)?;
        let scratch = Arc::new(Self(Mutex::new(Memory { rounded, input, expanded: Rows::empty(gpu)? })));
        *known = Arc::downgrade(&scratch);
        Ok(scratch)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Linear {
    /// With a copy of the weights on the GPU.
    ///
    /// # Errors
    /// When the GPU has no room.
    ///
    /// # Panics
    /// When there are more or fewer weights.
    pub fn new(
        gpu: &Arc<Gpu>,
        weight: Weight<'_>,
        (output, input): (usize, usize),
        bias: Option<&[f32]>,
    ) -> Result<Self> {
        match weight {
            Weight::Bf16(numbers) => {
                assert_eq!(numbers.len(), output * input, "weights of a product");
                Self::of_rows(gpu, Rows::upload(gpu, numbers, input)?, bias)
            }
            Weight::Blocks(blocks) => {
                Self::of_blocks(gpu, QuantisedWeights::upload(gpu, blocks, (output, input))?, bias)
            }
        }
    }

    /// With weights `[output, input]` that are on the GPU.
    ///
    /// # Errors
    /// When the GPU has no room for the bias.
    pub fn of_rows(gpu: &Arc<Gpu>, rows: Rows, bias: Option<&[f32]>) -> Result<Self> {
        let (output, input) = rows.shape();
        let weights = Weights::Bf16(Bf16Weights::new(rows));
        Ok(Self { weights, bias: upload_bias(gpu, bias, output)?, output, input, floats: Mutex::default() })
    }

    /// The same with quantised ones.
    ///
    /// # Errors
    /// When the GPU has no room for the bias, or for what products need.
    pub fn of_blocks(gpu: &Arc<Gpu>, weights: QuantisedWeights, bias: Option<&[f32]>) -> Result<Self> {
        let (output, input) = weights.shape();
        let weights = Weights::Quantised(weights, Scratch::of(gpu, input)?);
        Ok(Self { weights, bias: upload_bias(gpu, bias, output)?, output, input, floats: Mutex::default() })
    }

    /// Outputs and inputs.
    pub fn shape(&self) -> (usize, usize) {
        (self.output, self.input)
    }

    /// `x` `[rows, input]` to `y` `[rows, output]`.
    ///
    /// # Errors
    /// What the driver or the library says.
    ///
    /// # Panics
    /// When rows have another length.
    pub fn forward(&self, x: &Rows, y: &mut Rows, output: Output) -> Result<()> {
        assert_eq!(x.shape().1, self.input, "inputs of a product");
        if x.shape().0 > FEW_ROWS {
            return self.multiply_many(x, y, output);
        }
        match output {
            Output::Replace => self.multiply_few(x, Destination::Replace(y)),
            Output::Add => self.multiply_few(x, Destination::Add(y)),
            Output::GeluTanh => {
                self.multiply_few(x, Destination::Replace(y))?;
                Activation::GeluTanh.run(y)
            }
        }
    }

    /// For every row of `x` its numbers, which are not rounded to bf16.
    ///
    /// # Errors
    /// What went wrong on the GPU.
    pub fn floats(&self, x: &Rows) -> Result<Vec<Vec<f32>>> {
        let (rows, input) = x.shape();
        let mut kept = self.floats.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut part, mut floats) = match kept.take() {
            Some(kept) => kept,
            None => (Rows::empty(&x.gpu)?, Floats::empty(&x.gpu)?),
        };
        let mut all = Vec::with_capacity(rows);
        for first in (0..rows).step_by(FEW_ROWS) {
            let range = first..rows.min(first + FEW_ROWS);
            part.room((range.len(), input))?.copy(0, x, range)?;
            self.multiply_few(&part, Destination::Floats(&mut floats))?;
            // By several threads: 64 rows of a large vocabulary are 39 MB, which take one of them as long as half a step.
            let rows = floats.download()?.par_chunks(self.output);
            all.par_extend(rows.map(<[f32]>::to_vec));
        }
        *kept = Some((part, floats));
        Ok(all)
    }

    fn multiply_few(&self, x: &Rows, destination: Destination<'_>) -> Result<()> {
        let bias = self.bias.as_ref().map(|(bias, _)| bias);
        match &self.weights {
            Weights::Bf16(weights) => weights.multiply(x, bias, destination),
            Weights::Quantised(weights, scratch) => {
                let rounded = &mut scratch.memory().rounded;
                rounded.round(x)?;
                weights.multiply(&x.gpu, rounded, bias, destination)
            }
        }
    }

    fn multiply_many(&self, x: &Rows, y: &mut Rows, output: Output) -> Result<()> {
        let rows = x.shape().0;
        match output {
            Output::Replace | Output::GeluTanh => {
                y.room((rows, self.output))?;
            }
            Output::Add => assert_eq!(y.shape(), (rows, self.output), "rows that products are added to"),
        }
        let (after, then) = match (output, &self.bias) {
            (Output::Replace, None) => (After::Replace, None),
            (Output::Replace, Some(_)) => (After::Bias, None),
            (Output::Add, None) => (After::Add, None),
            (Output::Add, Some(_)) => (After::AddBias, None),
            (Output::GeluTanh, None) => (After::Replace, Some(Activation::GeluTanh)),
            (Output::GeluTanh, Some(_)) => (After::BiasGelu, None),
        };
        let shape = Shape { rows, output: self.output, input: self.input, stride: self.output, after };
        let bias = self.bias.as_ref().map(|(_, bias)| bias);
        match &self.weights {
            Weights::Bf16(weights) => {
                let bias = bias.map(CudaSlice::as_view);
                let operands = (&x.numbers.as_view(), &weights.numbers.as_view(), bias.as_ref());
                x.gpu.products.run(shape, operands, &mut y.numbers.as_view_mut())?;
            }
            Weights::Quantised(weights, scratch) => {
                let expanded = &mut scratch.memory().expanded;
                for range in pieces((self.output, self.input)) {
                    let first = range.start;
                    weights.expand(range.clone(), expanded)?;
                    let bias = bias.map(|bias| bias.slice(range.clone()));
                    let operands = (&x.numbers.as_view(), &expanded.numbers.as_view(), bias.as_ref());
                    let shape = Shape { output: range.len(), ..shape };
                    x.gpu.products.run(shape, operands, &mut y.numbers.slice_mut(first..))?;
                }
            }
        }
        then.map_or(Ok(()), |activation| activation.run(y))
    }
}

/// Which outputs are made at a time of weights that have to be expanded: parts that are about as large.
fn pieces((output, input): (usize, usize)) -> impl Iterator<Item = Range<usize>> {
    let most = (EXPANDED / input / ALIGNED_OUTPUTS).max(1) * ALIGNED_OUTPUTS;
    let step = output.div_ceil(output.div_ceil(most).max(1)).next_multiple_of(ALIGNED_OUTPUTS);
    (0..output).step_by(step.max(1)).map(move |first| first..output.min(first + step))
}

fn upload_bias(
    gpu: &Arc<Gpu>,
    bias: Option<&[f32]>,
    output: usize,
) -> Result<Option<(Bias, CudaSlice<bf16>)>> {
    let Some(bias) = bias else { return Ok(None) };
    assert_eq!(bias.len(), output, "a bias for each output");
    let narrow: Vec<bf16> = bias.iter().copied().map(bf16::from_f32).collect();
    Ok(Some((Bias::upload(gpu, bias)?, gpu.upload(&narrow)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_alike_and_begin_where_the_library_expects_them() {
        // Outputs and inputs of 7B and 72B, and of small layers; how many pieces they make.
        let shapes = [
            ((18944, 3584), 2),
            ((3584, 18944), 2),
            ((3584, 3584), 1),
            ((29568, 8192), 4),
            ((8192, 29568), 4),
            ((1, 896), 1),
            ((300, 1 << 20), 3),
        ];
        for ((output, input), count) in shapes {
            let pieces: Vec<Range<usize>> = pieces((output, input)).collect();
            assert_eq!(pieces.len(), count, "{output} x {input}: {pieces:?}");
            assert!(pieces.iter().all(|piece| piece.start.is_multiple_of(ALIGNED_OUTPUTS)));
            assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!((pieces[0].start, pieces[count - 1].end), (0, output));
        }
        assert_eq!(pieces((0, 896)).count(), 0);
    }
}
