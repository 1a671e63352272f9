// Activations, alone and as gates.

#include "activation.cuh"

// Replaces each of `count` numbers by its activation. Grid: blocks of 256 threads, one thread for each number.
KERNEL(activate, (bf16 *x, size_t count, unsigned kind)) {
    const size_t index = size_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (index < count) x[index] = to_bf16(activated(to_float(x[index]), kind));
}

// x: [rows, 2 * size], y: [rows, size]: the activation of a row's first half times its second half. `size` is a
// multiple of 8. Grid: (rows, blocks of which each thread has eight numbers of a row), block: (256).
KERNEL(gate, (bf16 *y, const bf16 *x, unsigned size, unsigned kind)) {
    const unsigned column = (blockIdx.y * blockDim.x + threadIdx.x) * 8;
    if (column >= size) return;
    const bf16 *first = x + size_t(blockIdx.x) * 2 * size + column;
    const uint4 words = *reinterpret_cast<const uint4 *>(first);
    const uint4 factors = *reinterpret_cast<const uint4 *>(first + size);
    const auto pair = [kind](unsigned word, unsigned factor) {
        const float low = gated(to_float(bf16(word & 0xffff)), to_float(bf16(factor & 0xffff)), kind);
        return pack_bf16(low, gated(to_float(bf16(word >> 16)), to_float(bf16(factor >> 16)), kind));
    };
    uint4 gated;
    gated.x = pair(words.x, factors.x);
    gated.y = pair(words.y, factors.y);
    gated.z = pair(words.z, factors.z);
    gated.w = pair(words.w, factors.w);
    *reinterpret_cast<uint4 *>(y + size_t(blockIdx.x) * size + column) = gated;
}
