//! Weights of eight or four bits, which share a scale in blocks of 32 inputs, and rows that are rounded for their products.

use std::{ops::Range, sync::Arc, thread};

use cudarc::driver::{CudaSlice, PushKernelArg};

use crate::{
    draw::Draw,
    error::Result,
    gpu::{Gpu, Grid},
    products::{Bias, Destination, FEW_ROWS, Product},
    rows::Rows,
};

/// Inputs that share a scale, and blocks of a stretch: rows of weights are whole stretches, as `cuda/quantised.cuh` has it.
const BLOCK: usize = 32;
const BLOCKS_OF_STRETCH: usize = 4;

/// Lanes that share a block.
const LANES: usize = 4;

/// Bytes of a block in a GGUF file: a scale, and codes of eight or four bits.
const Q8_0_BYTES: usize = 34;
const Q4_BYTES: usize = 18;

/// Threads of a block of threads: of rounding, and of expanding.
const ROUND_THREADS: u32 = 256;
const EXPAND_THREADS: u32 = 128;

/// What the four bits of GGUF's IQ4_NL stand for.
const UNEVEN_LEVELS: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// What the four bits of GGUF's Q4_0 stand for.
const EVEN_LEVELS: [i8; 16] = [-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7];

/// Weights as a GGUF file has them, output by output: blocks of 32 inputs, each a scale as a little-endian f16 and its codes.
#[derive(Debug, Clone, Copy)]
pub enum Blocks<'a> {
    /// 32 whole numbers of eight bits.
    Q8_0(&'a [u8]),
    /// 16 bytes: the lower four bits are of inputs 0 to 15, the upper ones of inputs 16 to 31. They stand for their number
    /// less 8.
    Q4_0(&'a [u8]),
    /// The same, and they stand for one of 16 uneven levels.
    Iq4Nl(&'a [u8]),
}

/// W `[output, input]`, in the order in which kernels read it.
#[derive(Debug)]
pub struct QuantisedWeights {
    codes: CudaSlice<u8>,
    scales: CudaSlice<u16>, // bits of f16
    levels: Option<Levels>, // where there are four bits
    output: usize,
    input: usize,
}

/// Rows of x in eight bits.
#[derive(Debug)]
pub struct RoundedRows {
    codes: CudaSlice<u8>,
    scales: CudaSlice<f32>,
    rows: usize,
    input: usize,
}

/// Levels 0 to 7, and 8 to 15 with 1 added, the first one in the lowest byte: the two tables in which kernels look codes up.
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

/// How many bits a code has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeBits {
    /// Eight.
    Eight,
    /// Four, which stand for GGUF's uneven levels.
    Four,
}

impl CodeBits {
    /// Bytes of a block in a file.
    fn block_bytes(self) -> usize {
        match self {
            Self::Eight => Q8_0_BYTES,
            Self::Four => Q4_BYTES,
        }
    }

    /// Bytes of a stretch of codes on the GPU.
    fn stretch_bytes(self) -> usize {
        match self {
            Self::Eight => BLOCKS_OF_STRETCH * BLOCK,
            Self::Four => BLOCKS_OF_STRETCH * BLOCK / 2,
        }
    }

    /// Puts the codes of block `block` of a stretch where a kernel looks for them: those of one lane for several blocks
    /// side by side.
    fn place(self, codes: &[u8], block: usize, stretch: &mut [u8]) {
        match self {
            Self::Eight => {
                for (lane, codes) in codes.chunks_exact(BLOCK / LANES).enumerate() {
                    stretch[block / 2 * 64 + lane * 16 + block % 2 * 8..][..8].copy_from_slice(codes);
                }
            }
            Self::Four => {
                // Half of the inputs are in the lower bits of all bytes, the other half in the upper ones.
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

/// Codes and scales `[outputs][stretches]` of the blocks of as many outputs. Each row is filled up with zeros.
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
    /// A copy of `blocks` on the GPU.
    ///
    /// # Errors
    /// When the GPU has no room for them.
    ///
    /// # Panics
    /// When `input` is no multiple of 32, or there are more or less blocks.
    pub fn upload(gpu: &Gpu, blocks: Blocks<'_>, (output, input): (usize, usize)) -> Result<Self> {
        assert!(input.is_multiple_of(BLOCK) && input > 0, "{input} inputs are no whole blocks");
        let bits = blocks.bits();
        assert_eq!(blocks.bytes().len(), output * input / BLOCK * bits.block_bytes(), "bytes of a weight");
        let stretches = input.div_ceil(BLOCK * BLOCKS_OF_STRETCH);
        let (row_codes, row_scales) = (stretches * bits.stretch_bytes(), stretches * BLOCKS_OF_STRETCH);
        let (mut codes, mut scales) = (vec![0; output * row_codes], vec![0; output * row_scales]);
        // Each thread has so many rows.
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

    /// Codes whose bits are those of random numbers, and one scale for all, with which the weights spread about as far as `draw`
    /// says: for measuring, where only their number matters.
    ///
    /// # Errors
    /// When the GPU has no room for them.
    ///
    /// # Panics
    /// When `input` is no multiple of 32.
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
        // Codes go up to 127 either way, and spread about half as far.
        let scale = half::f16::from_f32(draw.spread / 64.0).to_bits();
        let scales = gpu.upload(&vec![scale; output * stretches * BLOCKS_OF_STRETCH])?;
        let levels = match bits {
            CodeBits::Eight => None,
            CodeBits::Four => Some(Levels::new(UNEVEN_LEVELS)),
        };
        Ok(Self { codes, scales, levels, output, input })
    }

    /// How many outputs and inputs there are.
    pub fn shape(&self) -> (usize, usize) {
        (self.output, self.input)
    }

    fn bits(&self) -> CodeBits {
        if self.levels.is_some() { CodeBits::Four } else { CodeBits::Eight }
    }

    fn stretches(&self) -> usize {
        self.input.div_ceil(BLOCK * BLOCKS_OF_STRETCH)
    }

    /// The products of rounded rows `[rows, input]`.
    ///
    /// # Errors
    /// When the GPU has no room for them.
    ///
    /// # Panics
    /// When `x` is of other numbers.
    pub fn multiply(
        &self,
        gpu: &Gpu,
        x: &RoundedRows,
        bias: Option<&Bias>,
        destination: Destination<'_>,
    ) -> Result<()> {
        const Q8_NAMES: [&str; 4] = ["multiply_q8_1", "multiply_q8_2", "multiply_q8_4", "multiply_q8_8"];
        const Q4_NAMES: [&str; 4] = ["multiply_q4_1", "multiply_q4_2", "multiply_q4_4", "multiply_q4_8"];
        assert_eq!(x.input, self.input, "inputs of a product");
        let product = Product { rows: x.rows, output: self.output };
        if product.is_nothing() {
            return product.prepare(destination).map(|_| ());
        }
        let size = product.size();
        // Of more than 32 rows, two blocks of threads have a part each.
        let grid = product.grid(gpu, if size == Q8_NAMES.len() - 1 { 2 } else { 1 })?;
        let name = match self.bits() {
            CodeBits::Eight => Q8_NAMES[size],
            CodeBits::Four => Q4_NAMES[size],
        };
        let kernel = gpu.kernel(("products_quantised", name), grid)?;
        let prepared = product.prepare(destination)?;
        let (rows, output, stretches) = (x.rows as u32, self.output as u32, self.stretches() as u32);
        let (mut arguments, how) = prepared.begin(gpu, &kernel);
        arguments.arg(&x.codes).arg(&x.scales).arg(&self.codes).arg(&self.scales);
        product.push_bias(&mut arguments, bias);
        arguments.arg(&rows).arg(&output).arg(&stretches).arg(&how);
        if let Some(levels) = &self.levels {
            arguments.arg(&levels.low).arg(&levels.high);
        }
        gpu.run(arguments, grid)
    }

    /// Rows `range` of W in bf16, to `y`.
    ///
    /// # Errors
    /// When the GPU has no room for them.
    ///
    /// # Panics
    /// When there are no such rows.
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
    /// None yet, and room for rows of up to `input` numbers: nothing need be allocated for these later.
    ///
    /// # Errors
    /// When the GPU has no room for them.
    pub fn reserved(gpu: &Gpu, input: usize) -> Result<Self> {
        let (codes, scales) =
            (gpu.memory_for(Self::codes_of(input))?, gpu.memory_for(Self::scales_of(input))?);
        Ok(Self { codes, scales, rows: 0, input: 0 })
    }

    /// Kernels know where each row is of as many as can be.
    fn codes_of(input: usize) -> usize {
        input.next_multiple_of(BLOCK * BLOCKS_OF_STRETCH) * FEW_ROWS
    }

    fn scales_of(input: usize) -> usize {
        Self::codes_of(input) / BLOCK
    }

    /// Becomes what `x` `[rows, input]` is rounded to.
    ///
    /// # Errors
    /// When the GPU has no room for it.
    ///
    /// # Panics
    /// When there are more than [`FEW_ROWS`] rows, or their numbers are no whole blocks of 32.
    pub fn round(&mut self, x: &Rows) -> Result<()> {
        let (rows, input) = x.shape();
        assert!(rows <= FEW_ROWS, "{rows} rows are not few");
        assert!(input.is_multiple_of(BLOCK), "{input} inputs are no whole blocks");
        assert!(x.numbers.len() >= rows * input, "numbers of rows");
        let gpu = &x.gpu;
        if self.codes.len() < Self::codes_of(input) {
            *self = Self::reserved(gpu, input)?;
        }
        (self.rows, self.input) = (rows, input);
        // Each thread has eight numbers.
        let threads = input.next_multiple_of(BLOCK * BLOCKS_OF_STRETCH) / 8;
        let grid =
            Grid::new((threads.div_ceil(ROUND_THREADS as usize) as u32, rows as u32, 1), ROUND_THREADS);
        let kernel = gpu.kernel(("products_quantised", "round_rows"), grid)?;
        let (rows, input) = (rows as u32, input as u32);
        let mut arguments = gpu.arguments(&kernel);
        arguments.arg(&mut self.codes).arg(&mut self.scales).arg(&x.numbers).arg(&rows).arg(&input);
        gpu.run(arguments, grid)
    }
}
