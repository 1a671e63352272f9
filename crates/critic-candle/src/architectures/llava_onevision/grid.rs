//! The sizes that a grid of tiles may have, as configurations write them.

use serde::Deserialize;

use crate::{error::LoadError, source::Source};

const KEY: &str = "image_grid_pinpoints";

/// Pairs of sizes in pixels, or a text: such a list, or a range `(1x1),...,(6x6)` in tiles.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Grid {
    Sizes(Vec<(usize, usize)>),
    Text(String),
}

impl Grid {
    /// The pairs in pixels, in their written order; a range is expanded with the second number changing fastest.
    pub(super) fn sizes(self, source: &Source, tile: usize) -> Result<Vec<(usize, usize)>, LoadError> {
        let text = match self {
            Self::Sizes(sizes) => return Ok(sizes),
            Self::Text(text) => text,
        };
        let list = || serde_json::from_str(&text.replace('(', "[").replace(')', "]")).ok();
        let sizes = range(&text, tile).or_else(list);
        sizes.ok_or_else(|| source.unsupported(KEY, text, "(AxB),...,(CxD) or a list of sizes"))
    }
}

/// The range from the first pair `(AxB)` of a text to the last, in pixels; text between them is ignored, as in the
/// native code.
fn range(text: &str, tile: usize) -> Option<Vec<(usize, usize)>> {
    let pair = |part: &str| -> Option<(usize, usize)> {
        let (first, second) = part.split_once(')')?.0.split_once('x')?;
        Some((first.trim().parse().ok()?, second.trim().parse().ok()?))
    };
    let mut pairs = text.split('(').filter_map(pair);
    let first = pairs.next()?;
    let last = pairs.next_back().unwrap_or(first);
    // `check_grid` would refuse grids of this size anyway; this avoids building a list of millions first.
    let counts = [last.0.checked_sub(first.0)?, last.1.checked_sub(first.1)?];
    if counts.iter().any(|count| *count >= MAX_TILES) || last.0.max(last.1) > MAX_TILES {
        return None;
    }
    let rows = first.0..=last.0;
    Some(rows.flat_map(|one| (first.1..=last.1).map(move |other| (one * tile, other * tile))).collect())
}

/// Reads `anyres_max_N` as N and `anyres` as `None`, no bound.
pub(super) fn read_max_tiles(
    source: &Source,
    key: &'static str,
    value: &str,
) -> Result<Option<usize>, LoadError> {
    if value == "anyres" {
        return Ok(None);
    }
    let count =
        value.strip_prefix("anyres_max_").and_then(|count| count.parse().ok()).filter(|count| *count > 0);
    count.map(Some).ok_or_else(|| source.unsupported(key, value, "anyres_max_N or anyres"))
}

/// The most tiles of a grid: published configurations have up to 36, and every image is scaled up to its grid.
const MAX_TILES: usize = 256;

/// Refuses an empty list, and sizes that are not whole tiles or have more than [`MAX_TILES`].
pub(super) fn check_grid(source: &Source, sizes: &[(usize, usize)], tile: usize) -> Result<(), LoadError> {
    let whole = |(height, width): &(usize, usize)| {
        let tiles = (height / tile).checked_mul(width / tile);
        let few = tiles.is_some_and(|tiles| (1..=MAX_TILES).contains(&tiles));
        few && height.is_multiple_of(tile) && width.is_multiple_of(tile)
    };
    if sizes.is_empty() || !sizes.iter().all(whole) {
        let expected = format!("a list of multiples of the tile size {tile}, of {MAX_TILES} tiles at most");
        let found = match &sizes[..sizes.len().min(40)] {
            few if few.len() == sizes.len() => format!("{sizes:?}"),
            few => format!("{few:?} and {} more", sizes.len() - few.len()),
        };
        return Err(source.unsupported(KEY, found, expected));
    }
    Ok(())
}
