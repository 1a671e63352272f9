//! Cuts tiles of an image into patches and normalises them.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, PushKernelArg};
use half::bf16;

use crate::{
    error::Result,
    gpu::{Gpu, Grid},
    rows::Rows,
};

const THREADS: u32 = 256;

/// The sizes of tiles and patches, and the values of bytes.
#[derive(Debug)]
pub struct PatchCutter {
    levels: CudaSlice<bf16>, // [3][256]
    /// Pixels along a tile's side.
    size: usize,
    /// Pixels along a patch's side.
    patch: usize,
}

impl PatchCutter {
    /// Creates a cutter for tiles of `size` pixels a side and patches of `patch`; `levels` holds the value of each
    /// byte of each channel.
    ///
    /// # Errors
    /// `Error::OutOfMemory` or `Error::Driver` if the levels cannot be stored on the GPU.
    pub fn new(gpu: &Gpu, levels: &[[f32; 256]; 3], (size, patch): (usize, usize)) -> Result<Self> {
        let narrow: Vec<bf16> = levels.as_flattened().iter().copied().map(bf16::from_f32).collect();
        Ok(Self { levels: gpu.upload(&narrow)?, size, patch })
    }

    /// Writes the patches of tiles `[size, size, 3]` to `patches` `[tiles * side * side, 3 * patch * patch]`, where
    /// `side` is `size / patch`.
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
        patches.room((tiles.len() * side * side, 3 * self.patch * self.patch))?;
        if tiles.is_empty() {
            return Ok(());
        }
        let mut uploaded = gpu.memory_for::<u8>(tiles.len() * bytes)?;
        for (index, tile) in tiles.iter().enumerate() {
            let mut place = uploaded.slice_mut(index * bytes..(index + 1) * bytes);
            gpu.overwrite(&mut place, tile)?;
        }
        let grid = Grid::new(((side * side) as u32, tiles.len() as u32, 1), THREADS);
        let kernel = gpu.kernel(("patches", "cut_patches"), grid)?;
        let (size, side, patch) = (self.size as u32, side as u32, self.patch as u32);
        let mut arguments = gpu.arguments(&kernel);
        arguments
            .arg(&mut patches.numbers)
            .arg(&uploaded)
            .arg(&self.levels)
            .arg(&size)
            .arg(&side)
            .arg(&patch);
        gpu.run(arguments, grid)
    }
}
