// The rounding of numbers to integers from -127 to 127, in blocks of 32 inputs with a scale each, for products with
// quantised weights.
//
// Rounded rows:
//   codes  [4 stretches][64 rows][32] i8
//   scales [4 stretches][64 rows] f32
// stretches: the inputs of a row / 128, rounded up; blocks after the last input are 0.

#pragma once

#include "quantised.cuh"

// The number of rows that buffers of rounded rows hold. It is fixed, so that the distances between a lane's operands
// are compile-time constants; registers for them would be missed elsewhere.
constexpr unsigned MOST_ROWS = 64;

// Inputs that a lane rounds: four neighbouring lanes share a block.
constexpr unsigned LANE_INPUTS = 8;

// 1.5 * 2^23: an integer below 2^22 that is added to the bits of this float is added to its value.
constexpr int WHOLE_BITS = 0x4b400000;
constexpr float WHOLE = 12582912.0f;

// The integer nearest to `value`, ties to even, clamped to eight bits, in the lowest bits.
__device__ __forceinline__ unsigned whole(float value) {
    return __float_as_uint(fminf(fmaxf(value, -128.0f), 127.0f) + WHOLE) & 0xff;
}

// Returns the largest magnitude of a block of inputs, of which the lane has `numbers`. All lanes of `lanes` take part,
// which have whole blocks. NaN is larger than any number.
__device__ __forceinline__ float largest_of_block(const float (&numbers)[LANE_INPUTS], unsigned lanes) {
    unsigned largest_bits = 0;
#pragma unroll
    for (unsigned index = 0; index < LANE_INPUTS; index++) {
        // Without the sign bit, the bits of floats sort like their magnitudes.
        largest_bits = max(largest_bits, __float_as_uint(numbers[index]) & 0x7fffffff);
    }
    largest_bits = max(largest_bits, __shfl_xor_sync(lanes, largest_bits, 1));
    return __uint_as_float(max(largest_bits, __shfl_xor_sync(lanes, largest_bits, 2)));
}

// Rounds the lane's numbers, the inputs from `input` on of row `row`, whose block's largest magnitude is `largest`.
__device__ __forceinline__ void store_rounded(unsigned char *codes, float *scales, unsigned row, unsigned input,
                                              const float (&numbers)[LANE_INPUTS], float largest) {
    const float inverse = 127.0f / largest;
    // All numbers are (almost) 0, or one is NaN or infinite; the scale shows which.
    const bool nothing = !(inverse <= 3.402823466e38f) || inverse == 0.0f;
    uint2 packed = make_uint2(0, 0);
#pragma unroll
    for (int index = 0; index < 4 && !nothing; index++) {
        packed.x |= whole(numbers[index] * inverse) << 8 * index;
        packed.y |= whole(numbers[index + 4] * inverse) << 8 * index;
    }
    const unsigned inside = input % BLOCK_INPUTS;
    const size_t place = size_t(input / BLOCK_INPUTS) * MOST_ROWS + row;
    *reinterpret_cast<uint2 *>(codes + (place * BLOCK_INPUTS + inside)) = packed;
    if (inside == 0) scales[place] = largest / 127.0f;
}
