// Operations that the lanes of a warp do together: shuffles, and the loads and products of tensor cores.

// Packing numbers takes most of a product's time; unrolled it takes a third.
#pragma GCC optimize("O3")

#include "device.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

namespace emulator {
namespace {

constexpr unsigned LANES = 32;
constexpr unsigned ALL = 0xffffffff;

[[noreturn]] void fail(const char *what) {
    fprintf(stderr, "emulated warp: %s\n", what);
    abort();
}

struct Shuffle {
    unsigned long long value, result;
    unsigned source;
};

void shuffle_together(void *const (&operands)[LANES], unsigned mask) {
    for (unsigned lane = 0; lane < LANES; lane++) {
        if ((mask >> lane & 1) == 0) {
            continue;
        }
        Shuffle &own = *static_cast<Shuffle *>(operands[lane]);
        if (own.source >= LANES || (mask >> own.source & 1) == 0) {
            fail("a shuffle from a lane that takes no part");
        }
        own.result = static_cast<const Shuffle *>(operands[own.source])->value;
    }
}

void wait_together(void *const (&)[LANES], unsigned) {}

struct Load {
    const unsigned char *row;
    unsigned *r;
};

// Number `column` of row `row` of matrix `matrix`.
unsigned element(void *const (&operands)[LANES], unsigned matrix, unsigned row, unsigned column) {
    uint16_t bits;
    memcpy(&bits, static_cast<const Load *>(operands[matrix * 8 + row])->row + column * 2, 2);
    return bits;
}

template <bool transposed>
void load_together(void *const (&operands)[LANES], unsigned) {
    for (unsigned lane = 0; lane < LANES; lane++) {
        const Load &own = *static_cast<const Load *>(operands[lane]);
        if (reinterpret_cast<size_t>(own.row) % 16 != 0) {
            fail("the row of a matrix is not aligned to 16 bytes");
        }
        const unsigned major = lane / 4, minor = lane % 4 * 2;
        for (unsigned matrix = 0; matrix < 4; matrix++) {
            const unsigned low = transposed ? element(operands, matrix, minor, major)
                                            : element(operands, matrix, major, minor);
            const unsigned high = transposed ? element(operands, matrix, minor + 1, major)
                                             : element(operands, matrix, major, minor + 1);
            own.r[matrix] = low | high << 16;
        }
    }
}

template <class Number>
struct Product {
    Number *d;
    const unsigned *a;
    const unsigned *b;
};

// Eight numbers as a vector.
typedef float Row __attribute__((vector_size(32)));

// Adds a[16][depth] b[depth][8] to d.
template <unsigned depth>
void multiply(Row (&d)[16], const float (&a)[16][depth], const Row (&b)[depth]) {
    for (unsigned row = 0; row < 16; row++) {
        Row sum = d[row];
        for (unsigned k = 0; k < depth; k++) {
            sum += a[row][k] * b[k];
        }
        d[row] = sum;
    }
}

// The contents of a register of a product's factors: the count of its numbers, and the number at `index`.
struct Halves {
    static constexpr unsigned COUNT = 2;
    static float number(unsigned packed, unsigned index) {
        return to_float(static_cast<bf16>(packed >> index * 16));
    }
};

struct Bytes {
    static constexpr unsigned COUNT = 4;
    static float number(unsigned packed, unsigned index) { return static_cast<int8_t>(packed >> index * 8); }
};

// The layout is the same for both kinds of factors. Bytes are multiplied exactly in f32: sums over a depth of 32 stay
// below 2^24.
template <class Factors, class Number>
void multiply_together(void *const (&operands)[LANES], unsigned) {
    constexpr unsigned count = Factors::COUNT, depth = count * 8;
    float a[16][depth];
    Row b[depth], d[16] = {};
    for (unsigned lane = 0; lane < LANES; lane++) {
        const Product<Number> &own = *static_cast<const Product<Number> *>(operands[lane]);
        const unsigned g = lane / 4, c = lane % 4 * count;
        for (unsigned index = 0; index < count; index++) {
            for (unsigned r = 0; r < 4; r++) {
                a[g + r % 2 * 8][r / 2 * depth / 2 + c + index] = Factors::number(own.a[r], index);
            }
            for (unsigned r = 0; r < 2; r++) {
                b[r * depth / 2 + c + index][g] = Factors::number(own.b[r], index);
            }
        }
    }
    multiply<depth>(d, a, b);
    for (unsigned lane = 0; lane < LANES; lane++) {
        const Product<Number> &own = *static_cast<const Product<Number> *>(operands[lane]);
        for (unsigned r = 0; r < 4; r++) {
            own.d[r] += static_cast<Number>(d[lane / 4 + r / 2 * 8][lane % 4 * 2 + r % 2]);
        }
    }
}

}  // namespace

unsigned long long shuffle(unsigned mask, unsigned long long value, unsigned source) {
    Shuffle own = {value, 0, source};
    meet(shuffle_together, mask, Lanes::AllThatExist, &own);
    return own.result;
}

}  // namespace emulator

void __syncwarp(unsigned mask) {
    int nothing = 0;
    emulator::meet(emulator::wait_together, mask, emulator::Lanes::AllThatExist, &nothing);
}

unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
    const unsigned long long bytes = low | static_cast<unsigned long long>(high) << 32;
    unsigned result = 0;
    for (unsigned index = 0; index < 4; index++) {
        const unsigned choice = selector >> index * 4 & 15;
        const unsigned byte = static_cast<unsigned>(bytes >> (choice & 7) * 8 & 0xff);
        // With its highest bit set, a choice is the sign of the byte in all eight bits.
        const unsigned chosen = choice < 8 ? byte : (byte & 0x80) != 0 ? 0xffu : 0u;
        result |= chosen << index * 8;
    }
    return result;
}

float half_to_float(unsigned short bits) {
    const unsigned sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31, fraction = bits & 0x3ff;
    if (exponent == 0) {
        const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
        return __uint_as_float(sign | __float_as_uint(magnitude));
    }
    return __uint_as_float(sign | (exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13);
}

void load_matrices(unsigned (&r)[4], const void *row) {
    emulator::Load own = {static_cast<const unsigned char *>(row), r};
    emulator::meet(emulator::load_together<false>, emulator::ALL, emulator::Lanes::Exactly32, &own);
}

void load_matrices_transposed(unsigned (&r)[4], const void *row) {
    emulator::Load own = {static_cast<const unsigned char *>(row), r};
    emulator::meet(emulator::load_together<true>, emulator::ALL, emulator::Lanes::Exactly32, &own);
}

void multiply_16x8x16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    emulator::Product<float> own = {d, a, b};
    emulator::meet(emulator::multiply_together<emulator::Halves, float>, emulator::ALL,
                   emulator::Lanes::Exactly32, &own);
}

void multiply_16x8x32(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    emulator::Product<int> own = {d, a, b};
    emulator::meet(emulator::multiply_together<emulator::Bytes, int>, emulator::ALL,
                   emulator::Lanes::Exactly32, &own);
}
