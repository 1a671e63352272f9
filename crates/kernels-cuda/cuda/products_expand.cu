// Expands weights of eight or four bits to bf16, for products of many rows.
//
// expand_q8, expand_q4:
//   y      [rows][inputs] bf16, aligned to 16 bytes
//   codes, scales, levels: as described in quantised.cuh, from the first of these rows on
// inputs: a multiple of 32. Grid: (rows). Block: 128. No shared memory.

#include "quantised.cuh"

// Writes eight numbers, times their scale, to `y`.
__device__ __forceinline__ void write_eight(bf16 *y, const float (&numbers)[8], float scale) {
    uint4 words;
    words.x = pack_bf16(numbers[0] * scale, numbers[1] * scale);
    words.y = pack_bf16(numbers[2] * scale, numbers[3] * scale);
    words.z = pack_bf16(numbers[4] * scale, numbers[5] * scale);
    words.w = pack_bf16(numbers[6] * scale, numbers[7] * scale);
    *reinterpret_cast<uint4 *>(y) = words;
}

// The number at byte `index` of two words: the sum of its parts.
template <int PARTS>
__device__ __forceinline__ float number(const uint2 (&parts)[PARTS], int index) {
    int sum = 0;
#pragma unroll
    for (int part = 0; part < PARTS; part++) {
        const unsigned word = index < 4 ? parts[part].x : parts[part].y;
        sum += static_cast<signed char>(word >> 8 * (index % 4));
    }
    return static_cast<float>(sum);
}

// Each thread expands what one lane of a product has of a stretch: eight inputs of each block.
template <class Bits>
__device__ __forceinline__ void expand(bf16 *y, const unsigned char *codes, const unsigned short *scales,
                                       unsigned inputs, const Levels &levels) {
    const unsigned stretches = (inputs + STRETCH_INPUTS - 1) / STRETCH_INPUTS;
    y += size_t(blockIdx.x) * inputs;
    codes += size_t(blockIdx.x) * stretches * Bits::STRETCH_BYTES;
    scales += size_t(blockIdx.x) * stretches * BLOCKS_OF_STRETCH;
    for (unsigned thread = threadIdx.x; thread < 4 * stretches; thread += blockDim.x) {
        const unsigned stretch = thread / 4, lane = thread % 4;
        uint4 loads[Bits::LOADS];
#pragma unroll
        for (int load = 0; load < Bits::LOADS; load++)
            loads[load] = load_once(codes + (stretch * Bits::STRETCH_BYTES + load * 64 + lane * 16));
#pragma unroll
        for (unsigned block = 0; block < BLOCKS_OF_STRETCH; block++) {
            const unsigned input = stretch * STRETCH_INPUTS + block * BLOCK_INPUTS + lane * 8;
            if (input >= inputs) break;
            uint2 parts[Bits::PARTS];
            Bits::numbers(parts, loads, block, levels);
            float numbers[8];
#pragma unroll
            for (int index = 0; index < 8; index++) numbers[index] = number(parts, index);
            write_eight(y + input, numbers, half_to_float(scales[stretch * BLOCKS_OF_STRETCH + block]));
        }
    }
}

KERNEL(expand_q8, (bf16 * y, const unsigned char *codes, const unsigned short *scales, unsigned inputs)) {
    expand<EightBits>(y, codes, scales, inputs, {});
}

KERNEL(expand_q4, (bf16 * y, const unsigned char *codes, const unsigned short *scales, unsigned inputs,
                   unsigned long long low_levels, unsigned long long high_levels)) {
    expand<FourBits>(y, codes, scales, inputs, levels_of(low_levels, high_levels));
}
