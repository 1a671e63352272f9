//! The sizes that images may be cut into, as configurations write them.

use serde::Deserialize;

use crate::{error::LoadError, source::Source};

const KEY: &str = "image_grid_pinpoints";

/// Pairs of sizes in pixels, or text: such a list, or a range `(1x1),...,(6x6)` in tiles.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Grid {
    Sizes(Vec<(usize, usize)>),
    Text(String),
}

impl Grid {
    /// The pairs in pixels, in the order in which they stand; a range has them all, the second number changing first.
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

/// From the first pair `(AxB)` in a text to the last, whatever stands between, as the native code reads it; in pixels.
fn range(text: &str, tile: usize) -> Option<Vec<(usize, usize)>> {
    let pair = |part: &str| -> Option<(usize, usize)> {
        let (first, second) = part.split_once(')')?.0.split_once('x')?;
        Some((first.trim().parse().ok()?, second.trim().parse().ok()?))
    };
    let mut pairs = text.split('(').filter_map(pair);
    let first = pairs.next()?;
    let last = pairs.next_back().unwrap_or(first);
    // More than are allowed are refused by who checks them; a list of millions is not made for it.
    let counts = [last.0.checked_sub(first.0)?, last.1.checked_sub(first.1)?];
    if counts.iter().any(|count| *count >= MAX_TILES) || last.0.max(last.1) > MAX_TILES {
        return None;
    }
    let rows = first.0..=last.0;
    Some(rows.flat_map(|one| (first.1..=last.1).map(move |other| (one * tile, other * tile))).collect())
}

/// `anyres_max_N` to N, `anyres` to no bound.
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

/// More tiles than this no grid has: the published ones have 36 at most, and an image is scaled up to its grid.
const MAX_TILES: usize = 256;

/// Refuses grids that are not whole tiles, or too many.
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
