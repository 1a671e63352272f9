//! Some columns of a matrix, such as the outputs of one of several products that were computed as one.

use std::ops::Range;

/// A range of columns of contiguous rows.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    rows: &'a [f32], // [rows, stride]
    stride: usize,
    first: usize,
    count: usize,
}

impl<'a> Columns<'a> {
    /// Selects `columns` of `rows`, each of which has `stride` numbers.
    ///
    /// # Panics
    /// If `columns` is empty or exceeds `stride`, or the rows are not whole.
    pub fn new(rows: &'a [f32], stride: usize, columns: Range<usize>) -> Self {
        assert!(
            stride > 0 && rows.len().is_multiple_of(stride),
            "{} numbers in rows of {stride}",
            rows.len()
        );
        assert!(columns.start < columns.end && columns.end <= stride, "columns {columns:?} of {stride}");
        Self { rows, stride, first: columns.start, count: columns.len() }
    }

    /// Selects all columns of rows of `count` numbers.
    ///
    /// # Panics
    /// If `count` is 0 or the rows are not whole.
    pub fn all(rows: &'a [f32], count: usize) -> Self {
        Self::new(rows, count, 0..count)
    }

    /// Returns the same columns of some of the rows.
    ///
    /// # Panics
    /// If `rows` is out of range.
    #[must_use]
    pub fn part(self, rows: Range<usize>) -> Self {
        Self { rows: &self.rows[rows.start * self.stride..rows.end * self.stride], ..self }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows.len() / self.stride
    }

    /// Returns the number of selected columns.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Iterates over the selected columns of each row.
    pub(crate) fn iter(self) -> impl Iterator<Item = &'a [f32]> {
        self.rows.chunks_exact(self.stride).map(move |row| &row[self.first..self.first + self.count])
    }
}
