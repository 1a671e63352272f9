// Causal attention of ragged chunks through block tables, many queries at a time.
//
// attend_paged_16, _32, _64, _80, _128: for head sizes up to that number.
//   out          bf16 [T][H * D]
//   projections  bf16 [T][row_stride]: a row's first H * D numbers are its queries, rotated
//   row_stride   a multiple of 8
//   keys, values bf16 [blocks][K][32][D]: those of the chunks are already written
//   tables       u32: the cache blocks of each sequence, one after the other
//   chunks       u32 [chunks][4]: start (position in the sequence), length, first row among the T, and where its
//                table begins in `tables`
//   tiles        u32 [grid.x][4]: a chunk, the first position within it, the number of positions (128 / (H / K) at
//                most), and 0. Tiles at the highest positions should be listed first.
//   heads        H, a multiple of kv_heads with a quotient of at most 16
//   kv_heads     K
//   size         D, a multiple of 8
//   scale        1 / sqrt(D)
// Grid (tiles, K), blocks of 256 threads, 512 * stride bytes of dynamic shared memory, where stride is the size of
// the kernel for 64 and 128 and 8 more than it for the others.

#include "attention_paged.cuh"

namespace attention {

// Joins the earlier stretches of positions with the next one.
template <class S>
__device__ __forceinline__ void join(Attended<S> &earlier, const Attended<S> &later, float scale) {
#pragma unroll
    for (unsigned index = 0; index < S::ROW_TILES * 2; index++) {
        const unsigned tile = index / 2, half = index % 2;
        const Joint joint(earlier.highest[tile][half], later.highest[tile][half], scale);
        earlier.highest[tile][half] = joint.highest;
        earlier.sum[tile][half] = joint.join(earlier.sum[tile][half], later.sum[tile][half]);
#pragma unroll
        for (unsigned column = 0; column < S::OWN_COLUMN_TILES * 2; column++) {
            float (&one)[4] = earlier.values[tile][column];
            const float (&other)[4] = later.values[tile][column];
            one[half * 2] = joint.join(one[half * 2], other[half * 2]);
            one[half * 2 + 1] = joint.join(one[half * 2 + 1], other[half * 2 + 1]);
        }
    }
}

template <unsigned SIZE>
__device__ __forceinline__ void attend_paged(bf16 *out, const Step &step, float scale) {
    // One row tile per warp, so that the state of a stretch and that of all earlier ones fit in its registers.
    using S = Shape<SIZE, 1, 8, 1>;
    DYNAMIC_SHARED(bf16, shared);
    const QueryTile queries(step, step.tiles[blockIdx.x], blockIdx.y);
    PagedSource source(step, queries, blockIdx.y);
    const unsigned tiles = (queries.end() + KEYS - 1) / KEYS;
    Stream<S, PagedSource> stream(shared, source, 0, tiles, queries.end());
    Queries<S> loaded;
    load_queries<S>(loaded, shared + S::STAGE, queries.rows(), step.size,
                    [&](unsigned row) { return step.projections + queries.place(row, step.row_stride); });
    const Sight<S> sight = see_up_to_itself<S>(queries);
    scale *= LOG2_E;
    Attended<S> earlier, attended;
    for (unsigned first = 0; first < tiles; first += STRETCH / KEYS) {
        attended.clear();
        for (unsigned index = first; index < min(first + STRETCH / KEYS, tiles); index++) {
            attend<S>(attended, loaded, stream.next(), index * KEYS, sight, scale);
        }
        attended.finish_sums();
        if (first == 0) {
            earlier = attended;
        } else {
            join<S>(earlier, attended, scale);
        }
    }
    write_out<S>(out, earlier, queries, step.heads);
}

}  // namespace attention

#define ATTEND_PAGED(SIZE)                                                                               \
    BOUNDED_KERNEL(attend_paged_##SIZE, 256, 1,                                                          \
                   (bf16 *out, const bf16 *projections, unsigned row_stride, const bf16 *keys,          \
                    const bf16 *values, const unsigned *tables, const uint4 *chunks, const uint4 *tiles, \
                    unsigned heads, unsigned kv_heads, unsigned size, float scale)) {                    \
        attention::attend_paged<SIZE>(                                                                   \
            out, {projections, row_stride, keys, values, tables, chunks, tiles, heads, kv_heads, size},  \
            scale);                                                                                      \
    }

ATTEND_PAGED(16)
ATTEND_PAGED(32)
ATTEND_PAGED(64)
ATTEND_PAGED(80)
ATTEND_PAGED(128)
