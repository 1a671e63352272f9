//! Products of rounded rows with quantised weights: exact sums over 32 inputs, added up in one chain.
//!
//! In each block of 32 inputs the products are summed as integers, which is exact in any order. That sum, as f32,
//! times the product of both scales is one step of the output's chain of fused multiply-adds.

use crate::{
    aligned::Aligned,
    isa::{Kernel, LANES, Simd},
    micro::{PANEL, vectors},
    quantise::BLOCK,
    rounded::{QUAD, QUADS, Rounded},
    rows::Rows,
    task::Part,
};

/// The eight-bit codes of a block: four inputs in a word, the first in the lowest bits.
pub(crate) type Eight = [[u32; PANEL]; QUADS];

/// The four-bit codes of a block: the lower bits of each byte as in [`Eight`], the upper bits for the four inputs
/// after those.
pub(crate) type Four = [[u32; PANEL]; QUADS / 2];

/// Blocks of a panel that one group of rows multiplies before the next group does: 32 KiB of codes.
const BLOCKS_AT_ONCE: usize = 32;

/// Blocks that are unpacked at a time if there is only one group of rows: 8 KiB.
const UNPACKED_AT_ONCE: usize = 8;

/// The prefetch distance of codes in bytes.
const AHEAD_BYTES: usize = 4096;

/// Consecutive blocks of a panel.
#[derive(Clone, Copy)]
struct Panel<'a> {
    codes: &'a [Eight],
    /// The scales as bits of f16, for each block and column. May extend beyond the blocks of `codes`.
    scales: &'a [[u16; PANEL]],
    /// The codes to prefetch while each block is multiplied. May be shorter than `codes`.
    later: &'a [Eight],
}

/// The codes of all panels of a weight.
#[derive(Clone, Copy)]
pub(crate) enum Codes<'a> {
    /// Codes are integers plus 128.
    Eight(&'a [Eight]),
    /// Codes are indices into the table, which holds the levels plus 128.
    Four(&'a [Four], [u8; 16]),
}

/// Adds the products to `sums` `[panels][rows][PANEL]`. `codes` and `scales` are those of the whole weight.
pub(crate) fn multiply<S: Simd>(
    simd: S,
    (codes, scales): (Codes<'_>, &[[u16; PANEL]]),
    part: &Part<'_, Rounded>,
    sums: &mut [[f32; PANEL]],
) {
    let blocks = part.groups[0].scales.len() / part.groups[0].rows();
    let one_group = part.groups.len() == 1;
    let step = if one_group { blocks } else { BLOCKS_AT_ONCE };
    let mut tile = Aligned::zeros(match codes {
        Codes::Eight(_) => 0,
        Codes::Four(..) if one_group => UNPACKED_AT_ONCE * BLOCK / QUAD * PANEL,
        Codes::Four(..) => BLOCKS_AT_ONCE * BLOCK / QUAD * PANEL,
    });
    let tile: &mut [Eight] = tile.as_chunks_mut().0.as_chunks_mut().0;
    let unpacked = tile.len();
    for start in (0..blocks).step_by(step) {
        let count = step.min(blocks - start);
        for (panel, sums) in sums.chunks_exact_mut(part.rows).enumerate() {
            let first = (part.first_panel + panel) * blocks + start;
            match codes {
                Codes::Eight(codes) => {
                    let later = codes.get(first + AHEAD_BYTES / size_of::<Eight>()..).unwrap_or_default();
                    let panel =
                        Panel { codes: &codes[first..first + count], scales: &scales[first..], later };
                    multiply_groups(simd, panel, (part.groups, start), sums);
                }
                Codes::Four(codes, table) => {
                    for done in (0..count).step_by(unpacked) {
                        let first = first + done;
                        let tile = &mut tile[..unpacked.min(count - done)];
                        simd.vectorize(Unpack { codes: &codes[first..], table: &table, tile });
                        let panel = Panel { codes: tile, scales: &scales[first..], later: &[] };
                        multiply_groups(simd, panel, (part.groups, start + done), sums);
                    }
                }
            }
        }
    }
}

/// Adds to `sums` `[rows][PANEL]` the products of all rows with a part of a panel that begins at block `start`.
fn multiply_groups<S: Simd>(
    simd: S,
    panel: Panel<'_>,
    (groups, start): (&[Rounded], usize),
    sums: &mut [[f32; PANEL]],
) {
    let mut row = 0;
    for group in groups {
        let rows = group.rows();
        let sums = &mut sums[row..row + rows];
        match rows {
            1 => few::<S, 1>(simd, panel, (group, start), sums),
            2 => few::<S, 2>(simd, panel, (group, start), sums),
            3 => few::<S, 3>(simd, panel, (group, start), sums),
            4 => few::<S, 4>(simd, panel, (group, start), sums),
            5 => few::<S, 5>(simd, panel, (group, start), sums),
            6 => few::<S, 6>(simd, panel, (group, start), sums),
            7 => few::<S, 7>(simd, panel, (group, start), sums),
            8 => few::<S, 8>(simd, panel, (group, start), sums),
            more => unreachable!("{more} rounded rows in one group"),
        }
        row += rows;
    }
}

fn few<S: Simd, const ROWS: usize>(
    simd: S,
    panel: Panel<'_>,
    (group, start): (&Rounded, usize),
    sums: &mut [[f32; PANEL]],
) {
    simd.vectorize(Dots::<ROWS> {
        panel,
        quads: &group.quads.as_chunks().0.as_chunks().0[start..],
        number_sums: &group.sums.as_chunks().0[start..],
        scales: &group.scales.as_chunks().0[start..],
        sums: sums.first_chunk_mut().expect("there are this many rows"),
    });
}

/// Adds to `sums[row][column]` the products of the rows and the panel, block by block.
struct Dots<'a, const ROWS: usize> {
    panel: Panel<'a>,
    quads: &'a [[[u32; ROWS]; QUADS]],
    number_sums: &'a [[i32; ROWS]],
    scales: &'a [[f32; ROWS]],
    sums: &'a mut [[f32; PANEL]; ROWS],
}

impl<const ROWS: usize> Dots<'_, ROWS> {
    /// Multiplies the columns of `VECTORS` vectors, starting at vector `first`.
    #[inline(always)]
    fn columns<S: Simd, const VECTORS: usize>(&mut self, simd: S, first: usize) {
        let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
        for (sums, floats) in sums.iter_mut().zip(&*self.sums) {
            for (sum, floats) in sums.iter_mut().zip(vectors::<_, VECTORS, _>(floats, first)) {
                *sum = simd.load(floats);
            }
        }
        let rows = self.quads.iter().zip(self.number_sums).zip(self.scales);
        let weights = self.panel.codes.iter().zip(self.panel.scales);
        for (index, ((codes, scales), ((quads, number_sums), row_scales))) in weights.zip(rows).enumerate() {
            if let Some(later) = self.panel.later.get(index) {
                for step in later {
                    vectors::<_, VECTORS, _>(step, first).iter().for_each(|line| simd.prefetch(line));
                }
            }
            let mut dots = [[simd.dots(0); VECTORS]; ROWS];
            for (dots, sum) in dots.iter_mut().zip(number_sums) {
                *dots = [simd.dots(*sum); VECTORS];
            }
            for (words, numbers) in codes.iter().zip(quads) {
                let codes = vectors::<_, VECTORS, _>(words, first).each_ref().map(|words| simd.codes(words));
                for (dots, numbers) in dots.iter_mut().zip(numbers) {
                    for (dot, codes) in dots.iter_mut().zip(codes) {
                        *dot = simd.dot(codes, *numbers, *dot);
                    }
                }
            }
            let scales = vectors::<_, VECTORS, _>(scales, first).each_ref().map(|bits| simd.widen_f16(bits));
            for ((sums, dots), row_scale) in sums.iter_mut().zip(dots).zip(row_scales) {
                let row_scale = simd.splat(*row_scale);
                for ((sum, dot), scale) in sums.iter_mut().zip(dots).zip(scales) {
                    *sum = simd.fma(simd.floats(dot), simd.mul(scale, row_scale), *sum);
                }
            }
        }
        for (sums, floats) in sums.iter().zip(&mut *self.sums) {
            for (sum, floats) in sums.iter().zip(&mut floats.as_chunks_mut().0[first..]) {
                simd.store(*sum, floats);
            }
        }
    }
}

impl<const ROWS: usize> Kernel for Dots<'_, ROWS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        if S::DOT_VECTORS == 2 {
            self.columns::<S, 2>(simd, 0);
        } else {
            self.columns::<S, 1>(simd, 0);
            self.columns::<S, 1>(simd, 1);
        }
    }
}

/// Expands codes of four bits to codes of eight bits.
struct Unpack<'a> {
    codes: &'a [Four],
    table: &'a [u8; 16],
    tile: &'a mut [Eight],
}

impl Kernel for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (index, (tile, codes)) in self.tile.iter_mut().zip(self.codes).enumerate() {
            if let Some(later) = self.codes.get(index + AHEAD_BYTES / size_of::<Four>()) {
                for step in later {
                    step.as_chunks::<LANES>().0.iter().for_each(|line| simd.prefetch(line));
                }
            }
            for (steps, words) in tile.as_chunks_mut().0.iter_mut().zip(codes) {
                let [first, second]: &mut [[u32; PANEL]; 2] = steps;
                let places = first.as_chunks_mut().0.iter_mut().zip(second.as_chunks_mut().0);
                for ((first, second), words) in places.zip(words.as_chunks().0) {
                    simd.look_up(words, self.table, [first, second]);
                }
            }
        }
    }
}
