//! Divides a GPU's memory: weights, working memory of steps, features of images, and the rest for keys and values.

use std::sync::Arc;

use candle_core::Result;
use critic::{Batch, BlockId, Chunk, GpuMemory, SequenceId, TokenId, Wants};
use kernels_cuda::{BLOCK_SIZE, FEW_ROWS, Gpu, fewest_rows_of_kernels};

use super::{FEATURE_BYTES, LargestSteps, wanted_tokens};
use crate::{
    architectures::Model,
    device::{SPARE_BYTES, gpu_result},
    error::LoadError,
    kv_cache::{LayerCache, TokensOf},
};

/// Measures how the memory of a GPU is divided. First runs the largest batch of tiles, the largest steps and short
/// ones, so that working memory is allocated and all kernels are loaded; the rest, except for features and spare
/// memory, is for the cache.
pub(super) fn measure_gpu_memory(
    model: &mut dyn Model,
    gpu: &Arc<Gpu>,
    largest: LargestSteps,
) -> std::result::Result<GpuMemory, LoadError> {
    let (free_before, _) = gpu.memory()?;
    model.run_most_tiles()?;
    run_steps(model, largest)?;
    gpu_result(gpu.wait())?;
    let (free, _) = gpu.memory()?;
    let images = FEATURE_BYTES + model.most_bytes_of_visual();
    Ok(GpuMemory {
        weights: gpu.free_when_opened().saturating_sub(free_before) as u64,
        steps: free_before.saturating_sub(free) as u64,
        images: images as u64,
        cache: free.saturating_sub(SPARE_BYTES + images) as u64,
        spare: SPARE_BYTES as u64,
    })
}

/// Logs how the memory of a GPU is divided.
pub(super) fn tell(gpu: &Gpu, memory: &GpuMemory) -> std::result::Result<(), LoadError> {
    let GpuMemory { weights, steps, images, cache, spare } = *memory;
    let mib = |bytes: u64| bytes >> 20;
    tracing::info!(
        gpu = gpu.name()?,
        total_mib = mib(gpu.memory()?.1 as u64),
        weights_mib = mib(weights),
        steps_mib = mib(steps),
        images_mib = mib(images),
        spare_mib = mib(spare),
        cache_mib = mib(cache),
        "shared out the GPU's memory"
    );
    Ok(())
}

/// Allocates caches of `most` blocks, or of fewer where these do not fit, since the driver allocates in units whose
/// size it does not report. Returns the number of blocks and the caches.
///
/// # Errors
/// The error of `caches` when `least` blocks, or half of `most`, do not fit.
pub(super) fn what_fits<T>(
    most: usize,
    least: usize,
    caches: impl Fn(usize) -> Result<T>,
) -> Result<(usize, T)> {
    let mut blocks = most;
    loop {
        match caches(blocks) {
            Ok(caches) => return Ok((blocks, caches)),
            Err(error) if blocks <= least || blocks < most / 2 => return Err(error),
            Err(error) => {
                blocks = (blocks - blocks / 20 - 1).max(least);
                tracing::info!(%error, blocks, "the cache is made smaller");
            }
        }
    }
}

/// Runs a step with the most tokens, one with a single token at the end of a whole context for each sequence, and
/// short steps of single tokens. All positions are in the one block of a temporary cache.
fn run_steps(model: &mut dyn Model, LargestSteps { tokens, sequences }: LargestSteps) -> Result<()> {
    let text = model.own_text();
    let (context, heads) = (text.context_length, text.heads());
    let device = model.device().clone();
    let caches: Result<Vec<LayerCache>> =
        (0..text.layers).map(|_| LayerCache::new(heads, 1, &device)).collect();
    let mut caches = caches?;
    let chunk = |index: usize, start: usize, length: usize| Chunk {
        sequence: SequenceId(index as u64),
        tokens: vec![TokenId(0); length],
        start,
        block_table: vec![BlockId(0); (start + length).div_ceil(BLOCK_SIZE)],
        visuals: Vec::new(),
        wants: Wants::Logits,
    };
    let prompts: Vec<Chunk> = (0..tokens)
        .step_by(context)
        .enumerate()
        .map(|(index, first)| chunk(index, 0, context.min(tokens - first)))
        .collect();
    let singles = |count: usize, start: usize| -> Vec<Chunk> {
        (0..count).map(|index| chunk(index, start, 1)).collect()
    };
    let most = sequences.min(tokens);
    run_step(model, &mut caches, prompts)?;
    run_step(model, &mut caches, singles(most, context - 1))?;
    // Once each: the second time, they would be captured as graphs, which would use the temporary cache again whenever
    // they run.
    for count in short_steps(most) {
        run_step(model, &mut caches, singles(count, 0))?;
    }
    Ok(())
}

/// The numbers of single tokens of steps that, together with one of `most`, need all kernels for products of few rows
/// that a step of up to `most` can need. A kernel that is loaded later takes memory, and time of a client's step.
fn short_steps(most: usize) -> Vec<usize> {
    let mut counts: Vec<usize> = fewest_rows_of_kernels().filter(|rows| *rows <= most).collect();
    if most <= FEW_ROWS {
        counts.pop();
    }
    counts
}

/// Runs a step up to the logits of the last token of each chunk, and its reward.
fn run_step(model: &mut dyn Model, caches: &mut [LayerCache], chunks: Vec<Chunk>) -> Result<()> {
    let batch = Batch { chunks };
    let mut rows = model.embed(&batch)?;
    let (_, last) = wanted_tokens(&batch);
    model.decode(&mut rows, TokensOf::These(&last), &batch, caches)?;
    let normed = model.normalise(&rows)?;
    model.logits(&normed)?;
    if model.has_reward_head() {
        model.rewards(&normed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_steps_need_the_kernels_that_the_largest_one_does_not() {
        assert_eq!(short_steps(64), [1, 9, 17, 25]);
        assert_eq!(short_steps(100), [1, 9, 17, 25, 33]);
        assert_eq!(short_steps(20), [1, 9]);
        assert!(short_steps(1).is_empty());
    }

    #[test]
    fn a_cache_becomes_as_small_as_it_must_and_no_smaller_than_half() {
        let up_to = |room: usize| {
            move |blocks: usize| match blocks <= room {
                true => Ok(blocks),
                false => Err(candle_core::Error::Msg("no room".to_owned())),
            }
        };
        assert_eq!(what_fits(1000, 10, up_to(1000)).unwrap(), (1000, 1000));
        let (blocks, _) = what_fits(1000, 10, up_to(930)).unwrap();
        assert!((880..=930).contains(&blocks), "{blocks}");
        assert_eq!(what_fits(100, 99, up_to(99)).unwrap().0, 99);
        assert!(what_fits(1000, 10, up_to(300)).is_err());
        assert!(what_fits(10, 10, up_to(9)).is_err());
    }
}
