//! Some columns of rows, as several products that were made as one leave them.

use std::ops::Range;

/// The same columns of rows that lie one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    rows: &'a [f32], // [rows, stride]
    stride: usize,
    first: usize,
    count: usize,
}

impl<'a> Columns<'a> {
    /// `columns` of `rows`, of which each has `stride` numbers.
    ///
    /// # Panics
    /// When there are none, rows are not whole or have no such columns.
    pub fn new(rows: &'a [f32], stride: usize, columns: Range<usize>) -> Self {
        assert!(
            stride > 0 && rows.len().is_multiple_of(stride),
            "{} numbers in rows of {stride}",
            rows.len()
        );
        assert!(columns.start < columns.end && columns.end <= stride, "columns {columns:?} of {stride}");
        Self { rows, stride, first: columns.start, count: columns.len() }
    }

    /// All columns of rows of `count` numbers.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn all(rows: &'a [f32], count: usize) -> Self {
        Self::new(rows, count, 0..count)
    }

    /// The same columns of some of the rows.
    ///
    /// # Panics
    /// When there are no such rows.
    #[must_use]
    pub fn part(self, rows: Range<usize>) -> Self {
        Self { rows: &self.rows[rows.start * self.stride..rows.end * self.stride], ..self }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows.len() / self.stride
    }

    /// How many columns there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Every row.
    pub(crate) fn iter(self) -> impl Iterator<Item = &'a [f32]> {
        self.rows.chunks_exact(self.stride).map(move |row| &row[self.first..self.first + self.count])
    }
}
