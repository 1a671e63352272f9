// Causal attention of ragged chunks through block tables: where queries, keys and values are, which positions a row
// sees, and how its result is written.

#pragma once

#include "attention.cuh"

namespace attention {

// Positions of a cache block.
constexpr unsigned BLOCK_SIZE = 32;
// Positions of a stretch, counted from position 0. The attention to each stretch is summed separately, and the sums
// are joined in order. Blocks may therefore share a long context, and a position's result is the same whether they do
// or not.
constexpr unsigned STRETCH = 512;

static_assert(STRETCH % KEYS == 0 && KEYS == 2 * BLOCK_SIZE, "a stretch is whole tiles, a tile two blocks");

// The arguments that all kernels for chunks have; see attention_prefill.cu for the shapes.
struct Step {
    const bf16 *projections;
    unsigned row_stride;
    const bf16 *keys, *values;
    const unsigned *tables;
    const uint4 *chunks;  // start, length, first row, first entry in `tables`
    const uint4 *tiles;   // chunk, first position within it, positions, stretches left to `attend_shared_*`
    unsigned heads, kv_heads, size;

    __device__ __forceinline__ unsigned group() const { return heads / kv_heads; }
};

// A tile of queries of one chunk, for one KV head. Row r is position r / group and query head r % group.
struct QueryTile {
    unsigned start;      // the position of row 0 in the sequence
    unsigned positions;  // the number of positions
    unsigned first_row;  // the row of the first position in the step
    unsigned group, first_head, size;
    const unsigned *table;

    __device__ __forceinline__ QueryTile(const Step &step, uint4 tile, unsigned head) {
        const uint4 chunk = step.chunks[tile.x];
        group = step.group();
        start = chunk.x + tile.y;
        positions = tile.z;
        first_row = chunk.z + tile.y;
        table = step.tables + chunk.w;
        first_head = head * group;
        size = step.size;
    }

    __device__ __forceinline__ unsigned rows() const { return positions * group; }

    // The number of positions that the last query sees.
    __device__ __forceinline__ unsigned end() const { return start + positions; }

    __device__ __forceinline__ unsigned position(unsigned row) const { return start + row / group; }

    // The index where a row begins in a matrix whose rows are `stride` long and begin with the heads.
    __device__ __forceinline__ size_t place(unsigned row, size_t stride) const {
        return (first_row + row / group) * stride + (first_head + row % group) * size;
    }
};

// Keys and values of one head of one sequence, `[blocks][K][32][D]`, for `Stream`.
struct PagedSource {
    const bf16 *keys, *values;
    unsigned size;

    __device__ __forceinline__ PagedSource(const Step &step, const QueryTile &tile, unsigned head)
        : keys(step.keys),
          values(step.values),
          size(step.size),
          table(tile.table),
          last((tile.end() - 1) / BLOCK_SIZE),
          kv_heads(step.kv_heads),
          head(head) {}

    // Reads the two blocks of a tile from the table, well before they are needed. The table may end after the last
    // block, which is therefore read in place of any later one; no positions lie there.
    __device__ __forceinline__ void look_up(unsigned tile) {
        low = __ldg(table + min(tile * 2, last));
        high = __ldg(table + min(tile * 2 + 1, last));
    }

    // The index where a row of the tile that was looked up begins; the row is in block `half` of the tile's two.
    __device__ __forceinline__ size_t place(unsigned row, unsigned half) const {
        const unsigned block = half == 0 ? low : high;
        return static_cast<size_t>(block * kv_heads + head) * (BLOCK_SIZE * size) + row % BLOCK_SIZE * size;
    }

private:
    const unsigned *table;
    unsigned last, kv_heads, head;
    unsigned low, high;
};

// The sight of rows that each see all positions up to their own.
template <class S>
__device__ __forceinline__ Sight<S> see_up_to_itself(const QueryTile &queries) {
    Sight<S> sight;
#pragma unroll
    for (unsigned index = 0; index < S::ROW_TILES * 2; index++) {
        const unsigned row = S::first_row() + index * 8 + threadIdx.x % LANES / 4;
        sight.last[index / 2][index % 2] = queries.position(row);
    }
    const unsigned first = S::first_row(), after = min(first + S::WARP_ROWS, queries.rows());
    sight.all = queries.position(first) + 1;
    sight.any = first < after ? queries.position(after - 1) + 1 : 0;
    return sight;
}

// Divides by the sums and writes to `out` `[T][H * D]`.
template <class S>
__device__ __forceinline__ void write_out(bf16 *out, Attended<S> &attended, const QueryTile &queries,
                                          unsigned heads) {
    attended.divide_by_sums();
    const unsigned rows = queries.rows(), size = queries.size;
    write_rows<S>(
        attended, rows, size,
        [&](unsigned row) { return out + queries.place(row, static_cast<size_t>(heads) * size); },
        [](bf16 *place, float left, float right) {
            *reinterpret_cast<unsigned *>(place) = pack_bf16(left, right);
        });
}

}  // namespace attention
