//! Products of few rows, y = x W^T with a bias: they take as long as reading W, and a row of y has the same bits
//! whatever other rows are computed.

use std::sync::Arc;

use cudarc::driver::{CudaFunction, CudaSlice, CudaViewMut, LaunchArgs, PinnedHostSlice, PushKernelArg};
use half::bf16;

use crate::{
    activation::Activation,
    error::Result,
    gpu::{Gpu, Grid},
    rows::Rows,
};

/// The largest number of rows of x that counts as few.
pub const FEW_ROWS: usize = 64;

/// Threads of a block, as in `cuda/products.cuh`.
const THREADS: u32 = 256;

/// Rows of W that one tensor-core product takes, as in `cuda/products.cuh`.
const TILE_OUTPUTS: usize = 16;

/// What differs between the kernels for different numbers of rows, as at the ends of `cuda/products_bf16.cu` and
/// `cuda/products_quantised.cu`.
struct Size {
    /// The largest number of rows.
    rows: usize,
    /// Tiles of outputs that a block computes at a time.
    tiles: usize,
    /// Blocks that a multiprocessor holds.
    blocks: usize,
}

const SIZES: [Size; 5] = [
    Size { rows: 8, tiles: 1, blocks: 3 },
    Size { rows: 16, tiles: 1, blocks: 2 },
    Size { rows: 24, tiles: 2, blocks: 2 },
    Size { rows: 32, tiles: 2, blocks: 2 },
    Size { rows: FEW_ROWS, tiles: 2, blocks: 2 },
];

/// Returns, for each kernel for few rows, the fewest rows for which it is used.
pub fn fewest_rows_of_kernels() -> impl Iterator<Item = usize> {
    (0..SIZES.len()).map(|index| index.checked_sub(1).map_or(1, |before| SIZES[before].rows + 1))
}

/// The kernels for weights of one form, in the order of `SIZES`.
pub(crate) struct Names {
    /// Kernels that compute products.
    pub(crate) products: [&'static str; SIZES.len()],
    /// Kernels that multiply the activation of one half of the products by the other half.
    pub(crate) gates: [&'static str; SIZES.len()],
}

/// The names of the kernels for weights of the form `$form`.
macro_rules! names {
    ($form:literal) => {
        $crate::products::Names {
            products: [
                concat!("multiply_", $form, "_1"),
                concat!("multiply_", $form, "_2"),
                concat!("multiply_", $form, "_3"),
                concat!("multiply_", $form, "_4"),
                concat!("multiply_", $form, "_8"),
            ],
            gates: [
                concat!("gate_", $form, "_1"),
                concat!("gate_", $form, "_2"),
                concat!("gate_", $form, "_3"),
                concat!("gate_", $form, "_4"),
                concat!("gate_", $form, "_8"),
            ],
        }
    };
}
pub(crate) use names;

/// Bits of a kernel's argument `how`, as in `cuda/products.cuh`.
const ACCUMULATE: u32 = 1;
const FLOATS: u32 = 2;

/// Where and how products are written.
#[derive(Debug)]
pub enum Destination<'a> {
    /// They replace the previous contents.
    Replace(&'a mut Rows),
    /// They are added to the previous contents.
    Add(&'a mut Rows),
    /// They replace the previous contents and are not rounded to bf16.
    Floats(&'a mut Floats),
    /// The activation of the first half of each row, times the second half, replaces the previous contents, with the
    /// bits that [`Activation::gate`] makes of products written by `Replace`.
    Gated(&'a mut Rows, Activation),
}

impl Destination<'_> {
    /// Returns the same destination, to be used again.
    pub(crate) fn reborrow(&mut self) -> Destination<'_> {
        match self {
            Self::Replace(y) => Destination::Replace(y),
            Self::Add(y) => Destination::Add(y),
            Self::Floats(y) => Destination::Floats(y),
            Self::Gated(y, activation) => Destination::Gated(y, *activation),
        }
    }
}

/// Rows in f32 on a GPU.
#[derive(Debug)]
pub struct Floats {
    gpu: Arc<Gpu>,
    numbers: CudaSlice<f32>, // [rows, columns], or longer
    /// The memory that downloads copy to, as large as the largest so far.
    host: Option<PinnedHostSlice<f32>>,
    rows: usize,
    columns: usize,
}

/// A number for each output, which is added to its products.
#[derive(Debug)]
pub struct Bias(CudaSlice<f32>);

/// W `[output, input]` in bf16.
#[derive(Debug)]
pub struct Bf16Weights {
    pub(crate) numbers: CudaSlice<bf16>,
    output: usize,
    input: usize,
}

/// The sizes of a product, which all kernels have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    /// Rows of x that the kernel multiplies.
    rows: usize,
    /// The length of a row of y.
    output: usize,
    made: Made,
    /// The row of y that the first of them becomes.
    first_row: usize,
    /// Rows of y.
    y_rows: usize,
}

/// What a kernel computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    /// Products, each with one row of W.
    Products,
    /// Gated products, each with two rows of W.
    Gates,
}

impl Floats {
    /// Creates empty rows.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if the GPU has no memory left.
    pub fn empty(gpu: &Arc<Gpu>) -> Result<Self> {
        Ok(Self { gpu: Arc::clone(gpu), numbers: gpu.memory_for(1)?, host: None, rows: 0, columns: 0 })
    }

    /// Returns the numbers of rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// Returns all numbers `[rows, columns]`, in memory that the next download overwrites.
    ///
    /// # Errors
    /// `Error::Driver` if this or earlier work on the GPU failed.
    pub fn download(&mut self) -> Result<&[f32]> {
        let count = self.rows * self.columns;
        if count == 0 {
            return Ok(&[]);
        }
        let host = match self.host.take().filter(|host| host.len() >= count) {
            Some(host) => self.host.insert(host),
            None => self.host.insert(self.gpu.pinned(count)?),
        };
        // The length of the destination determines how much is copied.
        let part = &mut host.as_mut_slice()?[..count];
        self.gpu.stream().memcpy_dtoh(&self.numbers.slice(..count), part)?;
        self.gpu.wait()?;
        Ok(part)
    }

    /// Makes room for `rows` rows of `columns` numbers, all of which must then be written.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if it cannot be allocated on the GPU.
    pub fn room(&mut self, (rows, columns): (usize, usize)) -> Result<&mut Self> {
        if self.numbers.len() < rows * columns {
            self.numbers = self.gpu.memory_for(rows * columns)?;
        }
        (self.rows, self.columns) = (rows, columns);
        Ok(self)
    }
}

impl Bias {
    /// Copies `numbers` to the GPU.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if they cannot be stored on the GPU.
    pub fn upload(gpu: &Gpu, numbers: &[f32]) -> Result<Self> {
        Ok(Self(gpu.upload(numbers)?))
    }
}

impl Bf16Weights {
    /// Creates weights from rows that are on the GPU: each row holds the weights of one output.
    pub fn new(rows: Rows) -> Self {
        let (output, input) = rows.shape();
        Self { numbers: rows.numbers, output, input }
    }

    /// Returns the numbers of outputs and inputs.
    pub fn shape(&self) -> (usize, usize) {
        (self.output, self.input)
    }

    /// Writes the products of `x` `[rows, input]` to `destination`.
    ///
    /// # Errors
    /// `Error::OutOfMemory` if the GPU has no memory for them; `Error::NoKernels` or `Error::Driver` if the kernel
    /// cannot be loaded or run.
    ///
    /// # Panics
    /// If `x` has rows of another length or more than [`FEW_ROWS`], or `input` is not a multiple of 4; if an odd
    /// number of outputs, or weights of 4 GiB or more, are to be gated; if products are added to rows of another
    /// shape, or the bias is too short.
    pub fn multiply(&self, x: &Rows, bias: Option<&Bias>, destination: Destination<'_>) -> Result<()> {
        const NAMES: Names = names!("bf16");
        let (rows, input) = x.shape();
        assert_eq!(input, self.input, "inputs of a product");
        assert!(input.is_multiple_of(4), "inputs that are no multiple of 4");
        assert!(
            x.numbers.len() >= rows * input && self.numbers.len() >= self.output * input,
            "numbers of a product"
        );
        let product = Product::new(rows, self.output, &destination);
        // Kernels have 32 bits for the distance between a gate's row of weights and that of its factor.
        let bytes = self.output * input * size_of::<bf16>();
        assert!(product.made == Made::Products || u32::try_from(bytes).is_ok(), "{bytes} bytes of gates");
        if product.is_nothing() {
            return product.prepare(destination).map(|_| ());
        }
        let grid = product.grid(&x.gpu, 1)?;
        let kernel = x.gpu.kernel(("products_bf16", product.name(&NAMES)), grid)?;
        let mut prepared = product.prepare(destination)?;
        let input = input as u32;
        let (rows, output) = product.shape();
        let (mut arguments, how) = prepared.begin(&x.gpu, &kernel);
        arguments.arg(&x.numbers).arg(&self.numbers);
        product.push_bias(&mut arguments, bias);
        arguments.arg(&rows).arg(&output).arg(&input).arg(&how);
        x.gpu.run(arguments, grid)
    }
}

/// A destination with room for its products.
pub(crate) struct Prepared<'a> {
    /// From the first row on that is written.
    y: Written<'a>,
    /// The kernel's parameter `how`.
    how: u32,
}

/// The numbers that a kernel writes.
enum Written<'a> {
    Rows(CudaViewMut<'a, bf16>),
    Floats(CudaViewMut<'a, f32>),
}

impl Prepared<'_> {
    /// Returns the arguments of a kernel, the first of which is the destination, and the value of its parameter
    /// `how`.
    pub(crate) fn begin<'a>(&'a mut self, gpu: &'a Gpu, kernel: &'a CudaFunction) -> (LaunchArgs<'a>, u32) {
        let mut arguments = gpu.arguments(kernel);
        match &mut self.y {
            Written::Rows(y) => arguments.arg(y),
            Written::Floats(y) => arguments.arg(y),
        };
        (arguments, self.how)
    }
}

impl Product {
    /// Describes the product of `rows` rows of x and `weights` rows of W.
    ///
    /// # Panics
    /// If an odd number of outputs is to be gated.
    pub(crate) fn new(rows: usize, weights: usize, destination: &Destination<'_>) -> Self {
        let (output, made) = match destination {
            Destination::Replace(_) | Destination::Add(_) | Destination::Floats(_) => {
                (weights, Made::Products)
            }
            Destination::Gated(..) => {
                assert!(weights.is_multiple_of(2), "half of {weights} outputs");
                (weights / 2, Made::Gates)
            }
        };
        Self { rows, output, made, first_row: 0, y_rows: rows }
    }

    /// Describes the same product as that of some rows of x, which become the rows of y from `first_row` on; y has
    /// `y_rows` rows in all.
    pub(crate) fn at(self, first_row: usize, y_rows: usize) -> Self {
        assert!(first_row + self.rows <= y_rows, "rows that are not there");
        Self { first_row, y_rows, ..self }
    }

    /// Returns whether there is nothing to compute.
    pub(crate) fn is_nothing(self) -> bool {
        self.rows == 0 || self.output == 0
    }

    /// Returns the rows and columns that are written.
    pub(crate) fn shape(self) -> (u32, u32) {
        (self.rows as u32, self.output as u32)
    }

    /// Returns whether it needs the kernel for the largest number of rows.
    pub(crate) fn is_of_most_rows(self) -> bool {
        self.size() == SIZES.len() - 1
    }

    /// Returns the index in `SIZES` of its kernel, the first for as many rows.
    ///
    /// # Panics
    /// If there are more than [`FEW_ROWS`] rows.
    fn size(self) -> usize {
        let size = SIZES.iter().position(|size| self.rows <= size.rows);
        size.unwrap_or_else(|| panic!("{} rows are not few", self.rows))
    }

    /// Returns the name of its kernel.
    pub(crate) fn name(self, names: &Names) -> &'static str {
        match self.made {
            Made::Products => names.products[self.size()],
            Made::Gates => names.gates[self.size()],
        }
    }

    /// Returns the grid of that kernel: at most as many blocks as the GPU holds at a time, each of which computes one
    /// part of the outputs after the other. `groups` blocks share the rows of x.
    pub(crate) fn grid(self, gpu: &Gpu, groups: usize) -> Result<Grid> {
        let Size { tiles, blocks, .. } = SIZES[self.size()];
        let of_tile = match self.made {
            Made::Products => TILE_OUTPUTS,
            Made::Gates => TILE_OUTPUTS / 2,
        };
        let parts = groups * self.output.div_ceil(tiles * of_tile);
        Ok(Grid::new((parts.min(blocks * gpu.multiprocessors()?) as u32, 1, 1), THREADS))
    }

    /// Makes room for the products, or checks the shape of what they are added to.
    pub(crate) fn prepare(self, destination: Destination<'_>) -> Result<Prepared<'_>> {
        let (shape, first) = ((self.y_rows, self.output), self.first_row * self.output);
        let (y, how) = match destination {
            Destination::Replace(y) => (Written::Rows(y.room(shape)?.numbers.slice_mut(first..)), 0),
            Destination::Add(y) => {
                assert_eq!(y.shape(), shape, "rows that products are added to");
                (Written::Rows(y.numbers.slice_mut(first..)), ACCUMULATE)
            }
            Destination::Floats(y) => (Written::Floats(y.room(shape)?.numbers.slice_mut(first..)), FLOATS),
            Destination::Gated(y, activation) => {
                (Written::Rows(y.room(shape)?.numbers.slice_mut(first..)), activation as u32)
            }
        };
        Ok(Prepared { y, how })
    }

    /// Pushes the address of the bias, or a null pointer.
    pub(crate) fn push_bias<'a>(self, arguments: &mut LaunchArgs<'a>, bias: Option<&'a Bias>) {
        match bias {
            Some(Bias(numbers)) => {
                let wanted = match self.made {
                    Made::Products => self.output,
                    Made::Gates => 2 * self.output,
                };
                assert!(numbers.len() >= wanted, "a bias for each row of weights");
                arguments.arg(numbers);
            }
            None => {
                arguments.arg(&0_u64);
            }
        }
    }
}
