//! Products of few rows, y = x W^T with a bias: they take as long as reading W, and a row of y has the same bits in any company.

use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaSlice, LaunchArgs, PinnedHostSlice, PushKernelArg};
use half::bf16;

use crate::{
    error::Result,
    gpu::{Gpu, Grid},
    rows::Rows,
};

/// How many rows of x are few.
pub const FEW_ROWS: usize = 64;

/// Threads of a block, as `cuda/products.cuh` has it.
const THREADS: u32 = 256;

/// Rows of x and outputs that one tensor-core product takes, likewise.
const TILE_ROWS: usize = 8;
const TILE_OUTPUTS: usize = 16;

/// What differs between the kernels for up to 8, 16, 32 and 64 rows, likewise.
struct Size {
    /// Tiles of outputs that a block makes at a time.
    tiles: usize,
    /// Blocks that a multiprocessor holds.
    blocks: usize,
}

const SIZES: [Size; 4] = [
    Size { tiles: 1, blocks: 3 },
    Size { tiles: 1, blocks: 2 },
    Size { tiles: 2, blocks: 2 },
    Size { tiles: 2, blocks: 2 },
];

/// Bits that tell a kernel where products go, likewise.
const ACCUMULATE: u32 = 1;
const FLOATS: u32 = 2;

/// Where products go.
#[derive(Debug)]
pub enum Destination<'a> {
    /// They take the place of what was there.
    Replace(&'a mut Rows),
    /// They are added to what is there.
    Add(&'a mut Rows),
    /// The same as the first, and they are not rounded.
    Floats(&'a mut Floats),
}

/// Rows in f32.
#[derive(Debug)]
pub struct Floats {
    gpu: Arc<Gpu>,
    numbers: CudaSlice<f32>, // [rows, columns], and perhaps more
    /// Where they are copied when they are asked for, as large as it ever was.
    host: Option<PinnedHostSlice<f32>>,
    rows: usize,
    columns: usize,
}

/// One number for each output, which is added to its products.
#[derive(Debug)]
pub struct Bias(CudaSlice<f32>);

/// W `[output, input]` in bf16.
#[derive(Debug)]
pub struct Bf16Weights {
    pub(crate) numbers: CudaSlice<bf16>,
    output: usize,
    input: usize,
}

/// What kernels of products have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    /// Rows of x.
    pub(crate) rows: usize,
    pub(crate) output: usize,
}

impl Floats {
    /// None yet.
    ///
    /// # Errors
    /// When the GPU has no room at all.
    pub fn empty(gpu: &Arc<Gpu>) -> Result<Self> {
        Ok(Self { gpu: Arc::clone(gpu), numbers: gpu.memory_for(1)?, host: None, rows: 0, columns: 0 })
    }

    /// How many rows and columns there are.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// All numbers `[rows, columns]`, in memory that the next download overwrites.
    ///
    /// # Errors
    /// What went wrong on the GPU before.
    pub fn download(&mut self) -> Result<&[f32]> {
        let count = self.rows * self.columns;
        if count == 0 {
            return Ok(&[]);
        }
        let host = match self.host.take().filter(|host| host.len() >= count) {
            Some(host) => self.host.insert(host),
            None => self.host.insert(self.gpu.pinned(count)?),
        };
        // Copied is as much as there is room for in what it is copied to.
        let part = &mut host.as_mut_slice()?[..count];
        self.gpu.stream().memcpy_dtoh(&self.numbers.slice(..count), part)?;
        self.gpu.wait()?;
        Ok(part)
    }

    /// Makes room for `rows` of `columns` numbers, all of which are to be written.
    ///
    /// # Errors
    /// When the GPU has no room for them.
    pub fn room(&mut self, (rows, columns): (usize, usize)) -> Result<&mut Self> {
        if self.numbers.len() < rows * columns {
            self.numbers = self.gpu.memory_for(rows * columns)?;
        }
        (self.rows, self.columns) = (rows, columns);
        Ok(self)
    }
}

impl Bias {
    /// A copy of `numbers` on the GPU.
    ///
    /// # Errors
    /// When the GPU has no room for them.
    pub fn upload(gpu: &Gpu, numbers: &[f32]) -> Result<Self> {
        Ok(Self(gpu.upload(numbers)?))
    }
}

impl Bf16Weights {
    /// Weights that are on the GPU: each row is what one output is made with.
    pub fn new(rows: Rows) -> Self {
        let (output, input) = rows.shape();
        Self { numbers: rows.numbers, output, input }
    }

    /// How many outputs and inputs there are.
    pub fn shape(&self) -> (usize, usize) {
        (self.output, self.input)
    }

    /// The products of `x` `[rows, input]`.
    ///
    /// # Errors
    /// When the GPU has no room for them.
    ///
    /// # Panics
    /// When `x` is of other numbers, more than [`FEW_ROWS`], or of a number that is no multiple of 4.
    pub fn multiply(&self, x: &Rows, bias: Option<&Bias>, destination: Destination<'_>) -> Result<()> {
        const NAMES: [&str; 4] = ["multiply_bf16_1", "multiply_bf16_2", "multiply_bf16_4", "multiply_bf16_8"];
        let (rows, input) = x.shape();
        assert_eq!(input, self.input, "inputs of a product");
        assert!(input.is_multiple_of(4), "inputs that are no multiple of 4");
        assert!(
            x.numbers.len() >= rows * input && self.numbers.len() >= self.output * input,
            "numbers of a product"
        );
        let product = Product { rows, output: self.output };
        if product.is_nothing() {
            return product.prepare(destination).map(|_| ());
        }
        let grid = product.grid(&x.gpu, 1)?;
        let kernel = x.gpu.kernel(("products_bf16", NAMES[product.size()]), grid)?;
        let prepared = product.prepare(destination)?;
        let input = input as u32;
        let (rows, output) = (rows as u32, self.output as u32);
        let (mut arguments, how) = prepared.begin(&x.gpu, &kernel);
        arguments.arg(&x.numbers).arg(&self.numbers);
        product.push_bias(&mut arguments, bias);
        arguments.arg(&rows).arg(&output).arg(&input).arg(&how);
        x.gpu.run(arguments, grid)
    }
}

/// Memory for products, as large as it must be.
pub(crate) struct Prepared<'a>(Destination<'a>);

impl<'a> Prepared<'a> {
    /// A kernel's arguments, of which the first one is where products go, and what it is to be told of that.
    pub(crate) fn begin(self, gpu: &'a Gpu, kernel: &'a CudaFunction) -> (LaunchArgs<'a>, u32) {
        let mut arguments = gpu.arguments(kernel);
        let how = match self.0 {
            Destination::Replace(y) => {
                arguments.arg(&mut y.numbers);
                0
            }
            Destination::Add(y) => {
                arguments.arg(&mut y.numbers);
                ACCUMULATE
            }
            Destination::Floats(y) => {
                arguments.arg(&mut y.numbers);
                FLOATS
            }
        };
        (arguments, how)
    }
}

impl Product {
    /// Whether there is nothing to do.
    pub(crate) fn is_nothing(self) -> bool {
        self.rows == 0 || self.output == 0
    }

    /// Which of the kernels it is for, the one for up to 8, 16, 32 or 64 rows.
    ///
    /// # Panics
    /// When there are more.
    pub(crate) fn size(self) -> usize {
        assert!(self.rows <= FEW_ROWS, "{} rows are not few", self.rows);
        self.rows.div_ceil(TILE_ROWS).next_power_of_two().ilog2() as usize
    }

    /// Blocks for that kernel, each of which makes one part of the outputs after the other, as many as the GPU holds at a
    /// time; `groups` of them share the rows of x.
    pub(crate) fn grid(self, gpu: &Gpu, groups: usize) -> Result<Grid> {
        let Size { tiles, blocks } = SIZES[self.size()];
        let parts = groups * self.output.div_ceil(tiles * TILE_OUTPUTS);
        Ok(Grid::new((parts.min(blocks * gpu.multiprocessors()?) as u32, 1, 1), THREADS))
    }

    /// Makes room for it, or compares what is there.
    pub(crate) fn prepare(self, destination: Destination<'_>) -> Result<Prepared<'_>> {
        let shape = (self.rows, self.output);
        Ok(Prepared(match destination {
            Destination::Replace(y) => Destination::Replace(y.room(shape)?),
            Destination::Add(y) => {
                assert_eq!(y.shape(), shape, "rows that products are added to");
                Destination::Add(y)
            }
            Destination::Floats(y) => Destination::Floats(y.room(shape)?),
        }))
    }

    /// The bias, or no address.
    pub(crate) fn push_bias<'a>(self, arguments: &mut LaunchArgs<'a>, bias: Option<&'a Bias>) {
        match bias {
            Some(Bias(numbers)) => {
                assert!(numbers.len() >= self.output, "a bias for each output");
                arguments.arg(numbers);
            }
            None => {
                arguments.arg(&0_u64);
            }
        }
    }
}
