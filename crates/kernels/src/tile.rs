//! Queries of neighbouring positions, and the heads that share keys, over the blocks of their sequence.

use std::ops::Range;

use crate::{
    aligned::Aligned,
    cache::{BLOCK_SIZE, PagedCache, panels},
    columns::Columns,
    isa::{LANES, Simd},
    micro::{MOST_ROWS, PANEL, Panel, multiply_packed, multiply_plain},
    rows::group_sizes,
    softmax::State,
};

/// How many keys a query sees, counted from the sequence's beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sight {
    /// The query at this position and its own key; the queries after it one more each.
    Causal(usize),
    /// The same for all queries.
    All(usize),
}

impl Sight {
    /// What the query `count` further on sees, as the first one.
    pub(crate) fn after(self, count: usize) -> Self {
        match self {
            Self::Causal(start) => Self::Causal(start + count),
            Self::All(_) => self,
        }
    }

    /// Keys that query `index` sees.
    pub(crate) fn visible(self, index: usize) -> usize {
        match self {
            Self::Causal(start) => start + index + 1,
            Self::All(count) => count,
        }
    }
}

/// The queries of some positions for one head of keys: one piece of work.
pub(crate) struct Tile<'a> {
    pub(crate) cache: &'a PagedCache,
    pub(crate) block_table: &'a [u32],
    pub(crate) head: usize,
    pub(crate) sight: Sight,
    /// `[positions, H * D]`: all heads, of which only this tile's are read.
    pub(crate) queries: Columns<'a>,
    /// For each position what this tile's heads attend to, `[group, D]`.
    pub(crate) outputs: Vec<&'a mut [f32]>,
}

/// Keys and values of one head in one block.
struct Block<'a> {
    /// The position of its first key.
    start: usize,
    keys: &'a [f32],
    values: &'a [f32],
    /// Those of the block that comes next.
    later: (&'a [f32], &'a [f32]),
}

/// As many rows as a kernel takes at once. A row is one query of one head; rows that see less come first.
struct Group {
    rows: usize,
    queries: Vec<f32>,  // [D][rows]
    sums: Aligned<f32>, // [panels of D][rows][columns of the panel]
    visible: [usize; MOST_ROWS],
    state: State,
}

impl Tile<'_> {
    /// Attends.
    pub(crate) fn run<S: Simd>(mut self, simd: S) {
        let mut first = 0;
        let rows = self.outputs.len() * self.cache.heads.group();
        let mut groups: Vec<Group> = group_sizes(rows, S::ROWS)
            .map(|rows| {
                let group = self.group(first..first + rows);
                first += rows;
                group
            })
            .collect();
        let seen = self.sight.visible(self.outputs.len() - 1);
        let mut blocks = self.block_table[..seen.div_ceil(BLOCK_SIZE)]
            .iter()
            .map(|block| self.cache.head(*block as usize, self.head))
            .peekable();
        let mut start = 0;
        while let Some((keys, values)) = blocks.next() {
            let mut later = blocks.peek().copied().unwrap_or_default();
            for group in &mut groups {
                // The first group fetches what comes next for all of them.
                let block = Block { start, keys, values, later: std::mem::take(&mut later) };
                group.attend(simd, &block);
            }
            start += BLOCK_SIZE;
        }
        let mut first = 0;
        for group in &groups {
            self.finish(first, group);
            first += group.rows;
        }
    }

    /// Packs the queries of some rows, scaled.
    fn group(&self, rows: Range<usize>) -> Group {
        let heads = self.cache.heads;
        let scale = (1.0 / (heads.size as f64).sqrt()) as f32;
        let mut queries = vec![0.0; heads.size * rows.len()];
        let mut visible = [0; MOST_ROWS];
        for (row, visible) in rows.clone().zip(&mut visible) {
            let (position, member) = (row / heads.group(), row % heads.group());
            let start = (self.head * heads.group() + member) * heads.size;
            let query = &self.queries.row(position)[start..start + heads.size];
            for (place, float) in queries[row - rows.start..].iter_mut().step_by(rows.len()).zip(query) {
                *place = float * scale;
            }
            *visible = self.sight.visible(position);
        }
        let sums = Aligned::zeros(heads.wide() * rows.len());
        Group { rows: rows.len(), queries, sums, visible, state: State::new() }
    }

    /// Divides by the weights' sums and writes where the outputs are wanted; `first` is the group's first row.
    fn finish(&mut self, first: usize, group: &Group) {
        let heads = self.cache.heads;
        for row in 0..group.rows {
            let total = group.state.total(row);
            let (position, member) = ((first + row) / heads.group(), (first + row) % heads.group());
            let output = &mut self.outputs[position][member * heads.size..(member + 1) * heads.size];
            for (panel, width) in panels(heads.wide()) {
                let sums = &group.sums[panel * group.rows + row * width..][..width];
                for (output, sum) in output[panel..].iter_mut().zip(sums) {
                    *output = sum / total;
                }
            }
        }
    }
}

impl Group {
    /// Takes in a block.
    fn attend<S: Simd>(&mut self, simd: S, block: &Block<'_>) {
        let start = block.start;
        let visible = &self.visible[..self.rows];
        let first = visible.partition_point(|visible| *visible <= start);
        if first == self.rows {
            return;
        }
        let mut scores = [[0.0; PANEL]; MOST_ROWS];
        let scores = &mut scores[..self.rows];
        multiply_packed(simd, Panel::new(block.keys, block.later.0), &self.queries, scores);
        // What stands in a block beyond the sequence's end is another's, and even 0 times it may be no number.
        let limits = visible.iter().map(|visible| (visible.saturating_sub(start)).min(BLOCK_SIZE));
        for (scores, limit) in scores.iter_mut().zip(limits) {
            scores[limit..].fill(f32::NEG_INFINITY);
        }
        let corrections = self.state.step(simd, first, &mut scores[first..]);
        self.correct(first, &corrections);
        // Rows that see equally much of the block go together; nothing is added for a key that a row does not see.
        let mut row = first;
        while row < self.rows {
            let limit = (self.visible[row] - start).min(BLOCK_SIZE);
            let alike = self.visible[row..self.rows].iter();
            let alike = alike.take_while(|visible| (**visible - start).min(BLOCK_SIZE) == limit).count();
            self.add_values(simd, row, &scores[row..row + alike], (block, limit));
            row += alike;
        }
    }

    /// Adds the first `limit` values of the block by `weights` to the sums of the rows from `row` on.
    fn add_values<S: Simd>(
        &mut self,
        simd: S,
        row: usize,
        weights: &[[f32; PANEL]],
        (block, limit): (&Block<'_>, usize),
    ) {
        for (first, width) in panels(self.sums.len() / self.rows) {
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

    /// Multiplies the sums of the rows from `first` on by what the softmax found.
    fn correct(&mut self, first: usize, corrections: &[f32; MOST_ROWS]) {
        let wide = self.sums.len() / self.rows;
        for (row, correction) in (first..self.rows).zip(corrections).filter(|(_, factor)| **factor != 1.0) {
            for (panel, width) in panels(wide) {
                let sums = &mut self.sums[panel * self.rows + row * width..][..width];
                sums.iter_mut().for_each(|sum| *sum *= correction);
            }
        }
    }
}
