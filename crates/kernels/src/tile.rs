//! Tiles: query rows that traverse blocks of keys and values together and read the blocks that they share once.

use crate::{
    attention::Run,
    cache::{BLOCK_SIZE, PagedCache},
    columns::Columns,
    group::{Block, Group, Row, groups, part},
    isa::Simd,
};

/// How many keys a query sees, counted from the beginning of its sequence.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sight {
    /// The first query is at this position and sees the keys up to its own; each query after it sees one more.
    Causal(usize),
    /// All queries see this many keys.
    All(usize),
}

impl Sight {
    /// Returns the sight of the queries from index `count` on.
    pub(crate) fn after(self, count: usize) -> Self {
        match self {
            Self::Causal(start) => Self::Causal(start + count),
            Self::All(_) => self,
        }
    }

    /// Returns the number of keys that query `index` sees.
    pub(crate) fn visible(self, index: usize) -> usize {
        match self {
            Self::Causal(start) => start + index + 1,
            Self::All(count) => count,
        }
    }
}

/// The queries of some positions of one sequence for one KV head.
struct Piece<'a> {
    block_table: &'a [u32],
    sight: Sight,
    /// `[positions, H * D]`: all heads, of which only those of the tile are read.
    queries: Columns<'a>,
    /// For each position, the outputs of the tile's heads, `[group, D]`.
    outputs: Vec<&'a mut [f32]>,
}

/// Pieces for the same KV head: one unit of work.
pub(crate) struct Tile<'a> {
    cache: &'a PagedCache,
    head: usize,
    /// Pieces whose sequences begin with the same blocks are adjacent.
    pieces: Vec<Piece<'a>>,
}

impl<'a> Tile<'a> {
    /// Returns a tile of `runs` for each KV head. Runs whose sequences begin with the same blocks must be adjacent.
    pub(crate) fn of_each_head(cache: &'a PagedCache, runs: Vec<Run<'a>>) -> Vec<Self> {
        let heads = cache.heads;
        let tile = |head| Self { cache, head, pieces: Vec::with_capacity(runs.len()) };
        let mut tiles: Vec<Self> = (0..heads.kv_heads).map(tile).collect();
        for Run { block_table, sight, queries, attended } in runs {
            for tile in &mut tiles {
                let outputs = Vec::with_capacity(queries.rows());
                tile.pieces.push(Piece { block_table, sight, queries, outputs });
            }
            for position in attended.chunks_mut(heads.heads * heads.size) {
                let own = position.chunks_mut(heads.group() * heads.size);
                let pieces = tiles.iter_mut().filter_map(|tile| tile.pieces.last_mut());
                pieces.zip(own).for_each(|(piece, own)| piece.outputs.push(own));
            }
        }
        tiles
    }

    /// Computes the attention of all pieces and writes it to their outputs.
    pub(crate) fn run<S: Simd>(mut self, simd: S) {
        let heads = self.cache.heads;
        let own = self.head * heads.group() * heads.size..(self.head + 1) * heads.group() * heads.size;
        let mut rows = Vec::with_capacity(self.pieces.iter().map(|piece| piece.rows(heads.group())).sum());
        for piece in &self.pieces {
            for (position, queries) in piece.queries.iter().enumerate() {
                let visible = piece.sight.visible(position);
                let queries = queries[own.clone()].chunks_exact(heads.size);
                rows.extend(queries.map(|query| Row { query, visible }));
            }
        }
        let groups = groups::<S>(heads, &rows);
        let walk = Walk { cache: self.cache, head: self.head };
        walk.go_on(simd, &mut self.pieces, groups, 0);
    }
}

impl Piece<'_> {
    /// Returns the number of rows, `group` for each position.
    fn rows(&self, group: usize) -> usize {
        self.outputs.len() * group
    }

    /// Returns the blocks in which all its rows see every key.
    fn settled(&self) -> &[u32] {
        settled(self.block_table, self.sight)
    }
}

/// Returns the blocks of a sequence in which all queries see every key, if `sight` is that of the first query.
pub(crate) fn settled(block_table: &[u32], sight: Sight) -> &[u32] {
    &block_table[..sight.visible(0) / BLOCK_SIZE]
}

/// Returns the number of blocks that both begin with.
pub(crate) fn common(one: &[u32], other: &[u32]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// The keys and values that a tile traverses.
struct Walk<'a> {
    cache: &'a PagedCache,
    head: usize,
}

impl Walk<'_> {
    /// Processes the blocks of `pieces`, whose rows are those of `groups`, from block `first` to their ends, and
    /// writes the outputs. The pieces share all blocks before `first`, which are already processed.
    fn go_on<S: Simd>(&self, simd: S, pieces: &mut [Piece<'_>], mut groups: Vec<Group>, first: usize) {
        let heads = self.cache.heads;
        let [one, .., other] = &*pieces else {
            let Some(piece) = pieces.first_mut() else { return };
            let seen = piece.sight.visible(piece.outputs.len() - 1).div_ceil(BLOCK_SIZE);
            self.take_in(simd, &mut groups, (&piece.block_table[..seen], first));
            let mut outputs =
                piece.outputs.iter_mut().flat_map(|outputs| outputs.chunks_exact_mut(heads.size));
            groups.iter().for_each(|group| group.finish(&mut outputs));
            return;
        };
        // The pieces are sorted, so what the first and the last begin with is shared by all between them.
        let shared = common(one.settled(), other.settled());
        self.take_in(simd, &mut groups, (&one.block_table[..shared], first));
        let mut row = 0;
        let goes_along = |one: &Piece<'_>, other: &Piece<'_>| {
            let next = one.settled().get(shared);
            next.is_some() && next == other.settled().get(shared)
        };
        for pieces in pieces.chunk_by_mut(goes_along) {
            let rows = pieces.iter().map(|piece| piece.rows(heads.group())).sum();
            self.go_on(simd, pieces, part::<S>(&groups, row, rows), shared);
            row += rows;
        }
    }

    /// Makes `groups` attend to `blocks` of a sequence, from index `first` on.
    fn take_in<S: Simd>(&self, simd: S, groups: &mut [Group], (blocks, first): (&[u32], usize)) {
        let blocks = blocks.iter().enumerate().skip(first);
        let mut blocks = blocks
            .map(|(index, block)| (index * BLOCK_SIZE, self.cache.head(*block as usize, self.head)))
            .peekable();
        while let Some((start, (keys, values))) = blocks.next() {
            let mut later = blocks.peek().map(|(_, later)| *later).unwrap_or_default();
            for group in &mut *groups {
                // The first group prefetches the next block for all of them.
                let block = Block { start, keys, values, later: std::mem::take(&mut later) };
                group.attend(simd, &block);
            }
        }
    }
}
