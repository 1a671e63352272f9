// How weights of eight and of four bits are laid out in memory, and what their codes stand for.
//
// Inputs are in blocks of 32 that share a scale, and four blocks are a stretch of 128. Rows are whole stretches long,
// padded with codes and scales that are 0. A tensor-core product takes one block: for each row, four lanes hold eight
// codes each. A lane loads 16 bytes at once, so the codes of one lane for several blocks are adjacent:
//   eight bits: a pair of blocks is 64 bytes; byte 16 lane + 8 block + i is the code of input 32 block + 8 lane + i of
//   the pair;
//   four bits: a stretch is 64 bytes; bits 4 i to 4 i + 3 of the little-endian word 4 lane + block are the code of input
//   32 block + 8 lane + i of the stretch. A code is the index of a level, one of 16 integers: the first eight are below
//   0, the others from 0 to 126.
// A weight is its scale, an f16, times the code or the level. The codes of a row are followed by those of the next:
//   codes  [outputs][stretches][128 or 64 bytes]
//   scales [outputs][stretches][4] f16

#pragma once

#include "portable.cuh"

constexpr unsigned BLOCK_INPUTS = 32;
constexpr unsigned BLOCKS_OF_STRETCH = 4;
constexpr unsigned STRETCH_INPUTS = BLOCK_INPUTS * BLOCKS_OF_STRETCH;

// Returns a byte for each four bits of the lower half of `selector`: the one of the eight bytes of `table` that the
// lower three bits index, or, where the upper bit is set, the sign of that byte in all eight bits.
__device__ __forceinline__ unsigned select_bytes(uint2 table, unsigned selector) {
#ifdef GAVEL_EMULATED
    unsigned selected = 0;
    for (int index = 0; index < 4; index++) {
        const unsigned which = selector >> 4 * index & 15, word = which & 4 ? table.y : table.x;
        const unsigned byte = word >> 8 * (which & 3) & 0xff;
        selected |= (which & 8 ? (byte & 0x80 ? 0xff : 0) : byte) << 8 * index;
    }
    return selected;
#else
    unsigned selected;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(selected) : "r"(table.x), "r"(table.y), "r"(selector));
    return selected;
#endif
}

// Word `index` of `words`: a register if `index` is a compile-time constant.
__device__ __forceinline__ unsigned word_of(const uint4 &words, int index) {
    return index == 0 ? words.x : index == 1 ? words.y : index == 2 ? words.z : words.w;
}

// The 16 levels of four-bit codes, a signed byte each, the first in the lowest bits. The levels in `high` are stored
// plus 1.
struct Levels {
    uint2 low, high;
};

// Makes levels of the two 64-bit arguments of a kernel.
__device__ __forceinline__ Levels levels_of(unsigned long long low, unsigned long long high) {
    return {make_uint2(unsigned(low), unsigned(low >> 32)), make_uint2(unsigned(high), unsigned(high >> 32))};
}

struct EightBits {
    // A lane's loads for a stretch of a row, and the bytes of all lanes' codes.
    static constexpr int LOADS = 2;
    static constexpr unsigned STRETCH_BYTES = 128;

    // The number of parts whose sum is an operand of the product.
    static constexpr int PARTS = 1;

    // The numbers of the lane's eight inputs of block `block` of a stretch.
    static __device__ __forceinline__ void numbers(uint2 (&parts)[PARTS], const uint4 (&loads)[LOADS],
                                                   int block, const Levels &) {
        const uint4 &pair = loads[block / 2];
        parts[0] = block % 2 == 0 ? make_uint2(pair.x, pair.y) : make_uint2(pair.z, pair.w);
    }
};

// Instructions per code are the bottleneck here, and tensor-core products are not: each code is looked up in both
// halves of the table, and both results are multiplied. For a code of the second half, the first half returns -1, the
// sign of all its entries, for which the entries of the second half are stored plus 1. For a code of the first half,
// the second half returns 0, the sign of its entries.
struct FourBits {
    static constexpr int LOADS = 1;
    static constexpr unsigned STRETCH_BYTES = 64;
    static constexpr int PARTS = 2;

    static __device__ __forceinline__ void numbers(uint2 (&parts)[PARTS], const uint4 (&loads)[LOADS],
                                                   int block, const Levels &levels) {
        const unsigned codes = word_of(loads[0], block), other_half = codes ^ 0x88888888;
        parts[0] = make_uint2(select_bytes(levels.low, codes), select_bytes(levels.low, codes >> 16));
        parts[1] =
            make_uint2(select_bytes(levels.high, other_half), select_bytes(levels.high, other_half >> 16));
    }
};
