//! A matrix product with an optional bias, for any number of rows: few rows by our own kernels, which read weights
//! once, more by cuBLASLt.

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
    matrix_product::{Epilogue, Operands, Shape},
    norm::Norm,
    products::{Bf16Weights, Bias, Destination, FEW_ROWS, Floats},
    quantised::{Blocks, QuantisedWeights, RoundedRows},
    rows::Rows,
};

/// The largest number of rows for which quantised weights are not expanded. Our own kernels read them twice for so many
/// rows, in four bits 9 bits for each weight. To expand them reads them once, and writes and reads them in bf16: 37
/// bits. By calculation; where the two are equal was not measured.
pub const FEW_QUANTISED_ROWS: usize = 2 * FEW_ROWS;

/// The largest number of quantised weights that are expanded at a time: 128 MiB in bf16. Fewer would stay in an L2
/// cache (50 MiB on H100), but a product of few outputs has too few tiles for all multiprocessors: with the 29,568
/// inputs of a 72B critic, 16 Mi weights are 567 outputs, which with 512 rows are some ten tiles of 128 x 256 for 132
/// multiprocessors.
const EXPANDED: usize = 64 << 20;

/// The first output of a piece is a multiple of this, so that its bf16 numbers are aligned to 256 bytes like
/// allocated memory: the library chooses its kernels for that alignment.
const ALIGNED_OUTPUTS: usize = 128;

/// The weights of a product `[output, input]` as they are given.
#[derive(Debug, Clone, Copy)]
pub enum Weight<'a> {
    /// bf16 numbers.
    Bf16(&'a [bf16]),
    /// Blocks of quantised weights as in GGUF files.
    Blocks(Blocks<'a>),
}

/// What happens to a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// It replaces the previous contents.
    Replace,
    /// It is added to the previous contents.
    Add,
    /// Its GELU, by the tanh approximation, replaces the previous contents.
    GeluTanh,
}

/// Rows that are normalised before they are multiplied.
#[derive(Debug)]
pub struct Normed<'a> {
    /// The norm, which has no bias.
    pub norm: &'a Norm,
    /// The rows `[rows, input]` before they are normalised.
    pub x: &'a Rows,
    /// Working memory for the normalised rows. What it holds afterwards is not specified.
    pub normed: &'a mut Rows,
}

/// x W^T + b.
#[derive(Debug)]
pub struct Linear {
    weights: Weights,
    /// The bias for our own kernels, and the same in bf16 for the library's.
    bias: Option<(Bias, CudaSlice<bf16>)>,
    output: usize,
    input: usize,
    /// Memory for [`floats`](Self::floats), allocated on first use. Used by one thread, see `Gpu`.
    floats: Mutex<Option<(Rows, Floats)>>,
}

#[derive(Debug)]
enum Weights {
    Bf16(Bf16Weights),
    Quantised(QuantisedWeights, Arc<Scratch>),
}

/// Working memory of products with quantised weights, shared by all products of a GPU and reused, so that it is not
/// allocated for each. The lock is never contended, since one thread submits all work.
#[derive(Debug)]
pub(crate) struct Scratch(Mutex<Memory>);

#[derive(Debug)]
struct Memory {
    rounded: RoundedRows,
    /// The number of inputs that `rounded` has room for.
    input: usize,
    expanded: Rows,
}

impl Scratch {
    /// Returns the GPU's working memory, with room for products of `input` inputs.
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
    /// Creates a product with a copy of the weights on the GPU.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if they cannot be stored on the GPU.
    ///
    /// # Panics
    /// If the length of the weights or the bias does not match the shape.
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

    /// Creates a product with weights `[output, input]` that are on the GPU.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if the bias cannot be stored on the GPU.
    pub fn of_rows(gpu: &Arc<Gpu>, rows: Rows, bias: Option<&[f32]>) -> Result<Self> {
        let (output, input) = rows.shape();
        let weights = Weights::Bf16(Bf16Weights::new(rows));
        Ok(Self { weights, bias: upload_bias(gpu, bias, output)?, output, input, floats: Mutex::default() })
    }

    /// Creates a product with quantised weights that are on the GPU.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if the bias cannot be stored, or working memory not be allocated, on
    /// the GPU.
    pub fn of_blocks(gpu: &Arc<Gpu>, weights: QuantisedWeights, bias: Option<&[f32]>) -> Result<Self> {
        let (output, input) = weights.shape();
        let weights = Weights::Quantised(weights, Scratch::of(gpu, input)?);
        Ok(Self { weights, bias: upload_bias(gpu, bias, output)?, output, input, floats: Mutex::default() })
    }

    /// Returns the numbers of outputs and inputs.
    pub fn shape(&self) -> (usize, usize) {
        (self.output, self.input)
    }

    /// Computes `y` `[rows, output]` from `x` `[rows, input]`.
    ///
    /// # Errors
    /// `Error::OutOfMemory` if the GPU has no memory for `y`; `Error::NoKernels`, `Error::Driver` or `Error::Product`
    /// if a kernel or the library fails.
    ///
    /// # Panics
    /// If rows of `x` have another length, or products are added to a `y` of another shape.
    pub fn forward(&self, x: &Rows, y: &mut Rows, output: Output) -> Result<()> {
        assert_eq!(x.shape().1, self.input, "inputs of a product");
        if x.shape().0 > self.few_rows() {
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

    /// Writes to `y` `[rows, output / 2]` the activation of the first half of the outputs of `x` `[rows, input]`,
    /// times the second half. Few rows are gated in the kernel of the product; for more, all outputs are first
    /// written to `products`.
    ///
    /// # Errors
    /// `Error::OutOfMemory` if the GPU has no memory for `y` or `products`; `Error::NoKernels`, `Error::Driver` or
    /// `Error::Product` if a kernel or the library fails.
    ///
    /// # Panics
    /// If rows of `x` have another length, or half of the outputs is not a multiple of eight.
    pub fn gated(
        &self,
        x: &Rows,
        activation: Activation,
        (products, y): (&mut Rows, &mut Rows),
    ) -> Result<()> {
        assert_eq!(x.shape().1, self.input, "inputs of a product");
        assert!(self.output.is_multiple_of(16), "both halves of {} outputs", self.output);
        if x.shape().0 <= self.few_rows() {
            return self.multiply_few(x, Destination::Gated(y, activation));
        }
        self.multiply_many(x, products, Output::Replace)?;
        activation.gate(products, y)
    }

    /// Computes `y` `[rows, output]` from rows that are normalised first, with the bits that
    /// [`forward`](Self::forward) computes from the result of the norm. For few rows and quantised weights, one kernel
    /// normalises and rounds them.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and `Error::OutOfMemory` if the GPU has no memory for the normalised rows.
    ///
    /// # Panics
    /// If the rows have another length, or the norm has a bias.
    pub fn forward_normed(&self, rows: Normed<'_>, y: &mut Rows) -> Result<()> {
        if let Some(rounding) = self.rounding(rows.x) {
            return self.multiply_normed(rounding, &rows, Destination::Replace(y));
        }
        let Normed { norm, x, normed } = rows;
        norm.run(x, normed)?;
        self.forward(normed, y, Output::Replace)
    }

    /// Writes gated products to `y` as [`gated`](Self::gated) does, of rows that are normalised first as in
    /// [`forward_normed`](Self::forward_normed).
    ///
    /// # Errors
    /// As [`gated`](Self::gated), and `Error::OutOfMemory` if the GPU has no memory for the normalised rows.
    ///
    /// # Panics
    /// If the rows have another length, the norm has a bias, or half of the outputs is not a multiple of eight.
    pub fn gated_normed(
        &self,
        rows: Normed<'_>,
        activation: Activation,
        (products, y): (&mut Rows, &mut Rows),
    ) -> Result<()> {
        if let Some(rounding) = self.rounding(rows.x) {
            assert!(self.output.is_multiple_of(16), "both halves of {} outputs", self.output);
            return self.multiply_normed(rounding, &rows, Destination::Gated(y, activation));
        }
        let Normed { norm, x, normed } = rows;
        norm.run(x, normed)?;
        self.gated(normed, activation, (products, y))
    }

    /// Returns the products of every row of `x` in f32, not rounded to bf16.
    ///
    /// # Errors
    /// `Error::OutOfMemory`, `Error::NoKernels` or `Error::Driver` if this or earlier work on the GPU failed.
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
            let count = range.len();
            part.room((count, input))?.copy(0, x, range)?;
            self.multiply_few(&part, Destination::Floats(&mut floats))?;
            let numbers = floats.download()?;
            if count == 1 {
                // Waking another thread takes about as long as copying one row.
                all.push(numbers.to_vec());
            } else {
                // Copied by several threads: 64 rows of a large vocabulary are 39 MB, which take one thread as long as
                // half a step.
                all.par_extend(numbers.par_chunks(self.output).map(<[f32]>::to_vec));
            }
        }
        *kept = Some((part, floats));
        Ok(all)
    }

    /// Returns the largest number of rows that our own kernels multiply.
    fn few_rows(&self) -> usize {
        match &self.weights {
            Weights::Bf16(_) => FEW_ROWS,
            Weights::Quantised(..) => FEW_QUANTISED_ROWS,
        }
    }

    /// Returns quantised weights and their working memory, if all rows of `x` can be rounded at once for them.
    fn rounding(&self, x: &Rows) -> Option<(&QuantisedWeights, &Scratch)> {
        match &self.weights {
            Weights::Quantised(weights, scratch) if x.shape().0 <= FEW_ROWS => {
                Some((weights, scratch.as_ref()))
            }
            Weights::Quantised(..) | Weights::Bf16(_) => None,
        }
    }

    fn multiply_normed(
        &self,
        (weights, scratch): (&QuantisedWeights, &Scratch),
        rows: &Normed<'_>,
        destination: Destination<'_>,
    ) -> Result<()> {
        let rounded = &mut scratch.memory().rounded;
        rows.norm.run_rounded(rows.x, rounded)?;
        let bias = self.bias.as_ref().map(|(bias, _)| bias);
        weights.multiply(&rows.x.gpu, rounded, bias, destination)
    }

    fn multiply_few(&self, x: &Rows, mut destination: Destination<'_>) -> Result<()> {
        let bias = self.bias.as_ref().map(|(bias, _)| bias);
        match &self.weights {
            Weights::Bf16(weights) => weights.multiply(x, bias, destination),
            Weights::Quantised(weights, scratch) => {
                let rows = x.shape().0;
                let rounded = &mut scratch.memory().rounded;
                // Once for no rows, too, which makes the destination empty.
                for first in (0..rows.max(1)).step_by(FEW_ROWS) {
                    rounded.round_part(x, first..rows.min(first + FEW_ROWS))?;
                    weights.multiply(&x.gpu, rounded, bias, destination.reborrow())?;
                }
                Ok(())
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
        let (epilogue, then) = self.epilogue(&x.gpu, rows, output)?;
        let shape = self.shape_of(rows, self.output, epilogue);
        let bias = self.bias.as_ref().map(|(_, bias)| bias);
        match &self.weights {
            Weights::Bf16(weights) => {
                let operands = Operands {
                    x: x.numbers.as_view(),
                    weight: weights.numbers.as_view(),
                    bias: bias.map(CudaSlice::as_view),
                };
                x.gpu.products.run(shape, &operands, &mut y.numbers.as_view_mut())?;
            }
            Weights::Quantised(weights, scratch) => {
                let expanded = &mut scratch.memory().expanded;
                for range in pieces((self.output, self.input)) {
                    let first = range.start;
                    weights.expand(range.clone(), expanded)?;
                    let operands = Operands {
                        x: x.numbers.as_view(),
                        weight: expanded.numbers.as_view(),
                        bias: bias.map(|bias| bias.slice(range.clone())),
                    };
                    let shape = Shape { output: range.len(), ..shape };
                    x.gpu.products.run(shape, &operands, &mut y.numbers.slice_mut(first..))?;
                }
            }
        }
        then.map_or(Ok(()), |activation| activation.run(y))
    }

    /// Returns what the library does with the product of `rows` rows, and what follows it: GELU where there is no
    /// bias, and where the library cannot apply it together with one.
    fn epilogue(&self, gpu: &Gpu, rows: usize, output: Output) -> Result<(Epilogue, Option<Activation>)> {
        Ok(match (output, &self.bias) {
            (Output::Replace, None) => (Epilogue::Replace, None),
            (Output::Replace, Some(_)) => (Epilogue::Bias, None),
            (Output::Add, None) => (Epilogue::Add, None),
            (Output::Add, Some(_)) => (Epilogue::AddBias, None),
            (Output::GeluTanh, None) => (Epilogue::Replace, Some(Activation::GeluTanh)),
            (Output::GeluTanh, Some(_)) if self.has_gelu(gpu, rows)? => (Epilogue::BiasGelu, None),
            (Output::GeluTanh, Some(_)) => (Epilogue::Bias, Some(Activation::GeluTanh)),
        })
    }

    /// Returns whether the library can add the bias and apply GELU to every product into which that of `rows` rows is
    /// divided.
    fn has_gelu(&self, gpu: &Gpu, rows: usize) -> Result<bool> {
        let supports = |outputs| gpu.products.supports(self.shape_of(rows, outputs, Epilogue::BiasGelu));
        match &self.weights {
            Weights::Bf16(_) => supports(self.output),
            Weights::Quantised(..) => {
                for range in pieces((self.output, self.input)) {
                    if !supports(range.len())? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    /// Returns the shape of a product with `outputs` of the outputs.
    fn shape_of(&self, rows: usize, outputs: usize, epilogue: Epilogue) -> Shape {
        Shape { rows, output: outputs, input: self.input, stride: self.output, epilogue }
    }
}

/// Returns the ranges of outputs that are computed at a time with weights that have to be expanded, about equally
/// large.
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
        // Outputs and inputs of 7B and 72B models and of small layers, and the number of pieces.
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
