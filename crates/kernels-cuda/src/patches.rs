//! Tiles of an image, cut into patches and normalised.

use std::sync::Arc;

use cudarc::driver::{CudaSlice, PushKernelArg};
use half::bf16;

use crate::{
    error::Result,
    gpu::{Gpu, Grid},
    rows::Rows,
};

const THREADS: u32 = 256;

/// How tiles are cut, and what their bytes become.
#[derive(Debug)]
pub struct PatchCutter {
    levels: CudaSlice<bf16>, // [3][256]
    /// Pixels along a tile's side.
    size: usize,
    /// Pixels along a patch's side.
    patch: usize,
}

impl PatchCutter {
    /// For tiles of `size` pixels a side and patches of `patch`; `levels` is what each byte of each channel becomes.
    ///
    /// # Errors
    /// When the GPU has no room.
    pub fn new(gpu: &Gpu, levels: &[[f32; 256]; 3], (size, patch): (usize, usize)) -> Result<Self> {
        let narrow: Vec<bf16> = levels.as_flattened().iter().copied().map(bf16::from_f32).collect();
        Ok(Self { levels: gpu.upload(&narrow)?, size, patch })
    }

    /// The patches of tiles `[size, size, 3]`: to `patches` `[tiles * side * side, 3 * patch * patch]`.
    ///
    /// # Errors
    /// When the GPU has no room.
    ///
    /// # Panics
    /// When a tile has another size.
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
            gpu.stream().memcpy_htod(*tile, &mut place)?;
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
