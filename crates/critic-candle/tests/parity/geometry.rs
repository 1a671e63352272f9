//! The reference's table of image sizes: grids, scaling, padding, kept and scaled patches, tokens.

use std::sync::Arc;

use critic_candle::{Geometry, Packing, VideoNewline};
use serde::Deserialize;

use crate::{
    golden::{case, checkpoint, path},
    runner::encode_raw,
};

#[derive(Deserialize)]
struct File {
    tables: Vec<Table>,
}

#[derive(Deserialize)]
struct Table {
    image_size: usize,
    patch_size: usize,
    aspect: String,
    pinpoints_hw: Vec<(usize, usize)>,
    rows: Vec<Vec<usize>>,
}

impl Table {
    fn geometry(&self, rounds_kept_length: bool) -> Geometry {
        Geometry {
            tile_size: self.image_size,
            patches_per_side: self.image_size / self.patch_size,
            grid_sizes: self.pinpoints_hw.clone(),
            max_tiles: self.aspect.strip_prefix("anyres_max_").and_then(|count| count.parse().ok()),
            rounds_kept_length,
            video_newline: VideoNewline::OneToken,
        }
    }
}

fn tables() -> Vec<Table> {
    let file: File = serde_json::from_slice(&std::fs::read(path("geometry.json")).unwrap()).unwrap();
    file.tables
}

#[test]
fn every_size_of_the_table_is_cut_as_the_reference_cuts_it() {
    let mut checked = 0;
    for table in tables() {
        let geometry = table.geometry(true);
        for row in &table.rows {
            let (height, width) = (row[0], row[1]);
            let place = geometry.place(height, width);
            let packing = geometry.pack(height, width);
            let Packing::AnyResolution { tiles, kept, output, .. } = packing else {
                panic!("one image is tiled")
            };
            let tokens = geometry.feature_count(&packing, 0);
            let got = [
                height,
                width,
                place.grid.0,
                place.grid.1,
                place.scaled.0,
                place.scaled.1,
                place.origin.0,
                place.origin.1,
                tiles.0 * tiles.1 + 1,
                kept.0,
                kept.1,
                output.0,
                output.1,
                tokens,
            ];
            assert_eq!(got, row[..14], "{height}x{width}");
            checked += 1;
        }
    }
    assert_eq!(checked, 800);
}

#[test]
fn the_native_truncation_differs_where_the_table_says_so() {
    let mut differing = 0;
    for table in tables() {
        let (rounding, native) = (table.geometry(true), table.geometry(false));
        for row in &table.rows {
            let differs = rounding.pack(row[0], row[1]) != native.pack(row[0], row[1]);
            assert_eq!(usize::from(differs), row[14], "{}x{}", row[0], row[1]);
            differing += row[14];
        }
    }
    // A known size where both differ, in case the table has none: 1880x2538 pixels (width x height).
    let table = &tables()[0];
    let count = |rounds| {
        let geometry = table.geometry(rounds);
        geometry.feature_count(&geometry.pack(2538, 1880), 0)
    };
    assert_eq!((count(false), count(true)), (7309, 7332), "{differing} sizes of the table differ");
}

#[test]
fn an_image_with_other_tiles_than_those_of_its_grid_is_refused() {
    let checkpoint = checkpoint("tiny56");
    let encoded = encode_raw(checkpoint.processor.as_ref(), &case("tiny56", "square"));
    let mut visual = encoded.visuals[0].clone();
    assert!(checkpoint.backend.model().features(&[&visual]).is_ok());
    let mut tiles = visual.tiles.as_ref().clone();
    tiles.pixels.extend_from_within(..tiles.size * tiles.size * 3);
    visual.tiles = Arc::new(tiles);
    let refused = checkpoint.backend.model().features(&[&visual]).unwrap_err().to_string();
    assert!(refused.contains("in a grid of"), "{refused}");
}
