//! Products of rows with float weights, which are widened to f32 first if they have 16 bits.

use crate::{
    aligned::Aligned,
    isa::Simd,
    micro::{PANEL, Panel, multiply_packed},
    narrow::{Narrow, Widen, multiply_few},
    rows::Group,
    task::Part,
};

/// Inputs of a panel that one group of rows multiplies before the next group does: 64 KiB, which stay in the L2 cache
/// beside the rows.
const INPUTS_AT_ONCE: usize = 512;

/// Inputs that are widened at a time if there is only one group of rows: 16 KiB, which stay in the L1 cache.
const WIDENED_AT_ONCE: usize = 128;

/// The prefetch distance in inputs: 4 KiB.
const AHEAD: usize = 32;

/// Adds the products with `weights`, which hold all panels, to `sums` `[panels][rows][PANEL]`.
pub(crate) fn multiply<S: Simd>(
    simd: S,
    weights: &[[f32; PANEL]],
    part: &Part<'_, Group<'_>>,
    sums: &mut [[f32; PANEL]],
) {
    let input = part.groups[0].size();
    let step = if part.rows == 1 { input } else { INPUTS_AT_ONCE };
    for start in (0..input).step_by(step) {
        let inputs = start..input.min(start + step);
        for (panel, sums) in sums.chunks_exact_mut(part.rows).enumerate() {
            let first = (part.first_panel + panel) * input + start;
            let steps = &weights[first..first + inputs.len()];
            let panel = Panel { steps, later: weights.get(first + AHEAD..).unwrap_or_default() };
            multiply_groups(simd, panel, (part.groups, inputs.start), sums);
        }
    }
}

/// Adds the products with 16-bit float weights, whose `bits` hold all panels, to `sums` `[panels][rows][PANEL]`.
pub(crate) fn widen<S: Simd, N: Narrow>(
    (simd, kind): (S, N),
    bits: &[[u16; PANEL]],
    part: &Part<'_, Group<'_>>,
    sums: &mut [[f32; PANEL]],
) {
    let (input, one_group) = (part.groups[0].size(), part.groups.len() == 1);
    let panel = |index| &bits[(part.first_panel + index) * input..];
    // Each row needs two vectors of sums, and the weights need two.
    if one_group && 2 * (part.rows + 1) <= S::SUMS {
        return multiply_few((simd, kind), panel, (part.rows, &part.groups[0].packed), sums);
    }
    let step = if one_group { WIDENED_AT_ONCE } else { INPUTS_AT_ONCE };
    let mut tile = Aligned::zeros(step.min(input) * PANEL);
    let tile: &mut [[f32; PANEL]] = tile.as_chunks_mut().0;
    for start in (0..input).step_by(step) {
        let tile = &mut tile[..step.min(input - start)];
        for (index, sums) in sums.chunks_exact_mut(part.rows).enumerate() {
            simd.vectorize(Widen { panel: &panel(index)[start..], kind, tile });
            multiply_groups(simd, Panel { steps: tile, later: &[] }, (part.groups, start), sums);
        }
    }
}

/// Adds to `sums` `[rows][PANEL]` the products of all rows with a part of a panel that begins at input `start`.
fn multiply_groups<S: Simd>(
    simd: S,
    panel: Panel<'_, PANEL>,
    (groups, start): (&[Group<'_>], usize),
    sums: &mut [[f32; PANEL]],
) {
    let end = start + panel.steps.len();
    let mut row = 0;
    for group in groups {
        let x = &group.packed[start * group.rows..end * group.rows];
        multiply_packed(simd, panel, x, &mut sums[row..row + group.rows]);
        row += group.rows;
    }
}
