// The common parts of products of few rows: how a block divides its work among warps, and how their sums become
// outputs.
//
// y [rows][outputs] = x W^T, where W [outputs][inputs] is far larger than everything else, so that the time is that
// of reading W once. A block computes 16 R outputs of up to 8 N rows at a time: 16 rows of W are one side of a
// tensor-core product, 8 rows of x the other. Its eight warps share the inputs: each warp has every eighth chunk of
// them, whatever N, R and the grid are. The order of each sum is therefore fixed, and a row of y has the same bits
// whatever other rows are computed. A block that is done with some outputs goes on to others until none are left:
// starting another block would take as long as reading a good part of its weights.

#pragma once

#include "activation.cuh"

// Warps of a block. A warp nearly always waits for memory; the number of warps that wait at once keeps memory busy.
constexpr unsigned WARPS = 8;
constexpr unsigned THREADS = 32 * WARPS;

// Rows of W in a tile, and rows of x in a tile.
constexpr unsigned TILE_OUTPUTS = 16;
constexpr unsigned TILE_ROWS = 8;

// Bits of `how`: ACCUMULATE adds to the contents of y, and FLOATS means that y is f32 rather than bf16.
constexpr unsigned ACCUMULATE = 1;
constexpr unsigned FLOATS = 2;

// Where plain products are written.
struct Outputs {
    void *y;           // [rows][outputs] bf16 or f32
    const float *bias; // [outputs] or null
    unsigned rows, outputs, how;
    // The first row and the first output that the block is computing.
    unsigned first_row, first_output;

    // Outputs of a tile.
    static constexpr unsigned OF_TILE = TILE_OUTPUTS;

    // The row of W, counted from `first_output`, that is row `half` * 8 + `row` of tile `tile`. Beyond the last row
    // of W it is the last one, and its products are not stored.
    __device__ __forceinline__ unsigned weight_row(int tile, int half, unsigned row) const {
        return min(tile * TILE_OUTPUTS + half * 8 + row, outputs - 1 - first_output);
    }

    // Writes the output of a row and a column, which is `sum(column of the tile, row of W)`.
    template <class Sum>
    __device__ __forceinline__ void store(unsigned row, unsigned column, unsigned of_tile, const Sum &sum) const {
        const float product = sum(of_tile, column);
        const size_t place = size_t(row) * outputs + column;
        if (how & FLOATS) {
            float *number = static_cast<float *>(y) + place;
            *number = how & ACCUMULATE ? *number + product : product;
        } else {
            bf16 *number = static_cast<bf16 *>(y) + place;
            *number = to_bf16(how & ACCUMULATE ? to_float(*number) + product : product);
        }
    }
};

// Where gated products are written: output i is `gated` of the products of rows i and `outputs` + i of W. Both are in
// the same tile, whose first eight rows are gates and whose last eight are the factors of these gates.
struct GatedOutputs {
    void *y;           // [rows][outputs] bf16
    const float *bias; // [2 outputs] or null
    unsigned rows, outputs, how; // how: the activation
    unsigned first_row, first_output;

    static constexpr unsigned OF_TILE = TILE_OUTPUTS / 2;

    __device__ __forceinline__ unsigned weight_row(int tile, int half, unsigned row) const {
        return min(tile * OF_TILE + row, outputs - 1 - first_output) + half * outputs;
    }

    // Products are rounded as where the gate is a separate kernel (activation.cu).
    template <class Sum>
    __device__ __forceinline__ void store(unsigned row, unsigned column, unsigned of_tile, const Sum &sum) const {
        const float gate = to_float(to_bf16(sum(of_tile, column)));
        const float factor = to_float(to_bf16(sum(of_tile + OF_TILE, column + outputs)));
        static_cast<bf16 *>(y)[size_t(row) * outputs + column] = to_bf16(gated(gate, factor, how));
    }
};

// The row of a tile that a lane reads, of W (and the row eight further down) as of x, and the quarter that it reads
// of what is read of a row at a time.
__device__ __forceinline__ unsigned row_of_lane() { return threadIdx.x % 32 / 4; }
__device__ __forceinline__ unsigned quarter_of_lane() { return threadIdx.x % 4; }

// Each warp's sums of a tile, in rows 20 numbers apart so that lanes write to 32 different banks.
template <int N>
using Parts = float[WARPS][TILE_ROWS * N][TILE_OUTPUTS + 4];

// Writes the outputs of a tile from `first_output` on: the bias plus the sums of the eight warps, in their order.
template <int N, class Places>
__device__ __forceinline__ void store_tile(const Places &outputs, unsigned first_output, const Parts<N> &parts) {
    for (unsigned index = threadIdx.x; index < Places::OF_TILE * TILE_ROWS * N; index += THREADS) {
        const unsigned row = index / Places::OF_TILE, column = index % Places::OF_TILE;
        const unsigned y_row = outputs.first_row + row, y_column = first_output + column;
        if (y_row >= outputs.rows || y_column >= outputs.outputs) continue;
        outputs.store(y_row, y_column, column, [&](unsigned of_tile, unsigned weight_row) {
            float sum = outputs.bias ? outputs.bias[weight_row] : 0.0f;
            for (unsigned warp = 0; warp < WARPS; warp++) sum += parts[warp][row][of_tile];
            return sum;
        });
    }
}

// Adds the sums of the eight warps, in their order, and writes the block's outputs. sums[tile of W][tile of x] are
// the lanes' results of tensor-core products; `round` counts the block's rounds of outputs from 0.
template <int N, int R, class Places>
__device__ __forceinline__ void store_sums(const Places &outputs, const float (&sums)[R][N][4],
                                           unsigned round) {
    // With two buffers, warps go on to load the next weights while others still add: once all have written one
    // buffer, all have read the other.
    constexpr unsigned BUFFERS = N <= 2 ? 2 : 1;
    __shared__ Parts<N> buffers[BUFFERS];
    const unsigned warp = threadIdx.x / 32, row = 2 * quarter_of_lane(), column = row_of_lane();
#pragma unroll
    for (int tile = 0; tile < R; tile++) {
        const unsigned turn = round * R + tile;
        Parts<N> &parts = buffers[turn % BUFFERS];
        if (BUFFERS == 1 && turn > 0) __syncthreads(); // the previous sums have been read
#pragma unroll
        for (int n = 0; n < N; n++) {
            parts[warp][TILE_ROWS * n + row][column] = sums[tile][n][0];
            parts[warp][TILE_ROWS * n + row + 1][column] = sums[tile][n][1];
            parts[warp][TILE_ROWS * n + row][column + 8] = sums[tile][n][2];
            parts[warp][TILE_ROWS * n + row + 1][column + 8] = sums[tile][n][3];
        }
        __syncthreads();
        store_tile<N>(outputs, outputs.first_output + tile * Places::OF_TILE, parts);
    }
}
