//! Attention of a step's tokens to the positions of their sequences, and of the patches of an image to each other.

use cudarc::driver::{LaunchArgs, PushKernelArg};

use crate::{
    cache::{Heads, PagedCache},
    error::Result,
    gpu::{Grid, KernelName},
    list::List,
    rows::Rows,
    sharing::{LONG_ROWS, Sharing},
    step::Step,
};

/// Threads of a block of `attend_paged_*` and `attend_shared_*`, and of the two other kernels for steps.
const LONG_THREADS: u32 = 256;
const SHORT_THREADS: u32 = 128;

/// Tiles of keys and values that a block has shared memory for: in `attend_split_*`, if not fewer as in
/// `FEWER_STAGES`, in `attend_shared_*`, and in the other kernels.
const SPLIT_STAGES: usize = 3;
const SHARED_STAGES: usize = 3;
const STAGES: usize = 2;

/// `attend_split_*` for the largest heads with fewer tiles, for GPUs on whose multiprocessors more blocks then have
/// room.
const FEWER_STAGES: (usize, KernelName) = (2, ("attention_split", "attend_split_128_2"));

/// The most numbers of a head: the kernels are made for no larger ones.
pub const MOST_HEAD_SIZE: usize = 128;

/// Shared memory that the driver takes for each block.
const DRIVER_SHARED_BYTES: usize = 1 << 10;

/// The kernels for head sizes up to `size`.
struct Kernels {
    size: usize,
    paged: KernelName,
    split: KernelName,
    shared: KernelName,
    dense: KernelName,
    /// Threads of a block of `dense`.
    dense_threads: u32,
}

macro_rules! kernels {
    ($size:literal, $dense_threads:literal) => {
        Kernels {
            size: $size,
            paged: ("attention_prefill", concat!("attend_paged_", $size)),
            split: ("attention_split", concat!("attend_split_", $size)),
            shared: ("attention_shared", concat!("attend_shared_", $size)),
            dense: ("attention_dense", concat!("attend_dense_", $size)),
            dense_threads: $dense_threads,
        }
    };
}

/// The last ones are for heads of up to `MOST_HEAD_SIZE`.
const KERNELS: [Kernels; 5] =
    [kernels!(16, 128), kernels!(32, 128), kernels!(64, 128), kernels!(80, 128), kernels!(128, 256)];

impl Kernels {
    fn of(head_size: usize) -> &'static Self {
        assert!(head_size > 0 && head_size.is_multiple_of(8), "heads of {head_size} numbers");
        let kernels = KERNELS.iter().find(|kernels| head_size <= kernels.size);
        kernels.unwrap_or_else(|| panic!("heads of {head_size} numbers"))
    }

    /// Returns the shared memory for `stages` tiles of 64 keys and 64 values each. Rows are padded where they would
    /// otherwise meet in the same banks.
    fn shared_bytes(&self, stages: usize) -> u32 {
        let stride = if self.size.is_multiple_of(64) { self.size } else { self.size + 8 };
        (stages * (64 + 64) * stride * 2) as u32
    }

    /// Returns the kernel for few queries and its tiles, for multiprocessors of `bytes` of shared memory.
    ///
    /// One tile is used while the others are on their way from memory: where twice as many blocks have room with two
    /// tiles as with three, as much is on its way, and there are more warps to compute meanwhile. So it is for the
    /// largest heads on A100 (164 KiB: two blocks or one), not on H100 (228 KiB: three or two) nor on GPUs with 100
    /// KiB (one).
    fn split(&self, bytes: usize) -> (usize, KernelName) {
        let (fewer, name) = FEWER_STAGES;
        let blocks = |stages| bytes / (self.shared_bytes(stages) as usize + DRIVER_SHARED_BYTES);
        match self.size == MOST_HEAD_SIZE && blocks(fewer) >= 2 * blocks(SPLIT_STAGES) {
            true => (fewer, name),
            false => (SPLIT_STAGES, self.split),
        }
    }
}

/// The numbers that are passed to kernels.
struct KernelParams {
    tile_rows: u32,
    stretches: u32,
    row_stride: u32,
    heads: u32,
    kv_heads: u32,
    size: u32,
    scale: f32,
}

impl KernelParams {
    fn new(heads: Heads, sharing: &Sharing) -> Self {
        Self {
            tile_rows: sharing.tile_rows as u32,
            stretches: sharing.stretches as u32,
            row_stride: heads.row() as u32,
            heads: heads.heads as u32,
            kv_heads: heads.kv_heads as u32,
            size: heads.size as u32,
            scale: scale(heads.size),
        }
    }
}

impl PagedCache {
    /// Writes to `attended` `[T, H * D]` the attention of each query, in the first H * D numbers of a row of
    /// `projections` `[T, (H + 2 K) * D]`, to the positions of its sequence up to its own: the softmax over keys of
    /// `query * key / sqrt(D)`, times the values. The keys and values must already be in the cache.
    ///
    /// The result of a position has the same bits whatever else is in the step, and however its sequence is split
    /// into chunks.
    ///
    /// # Errors
    /// `Error::OutOfMemory` if the GPU has no memory for `attended`; `Error::NoKernels` or `Error::Driver` if a
    /// kernel cannot be loaded or run.
    ///
    /// # Panics
    /// If the shapes do not match, or `step` was not made for the heads of this cache with [`Step::attending`] or has
    /// blocks beyond it.
    pub fn attend(&self, projections: &Rows, step: &Step, attended: &mut Rows) -> Result<()> {
        let sharing = step.sharing().expect("Step::attending tells a step its heads");
        assert_eq!(sharing.heads, self.heads, "heads of a step");
        assert_eq!(projections.shape(), (step.tokens(), self.heads.row()), "rows of a step");
        assert!(step.last_block() < self.blocks, "blocks of a step");
        attended.room((step.tokens(), self.heads.heads * self.heads.size))?;
        let attention = StepAttention {
            cache: self,
            projections,
            step,
            sharing,
            kernels: Kernels::of(self.heads.size),
            params: KernelParams::new(self.heads, sharing),
        };
        if sharing.long_tiles() > 0 {
            attention.attend_long(attended)?;
        }
        if sharing.prefix_groups() > 0 {
            attention.attend_together()?;
        }
        if sharing.short_tiles() > 0 {
            attention.attend_short(attended)?;
        }
        if sharing.short_tiles() > 0 && sharing.stretches > 1 {
            attention.join_stretches(attended)?;
        }
        Ok(())
    }
}

/// The attention of a step, which consists of several kernels.
struct StepAttention<'a> {
    cache: &'a PagedCache,
    projections: &'a Rows,
    step: &'a Step,
    sharing: &'a Sharing,
    kernels: &'static Kernels,
    params: KernelParams,
}

impl StepAttention<'_> {
    /// Attends with the queries of long tiles.
    fn attend_long(&self, attended: &mut Rows) -> Result<()> {
        let (gpu, Self { sharing, kernels, params, .. }) = (self.projections.gpu(), self);
        let blocks = (sharing.long_tiles(), params.kv_heads, 1);
        let grid = Grid { blocks, threads: LONG_THREADS, shared_bytes: kernels.shared_bytes(STAGES) };
        let kernel = gpu.kernel(kernels.paged, grid)?;
        let mut arguments = gpu.arguments(&kernel);
        arguments.arg(&mut attended.numbers);
        self.push_common(&mut arguments, &sharing.long);
        gpu.run(arguments, grid)
    }

    /// Attends with the queries of short tiles to the stretches that these share.
    fn attend_together(&self) -> Result<()> {
        let (gpu, Self { sharing, kernels, params, .. }) = (self.projections.gpu(), self);
        let blocks = (sharing.prefix_groups(), params.kv_heads, 1);
        let shared_bytes = kernels.shared_bytes(SHARED_STAGES);
        let grid = Grid { blocks, threads: LONG_THREADS, shared_bytes };
        let kernel = gpu.kernel(kernels.shared, grid)?;
        let mut arguments = gpu.arguments(&kernel);
        arguments.arg(&sharing.partial).arg(&sharing.extremes).arg(&params.tile_rows).arg(&params.stretches);
        arguments.arg(sharing.prefix_groups.numbers()).arg(sharing.members.numbers());
        self.push_common(&mut arguments, &sharing.short);
        gpu.run(arguments, grid)
    }

    /// Attends with the queries of short tiles to the other stretches.
    fn attend_short(&self, attended: &mut Rows) -> Result<()> {
        let (gpu, Self { sharing, kernels, params, .. }) = (self.projections.gpu(), self);
        let blocks = (sharing.short_tiles(), params.kv_heads, params.stretches);
        let (stages, name) = kernels.split(sharing.multiprocessor_bytes);
        let grid = Grid { blocks, threads: SHORT_THREADS, shared_bytes: kernels.shared_bytes(stages) };
        let kernel = gpu.kernel(name, grid)?;
        let mut arguments = gpu.arguments(&kernel);
        arguments.arg(&mut attended.numbers).arg(&sharing.partial).arg(&sharing.extremes);
        arguments.arg(&params.tile_rows);
        self.push_common(&mut arguments, &sharing.short);
        gpu.run(arguments, grid)
    }

    /// Joins the partial results of contexts that have several stretches.
    fn join_stretches(&self, attended: &mut Rows) -> Result<()> {
        let (gpu, Self { sharing, params, .. }) = (self.projections.gpu(), self);
        let blocks = (sharing.short_tiles(), params.kv_heads, params.tile_rows);
        let grid = Grid::new(blocks, SHORT_THREADS);
        let kernel = gpu.kernel(("attention_split", "join_stretches"), grid)?;
        let mut arguments = gpu.arguments(&kernel);
        arguments.arg(&mut attended.numbers).arg(&sharing.partial).arg(&sharing.extremes);
        arguments.arg(&params.stretches).arg(self.step.chunks()).arg(sharing.short.numbers());
        arguments.arg(&params.heads).arg(&params.kv_heads).arg(&params.size).arg(&params.scale);
        gpu.run(arguments, grid)
    }

    /// Pushes the last arguments of the three kernels that attend to the cache, which are the same for all.
    fn push_common<'a>(&'a self, arguments: &mut LaunchArgs<'a>, tiles: &'a List) {
        let Self { cache, projections, step, params, .. } = self;
        arguments.arg(&projections.numbers).arg(&params.row_stride).arg(&cache.keys).arg(&cache.values);
        arguments.arg(step.tables()).arg(step.chunks()).arg(tiles.numbers());
        arguments.arg(&params.heads).arg(&params.kv_heads).arg(&params.size).arg(&params.scale);
    }
}

/// Writes to `attended` `[images * length, H * D]` the attention of each query to all positions of its own image. A
/// row of `projections` `[images * length, 3 * H * D]` holds queries, keys and values.
///
/// # Errors
/// `Error::OutOfMemory` if the GPU has no memory for `attended`; `Error::NoKernels` or `Error::Driver` if the kernel
/// cannot be loaded or run.
///
/// # Panics
/// If the images or the heads are not whole, or the head size is not a multiple of 8 or is above 128.
pub fn attend_all(projections: &Rows, (heads, length): (usize, usize), attended: &mut Rows) -> Result<()> {
    let (rows, columns) = projections.shape();
    assert!(length > 0 && rows.is_multiple_of(length), "{rows} rows of images of {length}");
    assert!(heads > 0 && columns.is_multiple_of(3 * heads), "{columns} columns of {heads} heads");
    let size = columns / 3 / heads;
    let kernels = Kernels::of(size);
    attended.room((rows, columns / 3))?;
    let gpu = projections.gpu();
    let blocks = (length.div_ceil(LONG_ROWS) as u32, heads as u32, (rows / length) as u32);
    let grid = Grid { blocks, threads: kernels.dense_threads, shared_bytes: kernels.shared_bytes(STAGES) };
    let kernel = gpu.kernel(kernels.dense, grid)?;
    let [row_stride, keys, values] = [columns, columns / 3, columns / 3 * 2].map(|number| number as u32);
    let [queries, length, heads] = [0, length, heads].map(|number| number as u32);
    let (narrow, scale) = (size as u32, scale(size));
    let mut arguments = gpu.arguments(&kernel);
    arguments.arg(&mut attended.numbers).arg(&projections.numbers).arg(&row_stride);
    arguments.arg(&queries).arg(&keys).arg(&values);
    arguments.arg(&length).arg(&heads).arg(&narrow).arg(&scale);
    gpu.run(arguments, grid)
}

fn scale(head_size: usize) -> f32 {
    (head_size as f32).sqrt().recip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_tiles_are_taken_where_more_blocks_have_room_with_them() {
        let stages = |size, kib: usize| Kernels::of(size).split(kib << 10).0;
        assert_eq!([100, 164, 228].map(|kib| stages(128, kib)), [3, 2, 3]);
        assert_eq!([100, 164, 228].map(|kib| stages(96, kib)), [3, 2, 3]);
        assert_eq!([100, 164, 228].map(|kib| stages(64, kib)), [3, 3, 3]);
    }
}
