//! Sizes of images: each is tiled as the reference tiles it, with the same number of features, within the maximum.

use std::sync::OnceLock;

use critic_candle::{Geometry, Packing, VideoNewline};

use super::{bytes::Bytes, planner::Cut};

/// The longest side of the grids of the published critics, in tiles; every pair of sides up to it is a grid.
const TILES: usize = 6;
/// The longest side that is tested, in pixels; by default, images with a longer one are refused.
pub const LONGEST: usize = 16_384;

/// How critics tile images: the published ones, and the small one that is embedded.
pub fn cuts() -> &'static [Cut; 2] {
    static CUTS: OnceLock<[Cut; 2]> = OnceLock::new();
    CUTS.get_or_init(|| {
        let grids = (1..=TILES).flat_map(|rows| (1..=TILES).map(move |columns| (rows * 384, columns * 384)));
        let grids: Vec<(usize, usize)> = grids.collect();
        let published = Cut { tile: 384, side: 27, grids: grids.leak(), most_tiles: 9 };
        let small = Cut { tile: 112, side: 8, grids: &[(112, 112), (112, 224), (224, 112)], most_tiles: 4 };
        [published, small]
    })
}

/// Panics when a size is not tiled as the reference tiles it.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let cut = &cuts()[bytes.below(2)];
    let mut side = || (usize::from(bytes.byte()) << 8 | usize::from(bytes.byte())) % LONGEST + 1;
    check(cut, (side(), side()));
}

/// Panics when an image of this height and width is not tiled as the reference tiles it.
pub fn check(cut: &Cut, size: (usize, usize)) {
    let (height, width) = size;
    let geometry = Geometry {
        tile_size: cut.tile,
        patches_per_side: cut.side,
        grid_sizes: cut.grids.to_vec(),
        max_tiles: Some(cut.most_tiles),
        rounds_kept_length: true,
        video_newline: VideoNewline::OneToken,
    };
    let (expected, features) = cut.plan(size);
    let packing = geometry.pack(height, width);
    assert_eq!(packing, expected, "{height}x{width}");
    let Packing::AnyResolution { tiles, .. } = packing else { panic!("a picture alone is tiled") };
    assert_eq!(geometry.feature_count(&packing, 1 + tiles.0 * tiles.1), features);
    // A strip may be thinner than a patch; then only the tile with the whole image shows it.
    assert!((1..=geometry.most_features()).contains(&features), "{height}x{width}");
    let place = geometry.place(height, width);
    assert_eq!(place.grid, (tiles.0 * cut.tile, tiles.1 * cut.tile));
    for (grid, scaled, origin) in
        [(place.grid.0, place.scaled.0, place.origin.0), (place.grid.1, place.scaled.1, place.origin.1)]
    {
        assert!(scaled >= 1 && origin + scaled <= grid, "{height}x{width}: {place:?}");
    }
}
