// Attention within images: every patch sees every patch of its own image.
//
// attend_dense_16, _32, _64, _80, _128: for head sizes up to that number.
//   out          bf16 [images * length][heads * D]
//   projections  bf16 [images * length][row_stride]
//   row_stride   a multiple of 8
//   queries, keys, values  where in a row the heads * D numbers of each begin: multiples of 8
//   length       patches of an image
//   heads
//   size         D, a multiple of 8
//   scale        1 / sqrt(D)
// Grid (ceil(length / 128), heads, images), blocks of 128 threads (256 for _128), 512 * stride bytes of dynamic
// shared memory, where stride is the size of the kernel for 64 and 128 and 8 more than it for the others.

#include "attention.cuh"

namespace attention {

// Keys and values of one head of one image, for `Stream`.
struct DenseSource {
    const bf16 *keys, *values;
    unsigned size, row_stride;
    size_t first;

    __device__ __forceinline__ void look_up(unsigned tile) {
        first = static_cast<size_t>(tile) * KEYS * row_stride;
    }
    __device__ __forceinline__ size_t place(unsigned row, unsigned) const { return first + row * row_stride; }
};

struct Places {
    unsigned queries, keys, values;
};

template <unsigned SIZE>
__device__ __forceinline__ void attend_dense(bf16 *out, const bf16 *projections, unsigned row_stride,
                                             Places places, unsigned length, unsigned heads, unsigned size,
                                             float scale) {
    // With two row tiles per warp, the keys and values that are loaded from shared memory, which is slow, are used
    // twice. Wide heads leave no registers for that.
    using S = Shape<SIZE, SIZE <= 80 ? 2 : 1, SIZE <= 80 ? 4 : 8, 1>;
    DYNAMIC_SHARED(bf16, shared);
    const size_t image = static_cast<size_t>(blockIdx.z) * length;
    const unsigned first_row = blockIdx.x * S::ROWS, head = blockIdx.y * size;
    const unsigned rows = min(S::ROWS, length - first_row), tiles = (length + KEYS - 1) / KEYS;
    const bf16 *own = projections + image * row_stride + head;
    DenseSource source = {own + places.keys, own + places.values, size, row_stride, 0};
    Stream<S, DenseSource> stream(shared, source, 0, tiles, length);
    Queries<S> queries;
    load_queries<S>(queries, shared + S::STAGE, rows, size, [&](unsigned row) {
        return own + places.queries + static_cast<size_t>(first_row + row) * row_stride;
    });
    Sight<S> sight;
    sight.all = sight.any = length;
#pragma unroll
    for (unsigned index = 0; index < S::ROW_TILES * 2; index++) {
        sight.last[index / 2][index % 2] = length - 1;
    }
    Attended<S> attended;
    attended.clear();
    for (unsigned tile = 0; tile < tiles; tile++) {
        attend<S>(attended, queries, stream.next(), tile * KEYS, sight, scale * LOG2_E);
    }
    attended.finish_sums();
    attended.divide_by_sums();
    bf16 *own_out = out + (image + first_row) * heads * size + head;
    write_rows<S>(
        attended, rows, size, [&](unsigned row) { return own_out + static_cast<size_t>(row) * heads * size; },
        [](bf16 *place, float left, float right) {
            *reinterpret_cast<unsigned *>(place) = pack_bf16(left, right);
        });
}

}  // namespace attention

#define ATTEND_DENSE(SIZE, THREADS, BLOCKS)                                                                 \
    BOUNDED_KERNEL(                                                                                         \
        attend_dense_##SIZE, THREADS, BLOCKS,                                                               \
        (bf16 *out, const bf16 *projections, unsigned row_stride, unsigned queries, unsigned keys,         \
         unsigned values, unsigned length, unsigned heads, unsigned size, float scale)) {                   \
        attention::attend_dense<SIZE>(out, projections, row_stride, {queries, keys, values}, length, heads, \
                                      size, scale);                                                         \
    }

ATTEND_DENSE(16, 128, 2)
ATTEND_DENSE(32, 128, 2)
ATTEND_DENSE(64, 128, 2)
ATTEND_DENSE(80, 128, 2)
ATTEND_DENSE(128, 256, 1)
