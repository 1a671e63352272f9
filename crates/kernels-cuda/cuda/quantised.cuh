// How weights of eight and of four bits lie in memory, and what their codes stand for.
//
// Inputs come in blocks of 32, which share a scale, and four blocks are a stretch of 128; rows are whole
// stretches long, filled up with codes and scales that are 0. A tensor-core product takes one block: of each
// row it has four lanes take eight codes each. What a lane loads at once is 16 bytes, so codes of one lane
// for several blocks lie together:
//   eight bits: a pair of blocks is 64 bytes; byte 16 lane + 8 block + i is the code of input 32 block + 8
//   lane + i of it; four bits: a stretch is 64 bytes; bits 4 i to 4 i + 3 of the little-endian word 4 lane +
//   block are the code of input 32 block + 8 lane + i of it. A code is the index of a level, one of 16 whole
//   numbers: the first eight are below 0, the others from 0 to 126.
// A weight is its scale, an f16, times the code or the level. Codes of one row follow those of another:
//   codes  [outputs][stretches][128 or 64 bytes]
//   scales [outputs][stretches][4] f16

#pragma once

#include "portable.cuh"

constexpr unsigned BLOCK_INPUTS = 32;
constexpr unsigned BLOCKS_OF_STRETCH = 4;
constexpr unsigned STRETCH_INPUTS = BLOCK_INPUTS * BLOCKS_OF_STRETCH;

// A byte for each four bits of the lower half of `selector`: of the eight bytes of `table` the one that the
// lower three bits say; its sign in all eight bits where the upper one is set.
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

// Word `index` of `words`: a register, where `index` is known when this is compiled.
__device__ __forceinline__ unsigned word_of(const uint4 &words, int index) {
    return index == 0 ? words.x : index == 1 ? words.y : index == 2 ? words.z : words.w;
}

// The 16 levels of four bits, a signed byte each, the first one in the lowest bits; to those of `high` 1 was
// added.
struct Levels {
    uint2 low, high;
};

// From arguments of a kernel, which have both as numbers of 64 bits.
__device__ __forceinline__ Levels levels_of(unsigned long long low, unsigned long long high) {
    return {make_uint2(unsigned(low), unsigned(low >> 32)), make_uint2(unsigned(high), unsigned(high >> 32))};
}

struct EightBits {
    // Loads of a lane for a stretch of a row, and the bytes of all lanes' codes.
    static constexpr int LOADS = 2;
    static constexpr unsigned STRETCH_BYTES = 128;

    // The sum of so many numbers is what is to be multiplied.
    static constexpr int PARTS = 1;

    // The lane's eight inputs of block `block` of a stretch.
    static __device__ __forceinline__ void numbers(uint2 (&parts)[PARTS], const uint4 (&loads)[LOADS],
                                                   int block, const Levels &) {
        const uint4 &pair = loads[block / 2];
        parts[0] = block % 2 == 0 ? make_uint2(pair.x, pair.y) : make_uint2(pair.z, pair.w);
    }
};

// Instructions for each code are what is scarce here, and products of tensor cores are not: all codes are
// looked up in one half of the table and in the other, and both are multiplied. Where a code is of the other
// half, the first one gives -1, the sign of all that is in it, for which the other one has 1 more; where it
// is of the first half, the other one gives 0.
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
