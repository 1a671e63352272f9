// Causal attention of a few queries to long contexts, which blocks divide into stretches of 512 positions.
//
// attend_split_16, _32, _64, _80, _128: for head sizes up to that number, with three tiles of keys and values in shared
// memory; attend_split_128_2: with two. The parameters are those of `attend_paged_*` (attention_prefill.cu), but a tile
// has at most 16 / (H / K) positions, and its last number is the number of stretches, from 0 on, that are left to
// `attend_shared_*`. There are three more after `out`:
//   partial      f32 [tiles][K][stretches][tile_rows][D]: the sums of weighted values of each stretch
//   extremes     f32 [tiles][K][stretches][tile_rows][2]: the highest score and the sum of the weights
//   tile_rows    the rows of the tile with the most positions, of which each has H / K
// Grid (tiles, K, stretches), with enough stretches for the longest context; blocks of 128 threads, 256 * stride
// bytes of dynamic shared memory for each tile of keys and values, with the stride of `attend_paged_*`. Results of
// contexts of one stretch are written directly to `out`.
//
// join_stretches joins the stretches of the longer contexts in order.
//   out, partial, extremes, chunks, tiles, heads, kv_heads, size, scale: as above
//   stretches    as in the grid above
// Grid (tiles, K, tile_rows), blocks of 128 threads, no dynamic shared memory.
//
// The results have the bits of `attend_paged_*`.

#include "attention_stretches.cuh"

namespace attention {

// Rows of queries in a tile, at most.
constexpr unsigned SPLIT_ROWS = 16;

// STAGES is the number of tiles of keys and values in shared memory. Few blocks run here, and each waits for memory the
// longer, the less it has requested. For heads of 128 numbers, three tiles take 96 KiB, which all GPUs have, but which
// a multiprocessor of some has only once. The order of sums is the same with two tiles.
template <unsigned SIZE, unsigned STAGES>
__device__ __forceinline__ void attend_split(bf16 *out, const Stretches &stretches, const Step &step,
                                             float scale) {
    // All warps compute the weights of the same keys, which takes less time than reading memory, and each has its own
    // columns of values.
    using S = Shape<SIZE, 1, 4, 4>;
    static_assert(S::ROWS == SPLIT_ROWS, "a tile is the rows of one warp");
    DYNAMIC_SHARED(bf16, shared);
    const uint4 tile = step.tiles[blockIdx.x];
    const QueryTile queries(step, tile, blockIdx.y);
    const unsigned first_key = blockIdx.z * STRETCH, end = queries.end();
    if (first_key >= end || blockIdx.z < tile.w) {
        return;
    }
    PagedSource source(step, queries, blockIdx.y);
    const unsigned first = first_key / KEYS, after = (min(end, first_key + STRETCH) + KEYS - 1) / KEYS;
    // The queries are loaded first, so that they do not wait for keys.
    bf16 *const last_stage = shared + (STAGES - 1) * S::STAGE;
    begin_queries<S>(last_stage, queries.rows(), step.size,
                     [&](unsigned row) { return step.projections + queries.place(row, step.row_stride); });
    using Tiles = Stream<S, PagedSource, STAGES>;
    Tiles stream(shared, source, first, after, end);
    Queries<S> loaded;
    end_queries<S, Tiles::AHEAD>(loaded, last_stage);
    const Sight<S> sight = see_up_to_itself<S>(queries);
    Attended<S> attended;
    attended.clear();
    for (unsigned index = first; index < after; index++) {
        attend<S>(attended, loaded, stream.next(), index * KEYS, sight, scale * LOG2_E);
    }
    attended.finish_sums();
    if (end <= STRETCH) {
        write_out<S>(out, attended, queries, step.heads);
    } else {
        const size_t first_row = stretches.row(blockIdx.x, blockIdx.y, step.kv_heads, blockIdx.z);
        write_stretch<S>(stretches, attended, queries.rows(), step.size,
                         [&](unsigned row) { return first_row + row; });
    }
}

}  // namespace attention

#define ATTEND_SPLIT(NAME, SIZE, STAGES)                                                                   \
    BOUNDED_KERNEL(attend_split_##NAME, 128, 3,                                                            \
                   (bf16 *out, float *partial, float *extremes, unsigned tile_rows,                       \
                    const bf16 *projections, unsigned row_stride, const bf16 *keys, const bf16 *values,    \
                    const unsigned *tables, const uint4 *chunks, const uint4 *tiles, unsigned heads,       \
                    unsigned kv_heads, unsigned size, float scale)) {                                      \
        attention::attend_split<SIZE, STAGES>(                                                             \
            out, {partial, extremes, gridDim.z, tile_rows},                                                \
            {projections, row_stride, keys, values, tables, chunks, tiles, heads, kv_heads, size}, scale); \
    }

ATTEND_SPLIT(16, 16, 3)
ATTEND_SPLIT(32, 32, 3)
ATTEND_SPLIT(64, 64, 3)
ATTEND_SPLIT(80, 80, 3)
ATTEND_SPLIT(128, 128, 3)
ATTEND_SPLIT(128_2, 128, 2)

BOUNDED_KERNEL(join_stretches, 128, 1,
               (bf16 *out, float *partial, float *extremes, unsigned count, const uint4 *chunks,
                const uint4 *tiles, unsigned heads, unsigned kv_heads, unsigned size, float scale)) {
    using namespace attention;
    const Step step = {nullptr, 0, nullptr, nullptr, nullptr, chunks, tiles, heads, kv_heads, size};
    const QueryTile queries(step, tiles[blockIdx.x], blockIdx.y);
    const unsigned row = blockIdx.z, column = threadIdx.x, end = queries.end();
    if (end <= STRETCH || row >= queries.rows() || column >= size) {
        return;
    }
    const Stretches stretches = {partial, extremes, count, gridDim.z};
    const size_t first = stretches.row(blockIdx.x, blockIdx.y, kv_heads, 0) + row;
    float2 extreme = reinterpret_cast<const float2 *>(extremes)[first];
    float value = partial[first * size + column];
#pragma unroll 4
    for (unsigned stretch = 1; stretch < (end + STRETCH - 1) / STRETCH; stretch++) {
        const size_t next = first + static_cast<size_t>(stretch) * stretches.tile_rows;
        const float2 later = reinterpret_cast<const float2 *>(extremes)[next];
        const Joint joint(extreme.x, later.x, scale * LOG2_E);
        extreme = make_float2(joint.highest, joint.join(extreme.y, later.y));
        value = joint.join(value, partial[next * size + column]);
    }
    const float factor = 1.0f / extreme.y;
    out[queries.place(row, static_cast<size_t>(heads) * size) + column] = to_bf16(value * factor);
}
