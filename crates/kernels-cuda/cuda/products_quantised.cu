// Products of few rows with weights of eight or four bits, which are read once, and the rounding of rows for them.
//
// round_rows: rounds rows as described in rounding.cuh.
//   codes, scales: as described there
//   x      [rows][inputs] bf16, aligned to 16 bytes
// rows: at most 64; the other rows of the output are left as they were. inputs: a multiple of 32. Grid: (16 stretches /
// 256, rounded up; rows). Block: 256.
//
// multiply_q8_N and multiply_q4_N, N = 1, 2, 3, 4, 8: y = x W^T (+ bias), for 1 to 8 N rows.
//   y       [rows][outputs] bf16, or f32 with bit 1 of `how`; with bit 0 of `how`, products are added to its contents
//   x_codes, x_scales: as round_rows writes them
//   codes, scales, levels: as described in quantised.cuh
//   bias    [outputs] f32, or null
// outputs: any number. Grid: any number of blocks, best as many as the GPU holds, but at most outputs / (16 R),
// rounded up, for N = 8 times 2; R = 1 for N = 1 and 2, R = 2 for the others. Block: 256. No dynamic shared memory.
//
// gate_q8_N and gate_q4_N: y = activation(x V^T (+ bias)) * (x W^T (+ bias)), with V above W and one bias above the
// other; y is [rows][outputs] bf16, and `how` is the activation. All else is as above, with 8 in place of 16.

#include "products.cuh"
#include "rounding.cuh"

struct RoundedOperands {
    const unsigned char *x_codes;
    const float *x_scales;
    const unsigned char *codes;
    const unsigned short *scales;
    unsigned stretches;
    Levels levels;
};

// A lane's loads for a row that are in flight at once: 256 bytes of the row, a chunk.
constexpr int LOADS_OF_CHUNK = 4;

// Where a lane's operands begin.
template <int R>
struct LanePlaces {
    const unsigned char *x_codes, *codes;
    const float *x_scales;
    const unsigned short *scales;
    unsigned stretches[R][2]; // the number of stretches before each of its rows of W

    template <class Places>
    __device__ __forceinline__ LanePlaces(const Places &outputs, const RoundedOperands &operands)
        : scales(operands.scales) {
        // With fewer than eight rows, the missing ones are replaced by the last, which is then read only once.
        const unsigned row = min(row_of_lane(), outputs.rows - 1);
        x_codes = operands.x_codes + (outputs.first_row + row) * BLOCK_INPUTS + quarter_of_lane() * 8;
        x_scales = operands.x_scales + outputs.first_row + quarter_of_lane() * 2;
        codes = operands.codes + quarter_of_lane() * 16;
#pragma unroll
        for (int tile = 0; tile < R; tile++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const unsigned row = outputs.first_output + outputs.weight_row(tile, half, row_of_lane());
                stretches[tile][half] = row * operands.stretches;
            }
    }
};

// A lane's codes and scales of some rows of W, in one stretch.
template <class Bits, int R>
struct Weights {
    uint4 codes[R][2][Bits::LOADS];
    uint2 scales[R][2];

    __device__ __forceinline__ void load(const LanePlaces<R> &places, unsigned stretch) {
#pragma unroll
        for (int tile = 0; tile < R; tile++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const size_t place = places.stretches[tile][half] + stretch;
#pragma unroll
                for (int load = 0; load < Bits::LOADS; load++)
                    codes[tile][half][load] =
                        load_once(places.codes + place * Bits::STRETCH_BYTES + load * 64);
                scales[tile][half] =
                    *reinterpret_cast<const uint2 *>(places.scales + place * BLOCKS_OF_STRETCH);
            }
    }

    __device__ __forceinline__ float scale(int tile, int half, int block) const {
        const unsigned two = block < 2 ? scales[tile][half].x : scales[tile][half].y;
        return half_to_float(static_cast<unsigned short>(two >> 16 * (block % 2)));
    }
};

// Adds one step to each sum's chain: the exact sum of products of block `block` of `weights` and of the block of
// rounded rows at x_codes and x_scales, times both scales.
template <class Bits, int N, int R>
__device__ __forceinline__ void multiply_block(const Weights<Bits, R> &weights, int block,
                                               const unsigned char *x_codes, const float *x_scales,
                                               const Levels &levels, float (&sums)[R][N][4]) {
    uint2 numbers[R][2][Bits::PARTS];
    float scales[R][2];
#pragma unroll
    for (int tile = 0; tile < R; tile++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            Bits::numbers(numbers[tile][half], weights.codes[tile][half], block, levels);
            scales[tile][half] = weights.scale(tile, half, block);
        }
#pragma unroll
    for (int n = 0; n < N; n++) {
        const uint2 x = *reinterpret_cast<const uint2 *>(x_codes + n * TILE_ROWS * BLOCK_INPUTS);
        // The scales of the two rows whose sums the lane has.
        const float2 row_scales = *reinterpret_cast<const float2 *>(x_scales + n * TILE_ROWS);
#pragma unroll
        for (int tile = 0; tile < R; tile++) {
            int dots[4] = {WHOLE_BITS, WHOLE_BITS, WHOLE_BITS, WHOLE_BITS};
#pragma unroll
            for (int part = 0; part < Bits::PARTS; part++) {
                const uint2 upper = numbers[tile][0][part], lower = numbers[tile][1][part];
                multiply_16x8x32(dots, {upper.x, lower.x, upper.y, lower.y}, {x.x, x.y});
            }
#pragma unroll
            for (int index = 0; index < 4; index++) {
                const float dot = __int_as_float(dots[index]) - WHOLE;
                const float scale = scales[tile][index / 2] * (index % 2 == 0 ? row_scales.x : row_scales.y);
                sums[tile][n][index] = fmaf(dot, scale, sums[tile][n][index]);
            }
        }
    }
}

// Adds the products of STRETCHES stretches from `first` on, all of whose loads are in flight before the first is
// waited for.
template <class Bits, int N, int R, int STRETCHES>
__device__ __forceinline__ void multiply_stretches(const LanePlaces<R> &places, unsigned first,
                                                   const Levels &levels, float (&sums)[R][N][4]) {
    Weights<Bits, R> weights[STRETCHES];
#pragma unroll
    for (int ahead = 0; ahead < STRETCHES; ahead++) weights[ahead].load(places, first + ahead);
    // Where registers suffice, all loads are in flight before any is waited for: the compiler moves none across this.
    if (N * R <= 2) __syncwarp();
    const size_t x_place = size_t(first) * BLOCKS_OF_STRETCH * MOST_ROWS;
    const unsigned char *x_codes = places.x_codes + x_place * BLOCK_INPUTS;
    const float *x_scales = places.x_scales + x_place;
#pragma unroll
    for (unsigned block = 0; block < STRETCHES * BLOCKS_OF_STRETCH; block++)
        multiply_block<Bits, N, R>(weights[block / BLOCKS_OF_STRETCH], block % BLOCKS_OF_STRETCH,
                                   x_codes + block * MOST_ROWS * BLOCK_INPUTS, x_scales + block * MOST_ROWS,
                                   levels, sums);
}

// Computes the outputs from `outputs.first_output` on.
template <class Bits, int N, int R, class Places>
__device__ __forceinline__ void multiply_tiles(const Places &outputs, const RoundedOperands &operands,
                                               unsigned round) {
    constexpr unsigned OF_CHUNK = LOADS_OF_CHUNK / Bits::LOADS, AT_ONCE = OF_CHUNK / R;
    const LanePlaces<R> places(outputs, operands);
    const unsigned stretches = operands.stretches;
    float sums[R][N][4] = {};
    unsigned first = threadIdx.x / 32 * OF_CHUNK;
    for (; first + OF_CHUNK <= stretches; first += WARPS * OF_CHUNK)
#pragma unroll
        for (unsigned done = 0; done < OF_CHUNK; done += AT_ONCE)
            multiply_stretches<Bits, N, R, AT_ONCE>(places, first + done, operands.levels, sums);
    // One warp processes the rest, which is less than a chunk.
    for (; first < stretches; first++)
        multiply_stretches<Bits, N, R, 1>(places, first, operands.levels, sums);
    store_sums<N, R>(outputs, sums, round);
}

// Rows of x are divided among `groups` blocks. Blocks with the same outputs follow each other, so that W is read from
// memory for one of them and found in the L2 cache by the others.
template <class Bits, int N, int R, class Places>
__device__ __forceinline__ void multiply(Places outputs, const RoundedOperands &operands, unsigned groups) {
    for (unsigned round = 0;; round++) {
        const unsigned item = round * gridDim.x + blockIdx.x;
        outputs.first_row = item % groups * N * TILE_ROWS;
        outputs.first_output = item / groups * R * Places::OF_TILE;
        if (outputs.first_output >= outputs.outputs) return;
        multiply_tiles<Bits, N, R>(outputs, operands, round);
    }
}

// `blocks` blocks run on a multiprocessor at a time, which limits the registers of each. They would not suffice for
// more than 32 rows, so two blocks share these.
//
// All but the kernels for weights of eight bits with N = 1 and 2 spill registers, as compiled by CUDA 13.0.88 for 8.0
// and 9.0. In the loops over chunks, these are for four bits at most 11 of 660 instructions with N = 1, none of 880
// with N = 2, 24 of 2300 with N = 3 and 10 of 2900 with more; for eight bits 14 of 1070 with N = 3 and 26 of 1400 with
// more.
// Choices that should be measured, above all where memory is fast for the rate of instructions, as on B200:
// - Two blocks of four bits with N = 1 would need no spilling, and 600 instructions, but would have 16 warps instead of
//   24 and 96 KiB of loads in flight instead of 144. Three are chosen because these kernels mostly wait for memory.
// - One stretch of four bits in flight instead of two, with N = 3, saves none.
// - A loop over the stretches of a chunk that is not unrolled would save up to half of the spilling with eight bits and
//   N >= 3, but the loads of a stretch would no longer begin while the one before is multiplied.
#define KERNELS(name, N, R, groups, blocks)                                                                  \
    KERNELS_TO(multiply, Outputs, name, N, R, groups, blocks)                                                \
    KERNELS_TO(gate, GatedOutputs, name, N, R, groups, blocks)
#define KERNELS_TO(what, Places, name, N, R, groups, blocks)                                                 \
    BOUNDED_KERNEL(what##_q8_##name, THREADS, blocks,                                                        \
                   (void *y, const unsigned char *x_codes, const float *x_scales,                            \
                    const unsigned char *codes, const unsigned short *scales, const float *bias,             \
                    unsigned rows, unsigned outputs, unsigned stretches, unsigned how)) {                    \
        multiply<EightBits, N, R>(Places{y, bias, rows, outputs, how, 0, 0},                                 \
                                  {x_codes, x_scales, codes, scales, stretches, {}}, groups);                \
    }                                                                                                        \
    BOUNDED_KERNEL(                                                                                          \
        what##_q4_##name, THREADS, blocks,                                                                   \
        (void *y, const unsigned char *x_codes, const float *x_scales, const unsigned char *codes,           \
         const unsigned short *scales, const float *bias, unsigned rows, unsigned outputs,                   \
         unsigned stretches, unsigned how, unsigned long long low_levels, unsigned long long high_levels)) { \
        multiply<FourBits, N, R>(                                                                            \
            Places{y, bias, rows, outputs, how, 0, 0},                                                       \
            {x_codes, x_scales, codes, scales, stretches, levels_of(low_levels, high_levels)}, groups);      \
    }

KERNELS(1, 1, 1, 1, 3)
KERNELS(2, 2, 1, 1, 2)
KERNELS(3, 3, 2, 1, 2)
KERNELS(4, 4, 2, 1, 2)
KERNELS(8, 4, 2, 2, 2)

KERNEL(round_rows, (unsigned char *codes, float *scales, const bf16 *x, unsigned rows, unsigned inputs)) {
    const unsigned stretches = (inputs + STRETCH_INPUTS - 1) / STRETCH_INPUTS;
    const unsigned row = blockIdx.y, input = LANE_INPUTS * (blockIdx.x * blockDim.x + threadIdx.x);
    const bool there = row < rows && input < inputs;
    const uint4 words =
        there ? *reinterpret_cast<const uint4 *>(x + (size_t(row) * inputs + input)) : make_uint4(0, 0, 0, 0);
    float numbers[LANE_INPUTS];
#pragma unroll
    for (int index = 0; index < int(LANE_INPUTS); index++)
        numbers[index] = to_float(static_cast<bf16>(word_of(words, index / 2) >> 16 * (index % 2)));
    const float largest = largest_of_block(numbers, ~0u);
    if (input < stretches * STRETCH_INPUTS) store_rounded(codes, scales, row, input, numbers, largest);
}
