//! Rows packed into groups that a kernel processes at once.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::ONE_THREAD;

/// A few rows, interleaved as `[k][rows]`, so that a step of a product reads them in one place.
pub(crate) struct Group<'x> {
    /// The number of rows.
    pub(crate) rows: usize,
    /// The interleaved numbers of the rows.
    pub(crate) packed: Cow<'x, [f32]>,
}

/// Rows that are multiplied together.
pub(crate) trait Rows {
    /// Returns the number of rows.
    fn rows(&self) -> usize;
}

impl Rows for Group<'_> {
    fn rows(&self) -> usize {
        self.rows
    }
}

impl Group<'_> {
    /// Returns the length of a row.
    pub(crate) fn size(&self) -> usize {
        self.packed.len() / self.rows
    }
}

/// Returns the sizes of the fewest groups of at most `most` that hold `rows` rows; they differ by at most 1.
pub(crate) fn group_sizes(rows: usize, most: usize) -> impl Iterator<Item = usize> {
    let groups = rows.div_ceil(most);
    (0..groups).map(move |index| (index + 1) * rows / groups - index * rows / groups)
}

/// Splits the rows of `x` `[rows][size]` into the fewest runs of at most `most` rows, which differ by at most 1.
fn runs(x: &[f32], (size, most): (usize, usize)) -> Vec<&[f32]> {
    let mut rest = x;
    let sizes = group_sizes(x.len() / size, most);
    sizes.filter_map(|rows| rest.split_off(..rows * size)).collect()
}

/// Makes a group of each run of rows of `x` `[rows][size]`; `shape` is `(size, most)`. Processing a number costs
/// about as much as `worth` multiply-adds.
pub(crate) fn groups<'x, G: Send>(
    x: &'x [f32],
    shape: (usize, usize),
    worth: usize,
    make: impl Fn(&'x [f32]) -> G + Send + Sync,
) -> Vec<G> {
    let runs = runs(x, shape);
    if worth * x.len() < ONE_THREAD {
        runs.into_iter().map(make).collect()
    } else {
        runs.into_par_iter().map(make).collect()
    }
}

/// Packs the rows of `x` `[rows][size]` into groups of at most `most`.
pub(crate) fn pack(x: &[f32], (size, most): (usize, usize)) -> Vec<Group<'_>> {
    groups(x, (size, most), 2, |own| {
        let rows = own.len() / size;
        let packed = if rows == 1 { Cow::Borrowed(own) } else { Cow::Owned(interleave(own, size, rows)) };
        Group { rows, packed }
    })
}

/// Transposes `[rows][size]` to `[size][rows]`, `COLUMNS` columns at a time: what is written of them stays in the
/// cache meanwhile.
fn interleave(x: &[f32], size: usize, rows: usize) -> Vec<f32> {
    const COLUMNS: usize = 128;
    let mut packed = vec![0.0; x.len()];
    for (index, packed) in packed.chunks_mut(COLUMNS * rows).enumerate() {
        for (row, floats) in x.chunks_exact(size).enumerate() {
            let places = packed[row..].iter_mut().step_by(rows);
            for (place, float) in places.zip(&floats[index * COLUMNS..]) {
                *place = *float;
            }
        }
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_about_as_large_and_hold_all() {
        for (rows, most) in [(0, 3), (1, 14), (14, 14), (15, 14), (64, 14), (512, 3)] {
            let sizes: Vec<usize> = group_sizes(rows, most).collect();
            assert_eq!(sizes.iter().sum::<usize>(), rows);
            assert_eq!(sizes.len(), rows.div_ceil(most));
            let (least, largest) = (sizes.iter().min(), sizes.iter().max());
            assert!(largest.is_none_or(|largest| *largest <= most && largest - least.unwrap() <= 1));
        }
    }
}
