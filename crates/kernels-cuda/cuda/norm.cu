// The two normalisations over a row: y = (x - mean) / sqrt(variance + epsilon) * weight + bias, and the same without mean and
// bias. Sums are f32; each row has a block of its own, so that its bits depend on nothing else.

#include "portable.cuh"

// Threads of a block.
constexpr unsigned THREADS = 256;

// The sum of every thread's `value`, for all of them.
static __device__ float block_sum(float value) {
    __shared__ float of_warps[THREADS / 32];
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(~0u, value, distance);
    __syncthreads(); // whoever still reads the sums of the last call has done so
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
    __syncthreads();
    float sum = 0;
    for (unsigned warp = 0; warp < THREADS / 32; warp++) sum += of_warps[warp];
    return sum;
}

// Eight numbers that lie together.
struct Eight {
    float values[8];
};

static __device__ Eight read_eight(const bf16 *from) {
    const uint4 words = *reinterpret_cast<const uint4 *>(from);
    const unsigned pairs[4] = {words.x, words.y, words.z, words.w};
    Eight eight;
    for (int pair = 0; pair < 4; pair++) {
        eight.values[2 * pair] = to_float(bf16(pairs[pair] & 0xffff));
        eight.values[2 * pair + 1] = to_float(bf16(pairs[pair] >> 16));
    }
    return eight;
}

static __device__ void write_eight(bf16 *to, const Eight &eight) {
    uint4 words;
    words.x = pack_bf16(eight.values[0], eight.values[1]);
    words.y = pack_bf16(eight.values[2], eight.values[3]);
    words.z = pack_bf16(eight.values[4], eight.values[5]);
    words.w = pack_bf16(eight.values[6], eight.values[7]);
    *reinterpret_cast<uint4 *>(to) = words;
}

// y = (x - mean) * factor * weight + bias for one row; `bias` may be null.
static __device__ void scale_row(bf16 *y, const bf16 *x, const float *weight, const float *bias, unsigned columns, float mean,
                          float factor) {
    for (unsigned column = threadIdx.x * 8; column < columns; column += THREADS * 8) {
        Eight eight = read_eight(x + column);
        for (int index = 0; index < 8; index++) {
            const float scaled = (eight.values[index] - mean) * factor * weight[column + index];
            eight.values[index] = bias ? scaled + bias[column + index] : scaled;
        }
        write_eight(y + column, eight);
    }
}

// The sum over a row of (x - mean)^2.
static __device__ float sum_of_squares(const bf16 *x, unsigned columns, float mean) {
    float sum = 0;
    for (unsigned column = threadIdx.x * 8; column < columns; column += THREADS * 8) {
        const Eight eight = read_eight(x + column);
        for (int index = 0; index < 8; index++) {
            const float centred = eight.values[index] - mean;
            sum = fmaf(centred, centred, sum);
        }
    }
    return block_sum(sum);
}

// x, y: [rows, columns] bf16, columns a multiple of 8; weight: [columns]. Grid: (rows), block: (256).
KERNEL(rms_norm, (bf16 *y, const bf16 *x, const float *weight, unsigned columns, float epsilon)) {
    x += size_t(blockIdx.x) * columns;
    y += size_t(blockIdx.x) * columns;
    const float factor = rsqrtf(sum_of_squares(x, columns, 0) / columns + epsilon);
    scale_row(y, x, weight, nullptr, columns, 0, factor);
}

// The same shapes, and bias: [columns]. The mean goes first: mean of squares less square of mean loses digits.
KERNEL(layer_norm, (bf16 *y, const bf16 *x, const float *weight, const float *bias, unsigned columns, float epsilon)) {
    x += size_t(blockIdx.x) * columns;
    y += size_t(blockIdx.x) * columns;
    float sum = 0;
    for (unsigned column = threadIdx.x * 8; column < columns; column += THREADS * 8) {
        const Eight eight = read_eight(x + column);
        for (int index = 0; index < 8; index++) sum += eight.values[index];
    }
    const float mean = block_sum(sum) / columns;
    const float factor = rsqrtf(sum_of_squares(x, columns, mean) / columns + epsilon);
    scale_row(y, x, weight, bias, columns, mean, factor);
}
