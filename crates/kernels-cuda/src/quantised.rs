//! Weights of eight or four bits, which share a scale in blocks of 32 inputs, and rows that are rounded for products
//! with them.

use std::{ops::Range, sync::Arc, thread};

use cudarc::driver::{CudaSlice, PushKernelArg};

use crate::{
    draw::Draw,
    error::Result,
    gpu::{Gpu, Grid},
    products::{Bias, Destination, FEW_ROWS, Names, Product, names},
    rows::Rows,
};

/// Inputs that share a scale, and blocks in a stretch, as in `cuda/quantised.cuh`: rows of weights are whole
/// stretches.
const BLOCK: usize = 32;
const BLOCKS_OF_STRETCH: usize = 4;

/// Lanes that share a block.
const LANES: usize = 4;

/// Bytes of a block in a GGUF file: a scale, and codes of eight or four bits.
const Q8_0_BYTES: usize = 34;
const Q4_BYTES: usize = 18;

/// Threads of a CUDA block for rounding and for expanding.
const ROUND_THREADS: u32 = 256;
const EXPAND_THREADS: u32 = 128;

/// The integers that the four-bit codes of GGUF's IQ4_NL stand for.
const UNEVEN_LEVELS: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The integers that the four-bit codes of GGUF's Q4_0 stand for.
const EVEN_LEVELS: [i8; 16] = [-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7];

/// Weights as in a GGUF file, output by output: blocks of 32 inputs, each a scale as a little-endian f16 and its
/// codes.
#[derive(Debug, Clone, Copy)]
pub enum Blocks<'a> {
    /// 32 signed eight-bit integers.
    Q8_0(&'a [u8]),
    /// 16 bytes whose lower four bits are inputs 0 to 15 and whose upper four bits are inputs 16 to 31. A code stands
    /// for its number less 8.
    Q4_0(&'a [u8]),
    /// Codes as in Q4_0, each of which stands for one of 16 uneven levels.
    Iq4Nl(&'a [u8]),
}

/// W `[output, input]`, in the order in which kernels read it.
#[derive(Debug)]
pub struct QuantisedWeights {
    codes: CudaSlice<u8>,
    scales: CudaSlice<u16>, // bits of f16
    levels: Option<Levels>, // for codes of four bits
    output: usize,
    input: usize,
}

/// Some or all rows of x, rounded to eight bits.
#[derive(Debug)]
pub struct RoundedRows {
    pub(crate) codes: CudaSlice<u8>,
    pub(crate) scales: CudaSlice<f32>,
    /// Which rows of x these are.
    rows: Range<usize>,
    /// The number of rows of x.
    x_rows: usize,
    input: usize,
}

/// Levels 0 to 7, and levels 8 to 15 plus 1, the first in the lowest byte: the two tables in which kernels look codes
/// up.
#[derive(Debug, Clone, Copy)]
struct Levels {
    low: u64,
    high: u64,
}

impl Levels {
    fn new(levels: [i8; 16]) -> Self {
        let byte = |index: usize| levels[index].wrapping_add(i8::from(index >= 8)) as u8;
        Self {
            low: u64::from_le_bytes(std::array::from_fn(byte)),
            high: u64::from_le_bytes(std::array::from_fn(|index| byte(8 + index))),
        }
    }
}

impl Blocks<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Q8_0(bytes) | Self::Q4_0(bytes) | Self::Iq4Nl(bytes) => bytes,
        }
    }

    fn bits(&self) -> CodeBits {
        match self {
            Self::Q8_0(_) => CodeBits::Eight,
            Self::Q4_0(_) | Self::Iq4Nl(_) => CodeBits::Four,
        }
    }

    fn levels(&self) -> Option<Levels> {
        match self {
            Self::Q8_0(_) => None,
            Self::Q4_0(_) => Some(Levels::new(EVEN_LEVELS)),
            Self::Iq4Nl(_) => Some(Levels::new(UNEVEN_LEVELS)),
        }
    }
}

/// The number of bits of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeBits {
    /// Eight bits.
    Eight,
    /// Four bits, the index of one of 16 levels: GGUF's uneven ones where weights are drawn.
    Four,
}

impl CodeBits {
    /// Returns the bytes of a block in a file.
    fn block_bytes(self) -> usize {
        match self {
            Self::Eight => Q8_0_BYTES,
            Self::Four => Q4_BYTES,
        }
    }

    /// Returns the bytes of a stretch of codes on the GPU.
    fn stretch_bytes(self) -> usize {
        match self {
            Self::Eight => BLOCKS_OF_STRETCH * BLOCK,
            Self::Four => BLOCKS_OF_STRETCH * BLOCK / 2,
        }
    }

    /// Writes the codes of block `block` of a stretch where kernels read them: those of one lane for several blocks
    /// are adjacent.
    fn place(self, codes: &[u8], block: usize, stretch: &mut [u8]) {
        match self {
            Self::Eight => {
                for (lane, codes) in codes.chunks_exact(BLOCK / LANES).enumerate() {
                    stretch[block / 2 * 64 + lane * 16 + block % 2 * 8..][..8].copy_from_slice(codes);
                }
            }
            Self::Four => {
                // The first half of the inputs is in the lower bits of the bytes, the second half in the upper ones.
                for lane in 0..LANES {
                    let (half, shift) = (&codes[lane % 2 * 8..][..8], lane / 2 * 4);
                    let place = &mut stretch[lane * 16 + block * 4..][..4];
                    for (byte, pair) in place.iter_mut().zip(half.as_chunks::<2>().0) {
                        *byte = (pair[0] >> shift & 15) | (pair[1] >> shift & 15) << 4;
                    }
                }
            }
        }
    }
}

/// Rearranges the blocks of some outputs into codes and scales `[outputs][stretches]`. What pads each row is not
/// written and must be 0 already.
fn rearrange(blocks: &[u8], bits: CodeBits, input: usize, (codes, scales): (&mut [u8], &mut [u16])) {
    let stretches = input.div_ceil(BLOCK * BLOCKS_OF_STRETCH);
    let rows = blocks.chunks_exact(input / BLOCK * bits.block_bytes());
    let places = codes
        .chunks_exact_mut(stretches * bits.stretch_bytes())
        .zip(scales.chunks_exact_mut(stretches * BLOCKS_OF_STRETCH));
    for (row, (codes, scales)) in rows.zip(places) {
        for (index, (block, scale)) in row.chunks_exact(bits.block_bytes()).zip(scales).enumerate() {
            *scale = u16::from_le_bytes([block[0], block[1]]);
            let stretch =
                &mut codes[index / BLOCKS_OF_STRETCH * bits.stretch_bytes()..][..bits.stretch_bytes()];
            bits.place(&block[2..], index % BLOCKS_OF_STRETCH, stretch);
        }
    }
}

impl QuantisedWeights {
    /// Copies `blocks` to the GPU.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if they cannot be stored on the GPU.
    ///
    /// # Panics
    /// If `input` is 0 or not a multiple of 32, or the number of blocks does not match the shape.
    pub fn upload(gpu: &Gpu, blocks: Blocks<'_>, (output, input): (usize, usize)) -> Result<Self> {
        assert!(input.is_multiple_of(BLOCK) && input > 0, "{input} inputs are no whole blocks");
        let bits = blocks.bits();
        assert_eq!(blocks.bytes().len(), output * input / BLOCK * bits.block_bytes(), "bytes of a weight");
        let stretches = input.div_ceil(BLOCK * BLOCKS_OF_STRETCH);
        let (row_codes, row_scales) = (stretches * bits.stretch_bytes(), stretches * BLOCKS_OF_STRETCH);
        let (mut codes, mut scales) = (vec![0; output * row_codes], vec![0; output * row_scales]);
        // Rows for each thread.
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let rows = output.div_ceil(threads).max(1);
        thread::scope(|scope| {
            let parts = blocks.bytes().chunks(rows * input / BLOCK * bits.block_bytes());
            let places = codes.chunks_mut(rows * row_codes).zip(scales.chunks_mut(rows * row_scales));
            for (part, places) in parts.zip(places) {
                scope.spawn(move || rearrange(part, bits, input, places));
            }
        });
        let (codes, scales) = (gpu.upload(&codes)?, gpu.upload(&scales)?);
        Ok(Self { codes, scales, levels: blocks.levels(), output, input })
    }

    /// Creates weights with random codes and one scale for all, with which they spread about as far as `draw`
    /// specifies: for measurements, where only their number matters.
    ///
    /// # Errors
    /// `Error::OutOfMemory` if the GPU has no memory for them; `Error::NoKernels` or `Error::Driver` if the kernel
    /// cannot be loaded or run.
    ///
    /// # Panics
    /// If `input` is 0 or not a multiple of 32.
    pub fn drawn(
        gpu: &Arc<Gpu>,
        draw: Draw,
        bits: CodeBits,
        (output, input): (usize, usize),
    ) -> Result<Self> {
        assert!(input.is_multiple_of(BLOCK) && input > 0, "{input} inputs are no whole blocks");
        let stretches = input.div_ceil(BLOCK * BLOCKS_OF_STRETCH);
        let code_bytes = output * stretches * bits.stretch_bytes();
        let mut codes = gpu.memory_for::<u8>(code_bytes)?;
        draw.fill_bits(gpu, &mut codes)?;
        // Codes reach 127 in either direction, and their standard deviation is about half of that.
        let scale = half::f16::from_f32(draw.spread / 64.0).to_bits();
        let scales = gpu.upload(&vec![scale; output * stretches * BLOCKS_OF_STRETCH])?;
        let levels = match bits {
            CodeBits::Eight => None,
            CodeBits::Four => Some(Levels::new(UNEVEN_LEVELS)),
        };
        Ok(Self { codes, scales, levels, output, input })
    }

    /// Returns the numbers of outputs and inputs.
    pub fn shape(&self) -> (usize, usize) {
        (self.output, self.input)
    }

    fn bits(&self) -> CodeBits {
        if self.levels.is_some() { CodeBits::Four } else { CodeBits::Eight }
    }

    fn stretches(&self) -> usize {
        self.input.div_ceil(BLOCK * BLOCKS_OF_STRETCH)
    }

    /// Writes the products of rounded rows `[rows, input]` to `destination`: where they are some rows of x, to the
    /// same rows of a destination that has room for the products of all.
    ///
    /// # Errors
    /// `Error::OutOfMemory` if the GPU has no memory for them; `Error::NoKernels` or `Error::Driver` if the kernel
    /// cannot be loaded or run.
    ///
    /// # Panics
    /// If `x` has rows of another length, an odd number of outputs is to be gated, products are added to rows of
    /// another shape, or the bias is too short.
    pub fn multiply(
        &self,
        gpu: &Gpu,
        x: &RoundedRows,
        bias: Option<&Bias>,
        destination: Destination<'_>,
    ) -> Result<()> {
        const Q8_NAMES: Names = names!("q8");
        const Q4_NAMES: Names = names!("q4");
        assert_eq!(x.input, self.input, "inputs of a product");
        let product = Product::new(x.rows.len(), self.output, &destination).at(x.rows.start, x.x_rows);
        if product.is_nothing() {
            return product.prepare(destination).map(|_| ());
        }
        // More than 32 rows are shared by two CUDA blocks.
        let grid = product.grid(gpu, if product.is_of_most_rows() { 2 } else { 1 })?;
        let name = match self.bits() {
            CodeBits::Eight => product.name(&Q8_NAMES),
            CodeBits::Four => product.name(&Q4_NAMES),
        };
        let kernel = gpu.kernel(("products_quantised", name), grid)?;
        let mut prepared = product.prepare(destination)?;
        let ((rows, output), stretches) = (product.shape(), self.stretches() as u32);
        let (mut arguments, how) = prepared.begin(gpu, &kernel);
        arguments.arg(&x.codes).arg(&x.scales).arg(&self.codes).arg(&self.scales);
        product.push_bias(&mut arguments, bias);
        arguments.arg(&rows).arg(&output).arg(&stretches).arg(&how);
        if let Some(levels) = &self.levels {
            arguments.arg(&levels.low).arg(&levels.high);
        }
        gpu.run(arguments, grid)
    }

    /// Writes rows `range` of W to `y` in bf16.
    ///
    /// # Errors
    /// `Error::OutOfMemory` if the GPU has no memory for them; `Error::NoKernels` or `Error::Driver` if the kernel
    /// cannot be loaded or run.
    ///
    /// # Panics
    /// If `range` is out of bounds.
    pub fn expand(&self, range: Range<usize>, y: &mut Rows) -> Result<()> {
        assert!(range.start <= range.end && range.end <= self.output, "rows {range:?} of {}", self.output);
        y.room((range.len(), self.input))?;
        if range.is_empty() {
            return Ok(());
        }
        let gpu = Arc::clone(&y.gpu);
        let grid = Grid::new((range.len() as u32, 1, 1), EXPAND_THREADS);
        let name = match self.bits() {
            CodeBits::Eight => "expand_q8",
            CodeBits::Four => "expand_q4",
        };
        let kernel = gpu.kernel(("products_expand", name), grid)?;
        let (codes, scales) =
            (self.stretches() * self.bits().stretch_bytes(), self.stretches() * BLOCKS_OF_STRETCH);
        let codes = self.codes.slice(range.start * codes..range.end * codes);
        let scales = self.scales.slice(range.start * scales..range.end * scales);
        let input = self.input as u32;
        let mut arguments = gpu.arguments(&kernel);
        arguments.arg(&mut y.numbers).arg(&codes).arg(&scales).arg(&input);
        if let Some(levels) = &self.levels {
            arguments.arg(&levels.low).arg(&levels.high);
        }
        gpu.run(arguments, grid)
    }
}

impl RoundedRows {
    /// Creates empty rows with room for any rows of up to `input` numbers, for which nothing need be allocated later.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if it cannot be allocated on the GPU.
    pub fn reserved(gpu: &Gpu, input: usize) -> Result<Self> {
        let (codes, scales) =
            (gpu.memory_for(Self::codes_of(input))?, gpu.memory_for(Self::scales_of(input))?);
        Ok(Self { codes, scales, rows: 0..0, x_rows: 0, input: 0 })
    }

    /// Returns the number of codes: kernels expect the layout of [`FEW_ROWS`] rows, whatever their number.
    fn codes_of(input: usize) -> usize {
        input.next_multiple_of(BLOCK * BLOCKS_OF_STRETCH) * FEW_ROWS
    }

    fn scales_of(input: usize) -> usize {
        Self::codes_of(input) / BLOCK
    }

    /// Replaces the contents by the rows of `x` `[rows, input]`, rounded.
    ///
    /// # Errors
    /// `Error::OutOfMemory` if the GPU has no memory for them; `Error::NoKernels` or `Error::Driver` if the kernel
    /// cannot be loaded or run.
    ///
    /// # Panics
    /// If there are more than [`FEW_ROWS`] rows, or their length is not a multiple of 32.
    pub fn round(&mut self, x: &Rows) -> Result<()> {
        self.round_part(x, 0..x.shape().0)
    }

    /// Replaces the contents by the rows `range` of `x`, as [`round`](Self::round) does.
    pub(crate) fn round_part(&mut self, x: &Rows, range: Range<usize>) -> Result<()> {
        self.room(x, range.clone())?;
        let (gpu, input) = (&x.gpu, self.input);
        // Each thread rounds eight numbers.
        let threads = input.next_multiple_of(BLOCK * BLOCKS_OF_STRETCH) / 8;
        let blocks = (threads.div_ceil(ROUND_THREADS as usize) as u32, range.len() as u32, 1);
        let grid = Grid::new(blocks, ROUND_THREADS);
        let kernel = gpu.kernel(("products_quantised", "round_rows"), grid)?;
        let part = x.numbers.slice(range.start * input..);
        let (rows, input) = (range.len() as u32, input as u32);
        let mut arguments = gpu.arguments(&kernel);
        arguments.arg(&mut self.codes).arg(&mut self.scales).arg(&part).arg(&rows).arg(&input);
        gpu.run(arguments, grid)
    }

    /// Makes room for the rows `range` of `x`, all of which must then be written.
    ///
    /// # Panics
    /// As [`round`](Self::round).
    pub(crate) fn room(&mut self, x: &Rows, range: Range<usize>) -> Result<()> {
        let (x_rows, input) = x.shape();
        assert!(range.len() <= FEW_ROWS, "{} rows are not few", range.len());
        assert!(range.end <= x_rows && x.numbers.len() >= x_rows * input, "numbers of rows");
        assert!(input.is_multiple_of(BLOCK), "{input} inputs are no whole blocks");
        if self.codes.len() < Self::codes_of(input) {
            *self = Self::reserved(&x.gpu, input)?;
        }
        (self.rows, self.x_rows, self.input) = (range, x_rows, input);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kernels` has these numbers too, since neither crate depends on the other outside tests.
    #[test]
    fn blocks_are_those_of_the_processor() {
        assert_eq!(UNEVEN_LEVELS, kernels::IQ4_NL_LEVELS);
        assert_eq!(
            [BLOCK, Q8_0_BYTES, Q4_BYTES],
            [kernels::QUANTISED_BLOCK, kernels::Q8_0_BYTES, kernels::Q4_BYTES]
        );
    }
}
