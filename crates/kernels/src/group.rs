//! Groups: a few query rows that attend to blocks of keys and values together.

use crate::{
    aligned::Aligned,
    cache::{BLOCK_SIZE, Heads, panels},
    isa::{LANES, Simd},
    micro::{MOST_ROWS, PANEL, Panel, multiply_packed, multiply_plain},
    rows::group_sizes,
    softmax::State,
};

/// The keys and values of one head in one block.
pub(crate) struct Block<'a> {
    /// The position of its first key.
    pub(crate) start: usize,
    pub(crate) keys: &'a [f32],
    pub(crate) values: &'a [f32],
    /// The keys and values of the next block, to be prefetched; empty if this is the last.
    pub(crate) later: (&'a [f32], &'a [f32]),
}

/// One query of one head.
pub(crate) struct Row<'a> {
    pub(crate) query: &'a [f32],
    /// How many keys it sees, counted from the beginning of the sequence.
    pub(crate) visible: usize,
}

/// As many rows as a kernel processes at once, with their sums so far. Rows that see less of a block come before
/// those that see more of it.
pub(crate) struct Group {
    rows: usize,
    queries: Vec<f32>,  // [D][rows]
    sums: Aligned<f32>, // [panels of D][rows][columns of the panel]
    visible: [usize; MOST_ROWS],
    state: State,
}

/// Splits `rows`, which have attended to no keys yet, into as few groups as possible.
pub(crate) fn groups<S: Simd>(heads: Heads, mut rows: &[Row<'_>]) -> Vec<Group> {
    let sizes = group_sizes(rows.len(), S::ROWS);
    let mut next = |count| rows.split_off(..count).expect("groups hold no more than there is");
    sizes.map(|count| Group::new(heads, next(count))).collect()
}

/// Returns new groups of the `count` rows of `groups` from row `first` on, with their state so far.
pub(crate) fn part<S: Simd>(groups: &[Group], first: usize, count: usize) -> Vec<Group> {
    let mut rows = groups.iter().flat_map(|group| (0..group.rows).map(move |row| (group, row))).skip(first);
    group_sizes(count, S::ROWS).map(|count| Group::taken(count, rows.by_ref().take(count))).collect()
}

impl Group {
    /// Packs the queries of `rows`, scaled by `1 / sqrt(D)`.
    fn new(heads: Heads, rows: &[Row<'_>]) -> Self {
        let scale = (1.0 / (heads.size as f64).sqrt()) as f32;
        let mut group = Self::empty(rows.len(), (heads.size, heads.wide()));
        for (index, row) in rows.iter().enumerate() {
            for (place, float) in group.queries[index..].iter_mut().step_by(rows.len()).zip(row.query) {
                *place = float * scale;
            }
            group.visible[index] = row.visible;
        }
        group
    }

    /// Copies `count` rows, at least one, out of other groups.
    fn taken<'a>(count: usize, rows: impl Iterator<Item = (&'a Self, usize)>) -> Self {
        let mut rows = rows.peekable();
        let (first, _) = rows.peek().expect("a group has rows");
        let mut group = Self::empty(count, (first.queries.len() / first.rows, first.wide()));
        for (to, (other, from)) in rows.enumerate() {
            let queries = other.queries[from..].iter().step_by(other.rows);
            group.queries[to..].iter_mut().step_by(count).zip(queries).for_each(|(to, from)| *to = *from);
            for (panel, width) in panels(group.wide()) {
                let own = &mut group.sums[panel * count + to * width..][..width];
                own.copy_from_slice(&other.sums[panel * other.rows + from * width..][..width]);
            }
            group.visible[to] = other.visible[from];
            group.state.take(to, &other.state, from);
        }
        group
    }

    fn empty(rows: usize, (size, wide): (usize, usize)) -> Self {
        let sums = Aligned::zeros(wide * rows);
        Self { rows, queries: vec![0.0; size * rows], sums, visible: [0; MOST_ROWS], state: State::new() }
    }

    /// Returns the number of sums of a row: the head size, padded to whole vectors.
    fn wide(&self) -> usize {
        self.sums.len() / self.rows
    }

    /// Attends to a block: adds its values, weighted by the softmax of their scores, to the sums of each row.
    pub(crate) fn attend<S: Simd>(&mut self, simd: S, block: &Block<'_>) {
        let start = block.start;
        let visible = &self.visible[..self.rows];
        let first = visible.partition_point(|visible| *visible <= start);
        if first == self.rows {
            return;
        }
        let mut scores = [[0.0; PANEL]; MOST_ROWS];
        let scores = &mut scores[..self.rows];
        multiply_packed(simd, Panel::new(block.keys, block.later.0), &self.queries, scores);
        // Slots beyond the end of the sequence hold data of other sequences, and 0 times that may be NaN.
        let limits = visible.iter().map(|visible| (visible.saturating_sub(start)).min(BLOCK_SIZE));
        for (scores, limit) in scores.iter_mut().zip(limits) {
            scores[limit..].fill(f32::NEG_INFINITY);
        }
        let corrections = self.state.step(simd, first, &mut scores[first..]);
        self.correct(first, &corrections);
        // Rows that see equally many keys of the block are processed together; keys that a row does not see add
        // nothing.
        let mut row = first;
        while row < self.rows {
            let limit = (self.visible[row] - start).min(BLOCK_SIZE);
            let alike = self.visible[row..self.rows].iter();
            let alike = alike.take_while(|visible| (**visible - start).min(BLOCK_SIZE) == limit).count();
            self.add_values(simd, row, &scores[row..row + alike], (block, limit));
            row += alike;
        }
    }

    /// Adds the first `limit` values of the block, times `weights`, to the sums of the rows from `row` on.
    fn add_values<S: Simd>(
        &mut self,
        simd: S,
        row: usize,
        weights: &[[f32; PANEL]],
        (block, limit): (&Block<'_>, usize),
    ) {
        for (first, width) in panels(self.wide()) {
            let steps = &block.values[first * BLOCK_SIZE..][..limit * width];
            let later = block.later.1.get(first * BLOCK_SIZE..).unwrap_or_default();
            let sums = &mut self.sums[first * self.rows + row * width..][..weights.len() * width];
            if width == PANEL {
                let panel = Panel::<PANEL>::new(steps, later);
                multiply_plain(simd, panel, weights, sums.as_chunks_mut().0);
            } else {
                let panel = Panel::<LANES>::new(steps, later);
                multiply_plain(simd, panel, weights, sums.as_chunks_mut().0);
            }
        }
    }

    /// Multiplies the sums of the rows from `first` on by `corrections`, which the softmax returned.
    fn correct(&mut self, first: usize, corrections: &[f32; MOST_ROWS]) {
        let wide = self.wide();
        for (row, correction) in (first..self.rows).zip(corrections).filter(|(_, factor)| **factor != 1.0) {
            for (panel, width) in panels(wide) {
                let sums = &mut self.sums[panel * self.rows + row * width..][..width];
                sums.iter_mut().for_each(|sum| *sum *= correction);
            }
        }
    }

    /// Divides the sums of each row by the total of its weights and writes the result to the next of `outputs`.
    pub(crate) fn finish<'a>(&self, outputs: impl Iterator<Item = &'a mut [f32]>) {
        let wide = self.wide();
        for (row, output) in (0..self.rows).zip(outputs) {
            let total = self.state.total(row);
            for (panel, width) in panels(wide) {
                let sums = &self.sums[panel * self.rows + row * width..][..width];
                for (output, sum) in output[panel..].iter_mut().zip(sums) {
                    *output = sum / total;
                }
            }
        }
    }
}
