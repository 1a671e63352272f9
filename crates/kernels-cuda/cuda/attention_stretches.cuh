// Partial results of attention to stretches of the positions, until they are joined.

#pragma once

#include "attention_paged.cuh"

namespace attention {

// The partial results of all stretches (see attention_split.cu), and the rows of a tile in them.
struct Stretches {
    float *partial, *extremes;
    unsigned count, tile_rows;

    // The index, among all rows of the partial results, of the first row of a tile for a KV head and a stretch.
    __device__ __forceinline__ size_t row(unsigned tile, unsigned head, unsigned kv_heads,
                                          unsigned stretch) const {
        return ((static_cast<size_t>(tile) * kv_heads + head) * count + stretch) * tile_rows;
    }
};

// The index of a row without partial results.
constexpr size_t NO_ROW = ~static_cast<size_t>(0);

// Writes the partial results of the first `rows` rows of the block. `row_of(row)` returns the row's index among those
// of the stretches, or `NO_ROW`.
template <class S, class RowOf>
__device__ __forceinline__ void write_stretch(const Stretches &stretches, const Attended<S> &attended,
                                              unsigned rows, unsigned size, const RowOf &row_of) {
    write_rows<S>(
        attended, rows, size,
        [&](unsigned row) -> float * {
            const size_t own = row_of(row);
            return own == NO_ROW ? nullptr : stretches.partial + own * size;
        },
        [](float *place, float left, float right) {
            *reinterpret_cast<float2 *>(place) = make_float2(left, right);
        });
    const unsigned lane = threadIdx.x % LANES;
    // Warps that share rows hold the same values, and so do the four lanes of a row.
    if (threadIdx.x / LANES % S::SHARERS != 0 || lane % 4 != 0) {
        return;
    }
#pragma unroll
    for (unsigned index = 0; index < S::ROW_TILES * 2; index++) {
        const unsigned tile = index / 2, half = index % 2;
        const unsigned row = S::first_row() + tile * 16 + half * 8 + lane / 4;
        const size_t own = row < rows ? row_of(row) : NO_ROW;
        if (own != NO_ROW) {
            *reinterpret_cast<float2 *>(stretches.extremes + own * 2) =
                make_float2(attended.highest[tile][half], attended.sum[tile][half]);
        }
    }
}

}  // namespace attention
