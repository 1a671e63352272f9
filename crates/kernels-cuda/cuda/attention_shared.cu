// Causal attention of a few queries each of several sequences to a stretch of 512 positions that all of these have in
// common: its keys and values are loaded to a multiprocessor once for all of them.
//
// attend_shared_16, _32, _64, _80, _128: for head sizes up to that number. The parameters are those of
// `attend_split_*` (attention_split.cu) without `out`, with three more after `tile_rows`:
//   stretches    the number of stretches in `partial`
//   groups       u32 [grid.x][4]: a stretch, where its members begin in `members`, the number of members, and 0; a
//                group without members has no work
//   members      u32: tiles whose sequences have the same blocks in the stretch, and all of whose queries see all of
//                it; 128 / tile_rows at most
// Grid (groups, K), blocks of 256 threads, 768 * stride bytes of dynamic shared memory, with the stride of
// `attend_paged_*`.
//
// What it writes to `partial` and `extremes` has the bits that `attend_split_*` would write.

#include "attention_stretches.cuh"

namespace attention {

// Tiles of keys and values in shared memory. For heads of 64 numbers and more, the registers of a block leave no room
// for another one, so that a multiprocessor has no other use for the memory of the third tile.
constexpr unsigned SHARED_STAGES = 3;

template <unsigned SIZE>
__device__ __forceinline__ void attend_shared(const Stretches &stretches, const Step &step, uint4 group,
                                              const unsigned *members, float scale) {
    using S = Shape<SIZE, 1, 8, 1>;
    DYNAMIC_SHARED(bf16, shared);
    const unsigned stretch = group.x, head = blockIdx.y, rows = group.z * stretches.tile_rows;
    if (rows == 0) {
        return;
    }
    members += group.y;
    const auto queries_of = [&](unsigned row) {
        return QueryTile(step, step.tiles[members[row / stretches.tile_rows]], head);
    };
    PagedSource source(step, queries_of(0), head);
    const unsigned first = stretch * (STRETCH / KEYS), after = first + STRETCH / KEYS;
    // The queries are loaded first, so that they do not wait for keys.
    bf16 *const last_stage = shared + (SHARED_STAGES - 1) * S::STAGE;
    begin_queries<S>(last_stage, rows, step.size, [&](unsigned row) {
        row = min(row, rows - 1);
        const QueryTile queries = queries_of(row);
        // Tiles may have fewer rows than others; the rows loaded in place of the missing ones are not written.
        const unsigned own = min(row % stretches.tile_rows, queries.rows() - 1);
        return step.projections + queries.place(own, step.row_stride);
    });
    using Tiles = Stream<S, PagedSource, SHARED_STAGES>;
    Tiles stream(shared, source, first, after, after * KEYS);
    Queries<S> loaded;
    end_queries<S, Tiles::AHEAD>(loaded, last_stage);
    // All rows see the whole stretch.
    Sight<S> sight;
#pragma unroll
    for (unsigned index = 0; index < S::ROW_TILES * 2; index++) {
        sight.last[index / 2][index % 2] = ~0u;
    }
    sight.all = ~0u;
    sight.any = S::first_row() < rows ? ~0u : 0;
    Attended<S> attended;
    attended.clear();
    for (unsigned index = first; index < after; index++) {
        attend<S>(attended, loaded, stream.next(), index * KEYS, sight, scale * LOG2_E);
    }
    attended.finish_sums();
    write_stretch<S>(stretches, attended, rows, step.size, [&](unsigned row) {
        const unsigned own = row % stretches.tile_rows;
        const unsigned tile = members[row / stretches.tile_rows];
        return own < queries_of(row).rows() ? stretches.row(tile, head, step.kv_heads, stretch) + own : NO_ROW;
    });
}

}  // namespace attention

#define ATTEND_SHARED(SIZE)                                                                                   \
    BOUNDED_KERNEL(attend_shared_##SIZE, 256, 1,                                                              \
                   (float *partial, float *extremes, unsigned tile_rows, unsigned stretches,                  \
                    const uint4 *groups, const unsigned *members, const bf16 *projections,                    \
                    unsigned row_stride, const bf16 *keys, const bf16 *values, const unsigned *tables,        \
                    const uint4 *chunks, const uint4 *tiles, unsigned heads, unsigned kv_heads, unsigned size, \
                    float scale)) {                                                                           \
        attention::attend_shared<SIZE>(                                                                       \
            {partial, extremes, stretches, tile_rows},                                                        \
            {projections, row_stride, keys, values, tables, chunks, tiles, heads, kv_heads, size},            \
            groups[blockIdx.x], members, scale);                                                              \
    }

ATTEND_SHARED(16)
ATTEND_SHARED(32)
ATTEND_SHARED(64)
ATTEND_SHARED(80)
ATTEND_SHARED(128)
