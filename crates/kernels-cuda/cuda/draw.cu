// Random weights with the bits that the CPU draws: they depend on index and key alone and are nearly normal.
//
// draw_bf16: weights[i] = bf16(centre + spread * normal number first_index + i of the tensor whose key is
// `key`).
//   weights [count] bf16, aligned to 16 bytes
// Grid: count / 2048, rounded up. Block: 256. No shared memory.

#include "portable.cuh"

// 2^64 divided by the golden ratio: the step of SplitMix64.
constexpr unsigned long long STEP = 0x9e3779b97f4a7c15;

// The standard deviation of a sum of four integers, each uniformly distributed from 0 to 65535, divided by 2^16.
constexpr float DEVIATION = 0.5773503f;

// Numbers that each thread writes: 16 bytes.
constexpr unsigned AT_ONCE = 8;

// The mixing function of SplitMix64, which spreads each bit over all.
__device__ __forceinline__ unsigned long long mixed(unsigned long long state) {
    unsigned long long bits = state + STEP;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
    return bits ^ (bits >> 31);
}

// A nearly normal number: the sum of four uniform ones, minus its mean, divided by its standard deviation.
__device__ __forceinline__ float normal(unsigned long long key, unsigned long long index) {
    const unsigned long long bits = mixed(key + index * STEP);
    unsigned sum = 0;
#pragma unroll
    for (int part = 0; part < 4; part++) sum += static_cast<unsigned>(bits >> 16 * part) & 0xffff;
    return (static_cast<float>(sum) - 131070.0f) / (65536.0f * DEVIATION);
}

// one * other, rounded before anything is added to it.
__device__ __forceinline__ float rounded_product(float one, float other) {
#ifdef GAVEL_EMULATED
    volatile float product = one * other;
    return product;
#else
    return __fmul_rn(one, other);
#endif
}

KERNEL(draw_bf16, (bf16 * weights, unsigned long long count, unsigned long long first_index,
                   unsigned long long key, float centre, float spread)) {
    const unsigned long long first = (blockIdx.x * 256ull + threadIdx.x) * AT_ONCE;
    if (first >= count) return;
    unsigned words[AT_ONCE / 2];
#pragma unroll
    for (unsigned pair = 0; pair < AT_ONCE / 2; pair++) {
        const unsigned long long index = first_index + first + 2 * pair;
        words[pair] = pack_bf16(centre + rounded_product(spread, normal(key, index)),
                                centre + rounded_product(spread, normal(key, index + 1)));
    }
    if (first + AT_ONCE <= count) {
        *reinterpret_cast<uint4 *>(weights + first) = make_uint4(words[0], words[1], words[2], words[3]);
        return;
    }
    for (unsigned index = 0; first + index < count; index++)
        weights[first + index] = static_cast<bf16>(words[index / 2] >> 16 * (index % 2));
}
