// Activations, alone and as gates.

#include "portable.cuh"

// The activations, by the numbers that the host has for them.
enum Kind : unsigned { GELU = 0, GELU_TANH = 1, SILU = 2, TANH = 3 };

static __device__ float activated(float x, unsigned kind) {
    switch (kind) {
    case GELU: return 0.5f * x * (1 + erff(x * 0.70710678f));
    case GELU_TANH: return 0.5f * x * (1 + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    case SILU: return x / (1 + exponential(-x));
    default: return tanhf(x);
    }
}

// Replaces each of `count` numbers by its activation. Grid: enough blocks of 256 threads for one number each.
KERNEL(activate, (bf16 *x, size_t count, unsigned kind)) {
    const size_t index = size_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (index < count) x[index] = to_bf16(activated(to_float(x[index]), kind));
}

// x: [rows, 2 * size], y: [rows, size]: the activation of a row's first half times its second half. Size is a multiple of 8.
// Grid: (rows, blocks for eight numbers of a row each), block: (256).
KERNEL(gate, (bf16 *y, const bf16 *x, unsigned size, unsigned kind)) {
    const unsigned column = (blockIdx.y * blockDim.x + threadIdx.x) * 8;
    if (column >= size) return;
    const bf16 *first = x + size_t(blockIdx.x) * 2 * size + column;
    const uint4 words = *reinterpret_cast<const uint4 *>(first);
    const uint4 factors = *reinterpret_cast<const uint4 *>(first + size);
    const auto pair = [kind](unsigned word, unsigned factor) {
        // The activation is rounded before it is multiplied, as it is where each is an operation of its own.
        const float low = to_float(to_bf16(activated(to_float(bf16(word & 0xffff)), kind)));
        const float high = to_float(to_bf16(activated(to_float(bf16(word >> 16)), kind)));
        return pack_bf16(low * to_float(bf16(factor & 0xffff)), high * to_float(bf16(factor >> 16)));
    };
    uint4 gated;
    gated.x = pair(words.x, factors.x);
    gated.y = pair(words.y, factors.y);
    gated.z = pair(words.z, factors.z);
    gated.w = pair(words.w, factors.w);
    *reinterpret_cast<uint4 *>(y + size_t(blockIdx.x) * size + column) = gated;
}
