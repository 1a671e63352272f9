// Applies rotary position embeddings, and stores keys and values in the cache.

#include "portable.cuh"

// Positions in a block of the cache.
constexpr unsigned BLOCK_SIZE = 32;

// Numbers of each half of a head that a thread processes.
constexpr unsigned TOGETHER = 4;

// Rotates two pairs of numbers, each one of `low` and one of `high`, by their angles.
static __device__ void turn(unsigned &low, unsigned &high, float2 cosine, float2 sine) {
    const float2 x = make_float2(to_float(bf16(low & 0xffff)), to_float(bf16(low >> 16)));
    const float2 y = make_float2(to_float(bf16(high & 0xffff)), to_float(bf16(high >> 16)));
    low = pack_bf16(x.x * cosine.x - y.x * sine.x, x.y * cosine.y - y.y * sine.y);
    high = pack_bf16(y.x * cosine.x + x.x * sine.x, y.y * cosine.y + x.y * sine.y);
}

// projections: [T, (H + 2 K) * D], where a row is queries, keys and values, and D is a multiple of 8. Queries and
// keys are rotated by the row of their position in `cosines` and `sines` [positions, D / 2] f32, dimension i together
// with i + D / 2: queries in place, keys on their way to the cache. keys, values: [blocks, K, 32, D]; slots[t] =
// block * 32 + offset. Grid: (T, blocks with a thread for each 8 numbers of a row), block: (128).
KERNEL(rotate_and_store,
       (bf16 *projections, const float *cosines, const float *sines, const unsigned *positions, const unsigned *slots,
        bf16 *keys, bf16 *values, unsigned heads, unsigned kv_heads, unsigned head_size)) {
    const unsigned half = head_size / 2, of_head = half / TOGETHER;
    const unsigned thread = blockIdx.y * blockDim.x + threadIdx.x;
    const unsigned head = thread / of_head, index = thread % of_head * TOGETHER;
    if (head >= heads + 2 * kv_heads) return;
    bf16 *from = projections + (size_t(blockIdx.x) * (heads + 2 * kv_heads) + head) * head_size + index;
    uint2 low = *reinterpret_cast<const uint2 *>(from), high = *reinterpret_cast<const uint2 *>(from + half);
    bf16 *to = from;
    if (head < heads + kv_heads) {
        const size_t angle = size_t(positions[blockIdx.x]) * half + index;
        const float4 cosine = *reinterpret_cast<const float4 *>(cosines + angle);
        const float4 sine = *reinterpret_cast<const float4 *>(sines + angle);
        turn(low.x, high.x, make_float2(cosine.x, cosine.y), make_float2(sine.x, sine.y));
        turn(low.y, high.y, make_float2(cosine.z, cosine.w), make_float2(sine.z, sine.w));
    }
    if (head >= heads) {
        const unsigned slot = slots[blockIdx.x], own = (head - heads) % kv_heads;
        const size_t place = (size_t(slot / BLOCK_SIZE) * kv_heads + own) * BLOCK_SIZE + slot % BLOCK_SIZE;
        to = (head < heads + kv_heads ? keys : values) + place * head_size + index;
    }
    *reinterpret_cast<uint2 *>(to) = low;
    *reinterpret_cast<uint2 *>(to + half) = high;
}
