// Layer normalisation of rows, y = (x - mean) / sqrt(variance + epsilon) * weight + bias, and RMS normalisation, the
// same without mean and bias. Sums are f32. Each row has a block of its own, whose size depends on the columns alone,
// so that a row's bits depend on nothing else.
//
// x, y: [rows, columns] bf16, columns a multiple of 8; weight, bias: [columns] f32. All are aligned to 16 bytes. Grid:
// (rows), block: as many threads as a row has groups of eight numbers, rounded up to whole warps, but at most 512.
//
// rms_norm_rounded writes what `round_rows` (products_quantised.cu) makes of the result of rms_norm, in place of that
// result:
//   codes, scales: as described in rounding.cuh
// rows: at most 64. columns: a multiple of 32.

#include "rounding.cuh"

// The largest number of threads in a block.
constexpr unsigned MOST_THREADS = 512;

// Groups of eight numbers of a row that a thread reads once and keeps: all of up to 8192 columns. Those after them
// are read again each time.
constexpr unsigned KEPT = 2;

// Eight contiguous numbers.
struct Eight {
    float values[8];
};

static __device__ Eight to_eight(const uint4 &words) {
    const unsigned pairs[4] = {words.x, words.y, words.z, words.w};
    Eight eight;
#pragma unroll
    for (int pair = 0; pair < 4; pair++) {
        eight.values[2 * pair] = to_float(bf16(pairs[pair] & 0xffff));
        eight.values[2 * pair + 1] = to_float(bf16(pairs[pair] >> 16));
    }
    return eight;
}

static __device__ Eight read_eight(const float *from) {
    const float4 low = reinterpret_cast<const float4 *>(from)[0], high = reinterpret_cast<const float4 *>(from)[1];
    return {{low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w}};
}

static __device__ void write_eight(bf16 *to, const Eight &eight) {
    uint4 words;
    words.x = pack_bf16(eight.values[0], eight.values[1]);
    words.y = pack_bf16(eight.values[2], eight.values[3]);
    words.z = pack_bf16(eight.values[4], eight.values[5]);
    words.w = pack_bf16(eight.values[6], eight.values[7]);
    *reinterpret_cast<uint4 *>(to) = words;
}

// The block's row of x, and the weights. The constructor starts loading the first groups of both that this thread
// needs into registers, so that nothing waits for memory a second time.
class Row {
public:
    __device__ Row(const bf16 *x, const float *weights, unsigned columns) : x(x), weights(weights), columns(columns) {
#pragma unroll
        for (unsigned index = 0; index < KEPT; index++) {
            const unsigned column = (index * blockDim.x + threadIdx.x) * 8;
            if (column >= columns) break;
            kept[index] = *reinterpret_cast<const uint4 *>(x + column);
            kept_weights[index] = read_eight(weights + column);
        }
    }

    // Calls `use(column, numbers, weights)` for each of the thread's groups of eight, where `weights()` returns the
    // weights from `column` on.
    template <class Use>
    __device__ void for_each(const Use &use) const {
#pragma unroll
        for (unsigned index = 0; index < KEPT; index++) {
            const unsigned column = (index * blockDim.x + threadIdx.x) * 8;
            if (column >= columns) return;
            use(column, to_eight(kept[index]), [&] { return kept_weights[index]; });
        }
        for (unsigned column = (KEPT * blockDim.x + threadIdx.x) * 8; column < columns; column += blockDim.x * 8) {
            const uint4 words = *reinterpret_cast<const uint4 *>(x + column);
            use(column, to_eight(words), [&] { return read_eight(weights + column); });
        }
    }

private:
    const bf16 *x;
    const float *weights;
    unsigned columns;
    uint4 kept[KEPT];
    Eight kept_weights[KEPT];
};

// Returns the sum of every thread's `value` to all threads. `of_warps` must not be used for another sum.
static __device__ float block_sum(float value, float (&of_warps)[MOST_THREADS / 32]) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(~0u, value, distance);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
    __syncthreads();
    float sum = 0;
    for (unsigned warp = 0; warp < blockDim.x / 32; warp++) sum += of_warps[warp];
    return sum;
}

// The sum over a row of (x - mean)^2.
static __device__ float sum_of_squares(const Row &row, float mean) {
    __shared__ float of_warps[MOST_THREADS / 32];
    float sum = 0;
    row.for_each([&](unsigned, const Eight &eight, const auto &) {
#pragma unroll
        for (int index = 0; index < 8; index++) {
            const float centred = eight.values[index] - mean;
            sum = fmaf(centred, centred, sum);
        }
    });
    return block_sum(sum, of_warps);
}

// Calls `write(column, numbers)` with the numbers of one row, (x - mean) * factor * weight + bias; `bias` may be null.
template <class Write>
static __device__ void scale_row(const Row &row, const float *bias, float mean, float factor, const Write &write) {
    row.for_each([&](unsigned column, Eight eight, const auto &weights) {
        const Eight weight = weights(), offset = bias ? read_eight(bias + column) : Eight{};
#pragma unroll
        for (int index = 0; index < 8; index++) {
            const float scaled = (eight.values[index] - mean) * factor * weight.values[index];
            eight.values[index] = bias ? scaled + offset.values[index] : scaled;
        }
        write(column, eight);
    });
}

// The factor by which RMS normalisation scales a row.
static __device__ float rms_factor(const Row &row, unsigned columns, float epsilon) {
    return rsqrtf(sum_of_squares(row, 0) / columns + epsilon);
}

BOUNDED_KERNEL(rms_norm, MOST_THREADS, 3,
               (bf16 *y, const bf16 *x, const float *weight, unsigned columns, float epsilon)) {
    const size_t first = size_t(blockIdx.x) * columns;
    const Row row(x + first, weight, columns);
    scale_row(row, nullptr, 0, rms_factor(row, columns, epsilon),
              [&](unsigned column, const Eight &eight) { write_eight(y + first + column, eight); });
}

// Of up to 64 rows a multiprocessor has hardly more than one, so that registers are not scarce.
BOUNDED_KERNEL(rms_norm_rounded, MOST_THREADS, 2,
               (unsigned char *codes, float *scales, const bf16 *x, const float *weight, unsigned columns,
                float epsilon)) {
    const unsigned padded = (columns + STRETCH_INPUTS - 1) / STRETCH_INPUTS * STRETCH_INPUTS;
    const Row row(x + size_t(blockIdx.x) * columns, weight, columns);
    // Four lanes share a block of inputs, and either all or none of them have numbers.
    const unsigned lanes = 0xfu << threadIdx.x % 32 / 4 * 4;
    scale_row(row, nullptr, 0, rms_factor(row, columns, epsilon), [&](unsigned column, const Eight &eight) {
        float numbers[LANE_INPUTS];
#pragma unroll
        for (unsigned index = 0; index < LANE_INPUTS; index++) numbers[index] = to_float(to_bf16(eight.values[index]));
        store_rounded(codes, scales, blockIdx.x, column, numbers, largest_of_block(numbers, lanes));
    });
    for (unsigned column = columns + threadIdx.x * LANE_INPUTS; column < padded; column += blockDim.x * LANE_INPUTS)
        store_rounded(codes, scales, blockIdx.x, column, {}, 0);
}

// The mean is subtracted first: the mean of squares minus the squared mean loses digits.
BOUNDED_KERNEL(layer_norm, MOST_THREADS, 2,
               (bf16 *y, const bf16 *x, const float *weight, const float *bias, unsigned columns, float epsilon)) {
    __shared__ float of_warps[MOST_THREADS / 32];
    const size_t first = size_t(blockIdx.x) * columns;
    const Row row(x + first, weight, columns);
    float sum = 0;
    row.for_each([&](unsigned, const Eight &eight, const auto &) {
#pragma unroll
        for (int index = 0; index < 8; index++) sum += eight.values[index];
    });
    const float mean = block_sum(sum, of_warps) / columns;
    const float factor = rsqrtf(sum_of_squares(row, mean) / columns + epsilon);
    scale_row(row, bias, mean, factor,
              [&](unsigned column, const Eight &eight) { write_eight(y + first + column, eight); });
}
