// Attention of a tile of queries to tiles of keys on tensor cores, with an online softmax.
//
// A warp holds rows of queries in registers, 16 to a row tile. Keys and values pass through shared memory, `KEYS`
// positions at a time; later ones are being copied while these are multiplied. Of a row tile, a lane holds rows lane
// / 4 and lane / 4 + 8 (its two halves) in the layout of `multiply_16x8x16`.
//
// The result of a row has the same bits in every kernel and whatever else is computed: keys are processed in order,
// in tiles counted from position 0, and keys that a row does not see add exact zeros to it. Sums of products are
// written as `fmaf`, so that no compiler contracts them in one kernel and not in another.

#pragma once

#include "portable.cuh"

namespace attention {

constexpr unsigned LANES = 32;
constexpr unsigned ALL_LANES = 0xffffffff;
// Keys of a tile: their scores take 32 registers for each row tile.
constexpr unsigned KEYS = 64;
constexpr float LOG2_E = 1.4426950408889634f;

__device__ __forceinline__ float minus_infinity() {
    return __uint_as_float(0xff800000);
}

// Rows of `SIZE` numbers in shared memory, of which blocks of 8 x 8 are read without bank conflicts: by a stride that
// is an odd multiple of 16 bytes, or by permuting the 16-byte chunks of a row where that saves the padding.
template <unsigned SIZE>
struct Rows {
    static constexpr unsigned CHUNKS = SIZE / 8;
    static constexpr bool PERMUTED = CHUNKS % 8 == 0;
    static constexpr unsigned STRIDE = PERMUTED ? SIZE : SIZE + 8;

    // The index of the first of the 8 numbers of a chunk.
    __device__ __forceinline__ static unsigned place(unsigned row, unsigned chunk) {
        return row * STRIDE + (PERMUTED ? chunk ^ row % 8 : chunk) * 8;
    }
};

// How a block divides its work: each warp has `ROW_TILES` x 16 rows. `SHARERS` warps have the same rows, each with
// its part of the columns of the values.
template <unsigned SIZE_, unsigned ROW_TILES_, unsigned WARPS_, unsigned SHARERS_>
struct Shape {
    static constexpr unsigned SIZE = SIZE_, ROW_TILES = ROW_TILES_, WARPS = WARPS_, SHARERS = SHARERS_;
    static constexpr unsigned THREADS = WARPS * LANES;
    static constexpr unsigned WARP_ROWS = ROW_TILES * 16;
    static constexpr unsigned ROWS = WARPS / SHARERS * WARP_ROWS;
    // One load of values has sixteen columns.
    static constexpr unsigned COLUMN_TILES = SIZE / 16;
    static constexpr unsigned OWN_COLUMN_TILES = (COLUMN_TILES + SHARERS - 1) / SHARERS;
    static constexpr unsigned STAGE = 2 * KEYS * Rows<SIZE>::STRIDE;
    // The queries are loaded through the last stage.
    static_assert(ROWS <= 2 * KEYS, "the queries do not fit");

    __device__ __forceinline__ static unsigned first_row() {
        return threadIdx.x / LANES / SHARERS * WARP_ROWS;
    }

    __device__ __forceinline__ static unsigned column_tile(unsigned own) {
        return SHARERS == 1 ? own : own * SHARERS + threadIdx.x / LANES % SHARERS;
    }

    __device__ __forceinline__ static bool has_column_tile(unsigned own) {
        return COLUMN_TILES % SHARERS == 0 || column_tile(own) < COLUMN_TILES;
    }
};

template <class S>
using Queries = unsigned[S::ROW_TILES][S::SIZE / 16][4];

template <class S>
using Scores = float[S::ROW_TILES][KEYS / 8][4];

// Which positions the rows see.
template <class S>
struct Sight {
    unsigned last[S::ROW_TILES][2];  // the last position that each row of the lane sees
    unsigned all;                    // every row of the warp sees all positions before this one
    unsigned any;                    // no row of the warp sees this position or a later one
};

// The state of the rows: the highest score, and relative to it the sums of weights and of weighted values.
template <class S>
struct Attended {
    float highest[S::ROW_TILES][2];
    float sum[S::ROW_TILES][2];
    float values[S::ROW_TILES][S::OWN_COLUMN_TILES * 2][4];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (unsigned tile = 0; tile < S::ROW_TILES; tile++) {
            highest[tile][0] = highest[tile][1] = minus_infinity();
            sum[tile][0] = sum[tile][1] = 0.0f;
#pragma unroll
            for (unsigned column = 0; column < S::OWN_COLUMN_TILES * 2; column++) {
                values[tile][column][0] = values[tile][column][1] = 0.0f;
                values[tile][column][2] = values[tile][column][3] = 0.0f;
            }
        }
    }

    __device__ __forceinline__ void divide_by_sums() {
#pragma unroll
        for (unsigned tile = 0; tile < S::ROW_TILES; tile++) {
            const float factors[2] = {1.0f / sum[tile][0], 1.0f / sum[tile][1]};
#pragma unroll
            for (unsigned index = 0; index < S::OWN_COLUMN_TILES * 2 * 4; index++) {
                values[tile][index / 4][index % 4] *= factors[index % 4 / 2];
            }
        }
    }

    // Sums the weights over the four lanes that share a row.
    __device__ __forceinline__ void finish_sums() {
#pragma unroll
        for (unsigned tile = 0; tile < S::ROW_TILES; tile++) {
#pragma unroll
            for (unsigned half = 0; half < 2; half++) {
                sum[tile][half] += __shfl_xor_sync(ALL_LANES, sum[tile][half], 1);
                sum[tile][half] += __shfl_xor_sync(ALL_LANES, sum[tile][half], 2);
            }
        }
    }
};

// Starts copying `S::ROWS` queries, each `size` numbers at `source(row)`, or zeros from row `count` on, as one group
// of copies.
template <class S, class Source>
__device__ __forceinline__ void begin_queries(bf16 *shared, unsigned count, unsigned size, const Source &source) {
    using Layout = Rows<S::SIZE>;
    for (unsigned index = threadIdx.x; index < S::ROWS * Layout::CHUNKS; index += S::THREADS) {
        const unsigned row = index / Layout::CHUNKS, chunk = index % Layout::CHUNKS;
        const bool valid = row < count && chunk * 8 < size;
        copy_async_16(shared + Layout::place(row, chunk), source(row) + chunk * 8, valid);
    }
    commit_copies();
}

// Waits for queries after which `later` groups of copies were started, and loads them to registers.
template <class S, unsigned later>
__device__ __forceinline__ void end_queries(Queries<S> &queries, const bf16 *shared) {
    wait_for_copies<later>();
    __syncthreads();
    const unsigned lane = threadIdx.x % LANES;
#pragma unroll
    for (unsigned tile = 0; tile < S::ROW_TILES; tile++) {
        const unsigned row = S::first_row() + tile * 16 + lane % 16;
#pragma unroll
        for (unsigned step = 0; step < S::SIZE / 16; step++) {
            load_matrices(queries[tile][step], shared + Rows<S::SIZE>::place(row, step * 2 + lane / 16));
        }
    }
}

// Loads queries: `begin_queries`, then `end_queries`.
template <class S, class Source>
__device__ __forceinline__ void load_queries(Queries<S> &queries, bf16 *shared, unsigned count, unsigned size,
                                             const Source &source) {
    begin_queries<S>(shared, count, size, source);
    end_queries<S, 0>(queries, shared);
}

// Copies keys and values tile by tile to shared memory, which has room for STAGES tiles: while one is used, the
// others are being copied. The last stage is free until `next` is called.
template <class S, class Source, unsigned STAGES = 2>
class Stream {
public:
    // Groups of copies in flight after construction.
    static constexpr unsigned AHEAD = STAGES - 1;

    // Streams the tiles from `tile` to before `end`; positions from `count` on are taken as zeros.
    __device__ __forceinline__ Stream(bf16 *shared, Source &source, unsigned tile, unsigned end,
                                      unsigned count)
        : shared(shared), source(source), tile(tile), end(end), count(count) {
        source.look_up(tile);
        begin_copy(0);
#pragma unroll
        for (unsigned to = 1; to < AHEAD; to++) {
            begin_next(to);
        }
    }

    // Returns the keys of the next tile, whose values lie `KEYS` rows after them. All threads of the block must call
    // it.
    __device__ __forceinline__ const bf16 *next() {
        const bf16 *keys = shared + stage * S::STAGE;
        wait_for_copies<AHEAD - 1>();
        // All threads see what was copied, and all are done with the previous stage.
        __syncthreads();
        begin_next(stage == 0 ? AHEAD : stage - 1);
        stage = stage == AHEAD ? 0 : stage + 1;
        return keys;
    }

private:
    // After the last tile, commits an empty group where groups are counted.
    __device__ __forceinline__ void begin_next(unsigned to) {
        tile++;
        if (tile < end) {
            begin_copy(to);
        } else if (AHEAD > 1) {
            commit_copies();
        }
    }

    __device__ __forceinline__ void begin_copy(unsigned to) {
        using Layout = Rows<S::SIZE>;
        constexpr unsigned COPIES = KEYS * Layout::CHUNKS;
        // Where whole rows of one half of the tile are copied at a time, a thread always has the same chunk of a row,
        // and the half is a compile-time constant.
        constexpr bool WHOLE_ROWS =
            S::THREADS % Layout::CHUNKS == 0 && KEYS / 2 % (S::THREADS / Layout::CHUNKS) == 0;
        bf16 *keys = shared + to * S::STAGE, *values = keys + KEYS * Layout::STRIDE;
#pragma unroll
        for (unsigned first = 0; first < COPIES; first += S::THREADS) {
            const unsigned before = WHOLE_ROWS ? first / Layout::CHUNKS : 0;
            const unsigned index = WHOLE_ROWS ? threadIdx.x : first + threadIdx.x;
            if (!WHOLE_ROWS && COPIES % S::THREADS != 0 && index >= COPIES) {
                break;
            }
            const unsigned row = before + index / Layout::CHUNKS, chunk = index % Layout::CHUNKS;
            const unsigned half = (WHOLE_ROWS ? before : row) / (KEYS / 2);
            const unsigned place = Layout::place(row, chunk);
            const size_t from = source.place(row, half) + chunk * 8;
            // An address that is not valid is not read, wherever it points.
            const bool valid = tile * KEYS + row < count && chunk * 8 < source.size;
            copy_async_16(keys + place, source.keys + from, valid);
            copy_async_16(values + place, source.values + from, valid);
        }
        commit_copies();
        if (tile + 1 < end) {
            source.look_up(tile + 1);
        }
    }

    bf16 *shared;
    Source &source;
    unsigned tile, end, count, stage = 0;
};

template <class S>
__device__ __forceinline__ void multiply_by_keys(Scores<S> &scores, const Queries<S> &queries,
                                                 const bf16 *keys) {
    const unsigned lane = threadIdx.x % LANES, row = lane / 16 * 8 + lane % 8, half = lane / 8 % 2;
#pragma unroll
    for (unsigned tile = 0; tile < S::ROW_TILES; tile++) {
#pragma unroll
        for (unsigned index = 0; index < KEYS / 8 * 4; index++) {
            scores[tile][index / 4][index % 4] = 0.0f;
        }
    }
#pragma unroll
    for (unsigned step = 0; step < S::SIZE / 16; step++) {
#pragma unroll
        for (unsigned pair = 0; pair < KEYS / 16; pair++) {
            unsigned loaded[4];
            load_matrices(loaded, keys + Rows<S::SIZE>::place(pair * 16 + row, step * 2 + half));
            const unsigned low[2] = {loaded[0], loaded[1]}, high[2] = {loaded[2], loaded[3]};
#pragma unroll
            for (unsigned tile = 0; tile < S::ROW_TILES; tile++) {
                multiply_16x8x16(scores[tile][pair * 2], queries[tile][step], low);
                multiply_16x8x16(scores[tile][pair * 2 + 1], queries[tile][step], high);
            }
        }
    }
}

template <class S>
__device__ __forceinline__ void hide(Scores<S> &scores, unsigned first_key, const Sight<S> &sight) {
    const unsigned own_key = first_key + threadIdx.x % 4 * 2;
#pragma unroll
    for (unsigned tile = 0; tile < S::ROW_TILES; tile++) {
#pragma unroll
        for (unsigned index = 0; index < KEYS / 8 * 4; index++) {
            const unsigned key = own_key + index / 4 * 8 + index % 2;
            if (key > sight.last[tile][index % 4 / 2]) {
                scores[tile][index / 4][index % 4] = minus_infinity();
            }
        }
    }
}

// Turns scores into weights and rescales the state of the rows. `scale` is the scale of the scores times log2(e).
template <class S>
__device__ __forceinline__ void weigh(Scores<S> &scores, Attended<S> &attended, float scale) {
#pragma unroll
    for (unsigned tile = 0; tile < S::ROW_TILES; tile++) {
#pragma unroll
        for (unsigned half = 0; half < 2; half++) {
            const float before = attended.highest[tile][half];
            float highest = before;
#pragma unroll
            for (unsigned column = 0; column < KEYS / 8; column++) {
                const float (&pair)[4] = scores[tile][column];
                highest = fmaxf(highest, fmaxf(pair[half * 2], pair[half * 2 + 1]));
            }
            highest = fmaxf(highest, __shfl_xor_sync(ALL_LANES, highest, 1));
            highest = fmaxf(highest, __shfl_xor_sync(ALL_LANES, highest, 2));
            // A row that has seen no key yet must not subtract infinity from infinity.
            const float base = highest == minus_infinity() ? 0.0f : highest;
            // Exactly 1 while the highest score does not change.
            const float fading = power_of_two((before - base) * scale);
            const float offset = base * scale;
            float sum = 0.0f;
#pragma unroll
            for (unsigned column = 0; column < KEYS / 8; column++) {
                float (&pair)[4] = scores[tile][column];
                pair[half * 2] = power_of_two(fmaf(pair[half * 2], scale, -offset));
                pair[half * 2 + 1] = power_of_two(fmaf(pair[half * 2 + 1], scale, -offset));
                sum += pair[half * 2];
                sum += pair[half * 2 + 1];
            }
            attended.highest[tile][half] = highest;
            attended.sum[tile][half] = fmaf(attended.sum[tile][half], fading, sum);
#pragma unroll
            for (unsigned column = 0; column < S::OWN_COLUMN_TILES * 2; column++) {
                attended.values[tile][column][half * 2] *= fading;
                attended.values[tile][column][half * 2 + 1] *= fading;
            }
        }
    }
}

template <class S>
__device__ __forceinline__ void add_values(Attended<S> &attended, const Scores<S> &weights,
                                           const bf16 *values) {
    const unsigned lane = threadIdx.x % LANES;
#pragma unroll
    for (unsigned step = 0; step < KEYS / 16; step++) {
        unsigned rows[S::ROW_TILES][4];
#pragma unroll
        for (unsigned tile = 0; tile < S::ROW_TILES; tile++) {
            const float (&left)[4] = weights[tile][step * 2], (&right)[4] = weights[tile][step * 2 + 1];
            rows[tile][0] = pack_bf16(left[0], left[1]);
            rows[tile][1] = pack_bf16(left[2], left[3]);
            rows[tile][2] = pack_bf16(right[0], right[1]);
            rows[tile][3] = pack_bf16(right[2], right[3]);
        }
#pragma unroll
        for (unsigned own = 0; own < S::OWN_COLUMN_TILES; own++) {
            if (!S::has_column_tile(own)) {
                break;
            }
            unsigned loaded[4];
            const unsigned chunk = S::column_tile(own) * 2 + lane / 16;
            load_matrices_transposed(loaded, values + Rows<S::SIZE>::place(step * 16 + lane % 16, chunk));
            const unsigned low[2] = {loaded[0], loaded[1]}, high[2] = {loaded[2], loaded[3]};
#pragma unroll
            for (unsigned tile = 0; tile < S::ROW_TILES; tile++) {
                multiply_16x8x16(attended.values[tile][own * 2], rows[tile], low);
                multiply_16x8x16(attended.values[tile][own * 2 + 1], rows[tile], high);
            }
        }
    }
}

// Attends to the tile at `keys` (as returned by `Stream::next`), whose first position is `first_key`.
template <class S>
__device__ __forceinline__ void attend(Attended<S> &attended, const Queries<S> &queries, const bf16 *keys,
                                       unsigned first_key, const Sight<S> &sight, float scale) {
    if (first_key >= sight.any) {
        return;
    }
    Scores<S> scores;
    multiply_by_keys<S>(scores, queries, keys);
    if (first_key + KEYS > sight.all) {
        hide<S>(scores, first_key, sight);
    }
    weigh<S>(scores, attended, scale);
    add_values<S>(attended, scores, keys + KEYS * Rows<S::SIZE>::STRIDE);
}

// How two parts of a row's attention are joined: a value becomes `fmaf(later value, later, earlier value *
// earlier)`, where `earlier` and `later` are factors.
struct Joint {
    float highest, earlier, later;

    __device__ __forceinline__ Joint(float highest_earlier, float highest_later, float scale)
        : highest(fmaxf(highest_earlier, highest_later)),
          earlier(power_of_two((highest_earlier - highest) * scale)),
          later(power_of_two((highest_later - highest) * scale)) {}

    __device__ __forceinline__ float join(float one, float other) const {
        return fmaf(other, later, one * earlier);
    }
};

// Calls `write(place, left, right)` for each pair of neighbouring columns, of `size` in all, in the warp's rows
// before row `count` of the block. `row_place(row)` returns where a row begins, or null if it is not wanted.
template <class S, class Place, class Write>
__device__ __forceinline__ void write_rows(const Attended<S> &attended, unsigned count, unsigned size,
                                           const Place &row_place, const Write &write) {
    const unsigned lane = threadIdx.x % LANES;
#pragma unroll
    for (unsigned tile = 0; tile < S::ROW_TILES; tile++) {
#pragma unroll
        for (unsigned half = 0; half < 2; half++) {
            const unsigned row = S::first_row() + tile * 16 + half * 8 + lane / 4;
            if (row >= count) {
                continue;
            }
            auto *const place = row_place(row);
            if (place == nullptr) {
                continue;
            }
#pragma unroll
            for (unsigned own = 0; own < S::OWN_COLUMN_TILES * 2; own++) {
                const unsigned column = S::column_tile(own / 2) * 16 + own % 2 * 8 + lane % 4 * 2;
                if (column < size) {
                    const float (&values)[4] = attended.values[tile][own];
                    write(place + column, values[half * 2], values[half * 2 + 1]);
                }
            }
        }
    }
}

}  // namespace attention
