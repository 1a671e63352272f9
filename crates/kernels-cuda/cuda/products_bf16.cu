// Products of few rows with weights in bf16, which are read once.
//
// multiply_bf16_N, N = 1, 2, 3, 4, 8: y = x W^T (+ bias), for 1 to 8 N rows.
//   y       [rows][outputs] bf16, or f32 with bit 1 of `how`; with bit 0 of `how`, products are added to its contents
//   x       [rows][inputs] bf16
//   weights [outputs][inputs] bf16
//   bias    [outputs] f32, or null
// inputs: a multiple of 4 (of 8 for speed: then loads are of 16 bytes). If it is a multiple of 8, x and weights are
// aligned to 16 bytes, else to 8. outputs: any number. Grid: any number of blocks, best as many as the GPU holds, but
// at most outputs / (16 R), rounded up; R = 1 for N = 1 and 2, R = 2 for the others. Block: 256. No dynamic shared
// memory.
//
// gate_bf16_N: y = activation(x V^T (+ bias)) * (x W^T (+ bias)). `weights` holds V above W, less than 4 GiB in all,
// and `bias` one bias above the other; y is [rows][outputs] bf16, and `how` is the activation. All else is as above,
// with 8 in place of 16.

#include "products.cuh"

// Inputs that one lane loads at once, and those of one step: a lane has a quarter of each row, for two tensor-core
// products. The order of inputs within a step does not matter to these as long as x and W agree: each lane has eight
// contiguous ones.
constexpr unsigned LOAD = 8;
constexpr unsigned STEP = 4 * LOAD;

// Inputs of a chunk: 256 bytes of a row, so that the requests of a warp are contiguous.
constexpr unsigned CHUNK = 4 * STEP;

struct Operands {
    const bf16 *x, *weights;
    unsigned inputs;
};

// The address of input `input` of a row that begins `row` bytes after `base`. What differs between lanes has 32 bits,
// since registers are scarce.
__device__ __forceinline__ const void *place_of(const bf16 *base, unsigned row, unsigned input) {
    return reinterpret_cast<const char *>(base) + (row + input * unsigned(sizeof(bf16)));
}

// Loads four numbers from input `input` on, or zeros after the last input.
__device__ __forceinline__ uint2 load_four(const bf16 *base, unsigned row, unsigned input, unsigned inputs) {
    return input < inputs ? *static_cast<const uint2 *>(place_of(base, row, input)) : make_uint2(0, 0);
}

// Loads eight numbers where some may be missing or rows are aligned to only 8 bytes.
__device__ __forceinline__ uint4 load_fours(const bf16 *base, unsigned row, unsigned input, unsigned inputs) {
    const uint2 low = load_four(base, row, input, inputs), high = load_four(base, row, input + 4, inputs);
    return make_uint4(low.x, low.y, high.x, high.y);
}

// The rows that a lane reads.
template <int N, int R>
struct LaneRows {
    const bf16 *weights, *x;
    unsigned weight_rows[R][2], x_rows[N]; // offsets in bytes

    template <class Places>
    __device__ __forceinline__ LaneRows(const Places &outputs, const Operands &operands)
        : weights(operands.weights + size_t(outputs.first_output) * operands.inputs), x(operands.x) {
        const unsigned row_bytes = operands.inputs * sizeof(bf16);
#pragma unroll
        for (int tile = 0; tile < R; tile++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                weight_rows[tile][half] = outputs.weight_row(tile, half, row_of_lane()) * row_bytes;
#pragma unroll
        for (int n = 0; n < N; n++)
            x_rows[n] = min(n * TILE_ROWS + row_of_lane(), outputs.rows - 1) * row_bytes;
    }
};

// Adds the products of the chunk that begins with input `first`. All loads of STEPS steps are in flight before the
// first is waited for.
template <int N, int R, int STEPS, bool WHOLE>
__device__ __forceinline__ void multiply_chunk(const LaneRows<N, R> &rows, unsigned first, unsigned inputs,
                                               float (&sums)[R][N][4]) {
    // Only one step at a time leaves registers to load the next one meanwhile.
#pragma unroll(WHOLE &&STEPS == 1 ? CHUNK / STEP : 1)
    for (unsigned step = 0; step < CHUNK / STEP; step += STEPS) {
        const unsigned begin = first + step * STEP + quarter_of_lane() * LOAD;
        uint4 weights[STEPS][R][2];
#pragma unroll
        for (int ahead = 0; ahead < STEPS; ahead++)
#pragma unroll
            for (int tile = 0; tile < R; tile++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const unsigned input = begin + ahead * STEP;
                    const unsigned row = rows.weight_rows[tile][half];
                    weights[ahead][tile][half] = WHOLE ? load_once(place_of(rows.weights, row, input))
                                                       : load_fours(rows.weights, row, input, inputs);
                }
        uint4 x[STEPS][N];
#pragma unroll
        for (int ahead = 0; ahead < STEPS; ahead++)
#pragma unroll
            for (int n = 0; n < N; n++) {
                const unsigned input = begin + ahead * STEP;
                const unsigned row = rows.x_rows[n];
                x[ahead][n] = WHOLE ? *static_cast<const uint4 *>(place_of(rows.x, row, input))
                                    : load_fours(rows.x, row, input, inputs);
            }
#pragma unroll
        for (int ahead = 0; ahead < STEPS; ahead++)
#pragma unroll
            for (int n = 0; n < N; n++)
#pragma unroll
                for (int tile = 0; tile < R; tile++) {
                    const uint4 upper = weights[ahead][tile][0], lower = weights[ahead][tile][1];
                    multiply_16x8x16(sums[tile][n], {upper.x, lower.x, upper.y, lower.y},
                                     {x[ahead][n].x, x[ahead][n].y});
                    multiply_16x8x16(sums[tile][n], {upper.z, lower.z, upper.w, lower.w},
                                     {x[ahead][n].z, x[ahead][n].w});
                }
    }
}

// Computes the outputs from `outputs.first_output` on.
template <int N, int R, int STEPS, class Places>
__device__ __forceinline__ void multiply_tiles(const Places &outputs, const Operands &operands,
                                               unsigned round) {
    const LaneRows<N, R> rows(outputs, operands);
    const unsigned inputs = operands.inputs, warp = threadIdx.x / 32;
    // Chunks before this input are whole and aligned to 16 bytes.
    const unsigned whole = inputs % LOAD == 0 ? inputs / CHUNK * CHUNK : 0;
    float sums[R][N][4] = {};
    unsigned first = warp * CHUNK;
    for (; first < whole; first += WARPS * CHUNK)
        multiply_chunk<N, R, STEPS, true>(rows, first, inputs, sums);
    for (; first < inputs; first += WARPS * CHUNK) multiply_chunk<N, R, 1, false>(rows, first, inputs, sums);
    store_sums<N, R>(outputs, sums, round);
}

template <int N, int R, int STEPS, class Places>
__device__ __forceinline__ void multiply(Places outputs, const Operands &operands) {
    for (unsigned round = 0;; round++) {
        outputs.first_output = (round * gridDim.x + blockIdx.x) * R * Places::OF_TILE;
        if (outputs.first_output >= outputs.outputs) return;
        multiply_tiles<N, R, STEPS>(outputs, operands, round);
    }
}

// `blocks` blocks run on a multiprocessor at a time, which limits the registers of each.
#define KERNELS(N, R, STEPS, blocks)                                                                        \
    KERNEL_TO(multiply, Outputs, N, R, STEPS, blocks)                                                       \
    KERNEL_TO(gate, GatedOutputs, N, R, STEPS, blocks)
#define KERNEL_TO(name, Places, N, R, STEPS, blocks)                                               \
    BOUNDED_KERNEL(name##_bf16_##N, THREADS, blocks,                                               \
                   (void *y, const bf16 *x, const bf16 *weights, const float *bias, unsigned rows, \
                    unsigned outputs, unsigned inputs, unsigned how)) {                            \
        multiply<N, R, STEPS>(Places{y, bias, rows, outputs, how, 0, 0}, {x, weights, inputs});    \
    }

KERNELS(1, 1, 4, 3)
KERNELS(2, 1, 4, 2)
KERNELS(3, 2, 2, 2)
KERNELS(4, 2, 2, 2)
KERNELS(8, 2, 1, 2)
