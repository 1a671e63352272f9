// What products of few rows share: how a block divides its work among warps, and how their sums become
// outputs.
//
// y [rows][outputs] = x W^T, with W [outputs][inputs] far larger than all else, so that time is what reading
// W once takes. At a time, a block makes 16 R outputs of up to 8 N rows: 16 rows of W are one side of a
// tensor-core product, 8 rows of x the other. Its eight warps share the inputs: of chunks of them, each warp has
// every eighth, whatever N, R and the grid are. Each sum is therefore made in one order alone, and a row of y
// has the same bits in any company. A block that is done with some outputs goes on to others, until there are
// no more: to start another block would take as long as reading a good part of what it has to read.

#pragma once

#include "portable.cuh"

// Warps of a block. A warp waits for memory nearly always; what keeps memory busy is how many of them wait at
// once.
constexpr unsigned WARPS = 8;
constexpr unsigned THREADS = 32 * WARPS;

// Rows of W in a tile, and rows of x in one.
constexpr unsigned TILE_OUTPUTS = 16;
constexpr unsigned TILE_ROWS = 8;

// Bits of `how`: adds to what y has, and y is f32 rather than bf16.
constexpr unsigned ACCUMULATE = 1;
constexpr unsigned FLOATS = 2;

// Where products go.
struct Outputs {
    void *y;           // [rows][outputs] bf16 or f32
    const float *bias; // [outputs] or null
    unsigned rows, outputs, how;
    // Where those begin that a block is at.
    unsigned first_row, first_output;
};

// The row of a tile that a lane reads, of W (and the one eight further down) as of x, and its quarter of what
// is read of it.
__device__ __forceinline__ unsigned row_of_lane() { return threadIdx.x % 32 / 4; }
__device__ __forceinline__ unsigned quarter_of_lane() { return threadIdx.x % 4; }

// The row of W, counted from the block's first one, that is row `half` * 8 + row_of_lane() of its tile
// `tile`. Behind the last row it is the last one: what is made of it goes nowhere.
__device__ __forceinline__ unsigned weight_row(const Outputs &outputs, int tile, int half) {
    const unsigned row = tile * TILE_OUTPUTS + half * 8 + row_of_lane();
    return min(row, outputs.outputs - 1 - outputs.first_output);
}

__device__ __forceinline__ void store(const Outputs &outputs, unsigned row, unsigned column, float sum) {
    const size_t place = size_t(row) * outputs.outputs + column;
    if (outputs.how & FLOATS) {
        float *y = static_cast<float *>(outputs.y) + place;
        *y = outputs.how & ACCUMULATE ? *y + sum : sum;
    } else {
        bf16 *y = static_cast<bf16 *>(outputs.y) + place;
        *y = to_bf16(outputs.how & ACCUMULATE ? to_float(*y) + sum : sum);
    }
}

// Adds the sums of the eight warps, in their order, and writes the block's outputs. sums[tile of W][tile of
// x] are what tensor-core products left in the lanes; `round` counts the block's outputs from 0.
template <int N, int R>
__device__ __forceinline__ void store_sums(const Outputs &outputs, const float (&sums)[R][N][4],
                                           unsigned round) {
    // With two buffers, warps go on to load what comes next while others still add: all have read one of them
    // when all have written the other. 20 numbers apart, lanes write to 32 different banks.
    constexpr unsigned BUFFERS = N <= 2 ? 2 : 1;
    __shared__ float buffers[BUFFERS][WARPS][TILE_ROWS * N][TILE_OUTPUTS + 4];
    const unsigned warp = threadIdx.x / 32, row = 2 * quarter_of_lane(), column = row_of_lane();
#pragma unroll
    for (int tile = 0; tile < R; tile++) {
        const unsigned turn = round * R + tile;
        float (&parts)[WARPS][TILE_ROWS * N][TILE_OUTPUTS + 4] = buffers[turn % BUFFERS];
        if (BUFFERS == 1 && turn > 0) __syncthreads(); // what was there has been read
#pragma unroll
        for (int n = 0; n < N; n++) {
            parts[warp][TILE_ROWS * n + row][column] = sums[tile][n][0];
            parts[warp][TILE_ROWS * n + row + 1][column] = sums[tile][n][1];
            parts[warp][TILE_ROWS * n + row][column + 8] = sums[tile][n][2];
            parts[warp][TILE_ROWS * n + row + 1][column + 8] = sums[tile][n][3];
        }
        __syncthreads();
        for (unsigned index = threadIdx.x; index < TILE_OUTPUTS * TILE_ROWS * N; index += THREADS) {
            const unsigned row = index / TILE_OUTPUTS, column = index % TILE_OUTPUTS;
            const unsigned y_row = outputs.first_row + row;
            const unsigned y_column = outputs.first_output + tile * TILE_OUTPUTS + column;
            if (y_row >= outputs.rows || y_column >= outputs.outputs) continue;
            float sum = outputs.bias ? outputs.bias[y_column] : 0.0f;
            for (unsigned warp = 0; warp < WARPS; warp++) sum += parts[warp][row][column];
            store(outputs, y_row, y_column, sum);
        }
    }
}
