//! Prints how long decoding, cutting and normalising an image takes. Arguments: the folder of a checkpoint, then
//! image files.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::time::Instant;

use critic::{CacheScope, EncodedImage, ImageTiling, Visual};
use critic_candle::{Checkpoint, Options, Segment, Source};

/// Rounds of each measurement, of which the median is printed.
const ROUNDS: usize = 31;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("the first argument is the folder of a checkpoint")?;
    // Without a cache, so that every round decodes the image.
    let options = Options { image_cache_bytes: 0, ..Options::new(Source::Folder(folder.into())) };
    let checkpoint = Checkpoint::load(&options)?;
    let model = checkpoint.backend.model();
    for file in arguments {
        let image = EncodedImage::new(std::fs::read(&file)?);
        let encode = || {
            checkpoint.processor.encode_segments(
                &[Segment::Image(&image)],
                ImageTiling::Trained,
                CacheScope::default(),
            )
        };
        let visual: Visual = encode()?.visuals.remove(0);
        let tiles: Vec<&[u8]> = (0..visual.tiles.count()).map(|index| visual.tiles.tile(index)).collect();
        let cutting = median(|| encode().map(drop))?;
        let normalising = median(|| model.pixels(&tiles).map(drop))?;
        println!("{file}: {} tiles, {cutting:.2} ms to tiles, {normalising:.2} ms to numbers", tiles.len());
    }
    Ok(())
}

/// Median duration of `work` in milliseconds.
fn median<E>(work: impl Fn() -> Result<(), E>) -> Result<f64, E> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        work()?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[ROUNDS / 2])
}
