//! Products of rows with weights that are floats, which become f32 first where they are not.

use crate::{
    aligned::Aligned,
    isa::Simd,
    micro::{PANEL, Panel, multiply_packed},
    narrow::{Narrow, Widen, multiply_few},
    rows::Group,
    task::Part,
};

/// Inputs that are multiplied before the next group of rows has its turn with the same panel: 64 KiB of a panel, which
/// stay in the second-level cache beside the rows.
const INPUTS_AT_ONCE: usize = 512;

/// The same for weights that are widened first, when one group of rows is all: 16 KiB, which stay in the first level.
const WIDENED_AT_ONCE: usize = 128;

/// How many inputs before they have their turn weights are asked for.
const AHEAD: usize = 32;

/// Adds the products with `weights`, all panels that there are, to `sums` `[panels][rows][PANEL]`.
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

/// The same with weights `bits` of floats that become f32 first.
pub(crate) fn widen<S: Simd, N: Narrow>(
    (simd, kind): (S, N),
    bits: &[[u16; PANEL]],
    part: &Part<'_, Group<'_>>,
    sums: &mut [[f32; PANEL]],
) {
    let (input, one_group) = (part.groups[0].size(), part.groups.len() == 1);
    let panel = |index| &bits[(part.first_panel + index) * input..];
    // Two vectors of sums for each row, and two of weights.
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

/// Adds to `sums` `[rows][PANEL]` the products of all rows with a part of a panel, that from input `start` on.
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
