// Gathers, adds and mixes rows. Columns are multiples of 8 where a thread has eight numbers: everywhere but in
// mix_rows.

#include "portable.cuh"

static __device__ unsigned added(unsigned one, unsigned other) {
    const float low = to_float(bf16(one & 0xffff)) + to_float(bf16(other & 0xffff));
    return pack_bf16(low, to_float(bf16(one >> 16)) + to_float(bf16(other >> 16)));
}

static __device__ uint4 added(uint4 one, uint4 other) {
    uint4 sum;
    sum.x = added(one.x, other.x);
    sum.y = added(one.y, other.y);
    sum.z = added(one.z, other.z);
    sum.w = added(one.w, other.w);
    return sum;
}

// y: [rows, columns]: the rows `indices` of `table` [any, columns]. Grid: (rows), block: (128).
KERNEL(gather_rows, (bf16 *y, const bf16 *table, const unsigned *indices, unsigned columns)) {
    const bf16 *from = table + size_t(indices[blockIdx.x]) * columns;
    bf16 *to = y + size_t(blockIdx.x) * columns;
    for (unsigned column = threadIdx.x * 8; column < columns; column += blockDim.x * 8)
        *reinterpret_cast<uint4 *>(to + column) = *reinterpret_cast<const uint4 *>(from + column);
}

// Adds `table` [repeat, columns] to each run of `repeat` rows of x [rows, columns]. Grid: (rows), block: (128).
KERNEL(add_rows, (bf16 *x, const bf16 *table, unsigned repeat, unsigned columns)) {
    const bf16 *from = table + size_t(blockIdx.x % repeat) * columns;
    bf16 *to = x + size_t(blockIdx.x) * columns;
    for (unsigned column = threadIdx.x * 8; column < columns; column += blockDim.x * 8) {
        uint4 *place = reinterpret_cast<uint4 *>(to + column);
        *place = added(*place, *reinterpret_cast<const uint4 *>(from + column));
    }
}

// A row mixed from up to four others; the weights of unused ones are 0.
struct Mixture {
    unsigned rows[4];
    float weights[4];
};

// y: [rows, columns], each row a mixture of rows of x [any, columns]. Grid: (rows), block: (128).
KERNEL(mix_rows, (bf16 *y, const bf16 *x, const Mixture *mixtures, unsigned columns)) {
    const Mixture mixture = mixtures[blockIdx.x];
    bf16 *to = y + size_t(blockIdx.x) * columns;
    for (unsigned column = threadIdx.x; column < columns; column += blockDim.x) {
        float sum = 0;
        for (int part = 0; part < 4; part++)
            if (mixture.weights[part] != 0)
                sum = fmaf(mixture.weights[part], to_float(x[size_t(mixture.rows[part]) * columns + column]), sum);
        to[column] = to_bf16(sum);
    }
}
