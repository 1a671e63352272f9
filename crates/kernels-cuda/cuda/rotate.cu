// Rotary positions, and the way of keys and values into the cache.

#include "portable.cuh"

// Positions in a block of the cache.
constexpr unsigned BLOCK_SIZE = 32;

// projections: [T, (H + 2 K) * D], a row being queries, keys and values. Queries and keys are turned by the row of their
// position in `cosines` and `sines` [positions, D / 2] f32, dimension i together with i + D / 2: queries in their place, keys on
// their way into the cache. keys, values: [blocks, K, 32, D]; slots[t] = block * 32 + offset. Grid: (T), block: (256).
KERNEL(rotate_and_store,
       (bf16 *projections, const float *cosines, const float *sines, const unsigned *positions, const unsigned *slots,
        bf16 *keys, bf16 *values, unsigned heads, unsigned kv_heads, unsigned head_size)) {
    const unsigned half = head_size / 2;
    bf16 *row = projections + size_t(blockIdx.x) * (heads + 2 * kv_heads) * head_size;
    const float *cosine = cosines + size_t(positions[blockIdx.x]) * half;
    const float *sine = sines + size_t(positions[blockIdx.x]) * half;
    const unsigned slot = slots[blockIdx.x];
    // Where the first key head of this position goes; heads of a block are `BLOCK_SIZE * head_size` apart.
    const size_t place = (size_t(slot / BLOCK_SIZE) * kv_heads * BLOCK_SIZE + slot % BLOCK_SIZE) * head_size;
    const size_t next_head = size_t(BLOCK_SIZE) * head_size;
    for (unsigned pair = threadIdx.x; pair < (heads + kv_heads) * half; pair += blockDim.x) {
        const unsigned head = pair / half, index = pair % half;
        const bf16 *from = row + head * head_size + index;
        const float low = to_float(from[0]), high = to_float(from[half]);
        const bf16 turned_low = to_bf16(low * cosine[index] - high * sine[index]);
        const bf16 turned_high = to_bf16(high * cosine[index] + low * sine[index]);
        bf16 *to = head < heads ? row + head * head_size + index : keys + place + (head - heads) * next_head + index;
        to[0] = turned_low;
        to[half] = turned_high;
    }
    const bf16 *value = row + (heads + kv_heads) * head_size;
    for (unsigned index = threadIdx.x; index < kv_heads * head_size; index += blockDim.x)
        values[place + index / head_size * next_head + index % head_size] = value[index];
}
