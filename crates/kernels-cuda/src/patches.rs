//! Cuts tiles of an image into patches and normalises them.

use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaSlice, PushKernelArg};
use half::bf16;

use crate::{
    error::Result,
    gpu::{Gpu, Grid},
    rows::Rows,
    staging::Staging,
};

const THREADS: u32 = 256;

/// Rows of patches are padded to a multiple of this, so that they are aligned to 16 bytes: the library has slower
/// kernels for others.
const ALIGNED_COLUMNS: usize = 8;

/// The sizes of tiles and patches, and the values of bytes.
#[derive(Debug)]
pub struct PatchCutter {
    levels: CudaSlice<bf16>, // [3][256]
    /// Pixels along a tile's side.
    size: usize,
    /// Pixels along a patch's side.
    patch: usize,
    /// The memory through which tiles are copied, as large as the most tiles so far. Used by one thread, see `Gpu`.
    staging: Mutex<Staging<u8>>,
}

impl PatchCutter {
    /// Creates a cutter for tiles of `size` pixels a side and patches of `patch`; `levels` holds the value of each
    /// byte of each channel.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if the levels cannot be stored on the GPU.
    pub fn new(gpu: &Arc<Gpu>, levels: &[[f32; 256]; 3], (size, patch): (usize, usize)) -> Result<Self> {
        let narrow: Vec<bf16> = levels.as_flattened().iter().copied().map(bf16::from_f32).collect();
        let staging = Mutex::new(Staging::new(gpu, 0)?);
        Ok(Self { levels: gpu.upload(&narrow)?, size, patch, staging })
    }

    /// Returns the length of a row of patches with `numbers` numbers each: the next multiple of eight.
    pub fn padded(numbers: usize) -> usize {
        numbers.next_multiple_of(ALIGNED_COLUMNS)
    }

    /// Writes the patches of tiles `[size, size, 3]` to `patches` `[tiles * side * side, padded(3 * patch * patch)]`,
    /// where `side` is `size / patch`. The last numbers of a row, which pad it, are 0.
    ///
    /// # Errors
    /// `Error::OutOfMemory` if the GPU has no memory for tiles and patches; `Error::NoKernels` or `Error::Driver` if
    /// the kernel cannot be loaded or run.
    ///
    /// # Panics
    /// If a tile has another size.
    pub fn cut(&self, tiles: &[&[u8]], patches: &mut Rows) -> Result<()> {
        let (side, bytes) = (self.size / self.patch, 3 * self.size * self.size);
        assert!(tiles.iter().all(|tile| tile.len() == bytes), "bytes of a tile");
        let gpu = Arc::clone(patches.gpu());
        let columns = Self::padded(3 * self.patch * self.patch);
        patches.room((tiles.len() * side * side, columns))?;
        if tiles.is_empty() {
            return Ok(());
        }
        let mut uploaded = gpu.memory_for::<u8>(tiles.len() * bytes)?;
        self.staging.lock().unwrap_or_else(PoisonError::into_inner).copy(tiles, &mut uploaded)?;
        let grid = Grid::new(((side * side) as u32, tiles.len() as u32, 1), THREADS);
        let kernel = gpu.kernel(("patches", "cut_patches"), grid)?;
        let [size, side, patch, columns] = [self.size, side, self.patch, columns].map(|number| number as u32);
        let mut arguments = gpu.arguments(&kernel);
        arguments
            .arg(&mut patches.numbers)
            .arg(&uploaded)
            .arg(&self.levels)
            .arg(&size)
            .arg(&side)
            .arg(&patch)
            .arg(&columns);
        gpu.run(arguments, grid)
    }
}
