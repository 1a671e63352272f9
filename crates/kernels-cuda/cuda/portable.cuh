// What kernels may use besides plain C++, under our own names: inline PTX on a GPU, the emulator elsewhere.
//
// No CUDA header is included, so that g++ compiles the same source with `-DGAVEL_EMULATED`. Requires compute
// capability 8.0 or higher.

#pragma once

#ifdef GAVEL_EMULATED

#include "../emulator/device.h"

#else

// The bits of a bfloat16.
typedef unsigned short bf16;

// Declares a kernel with C linkage: KERNEL(add, (bf16 *x, const bf16 *y, unsigned count)) { ... }
#define KERNEL(name, parameters) extern "C" __global__ void name parameters

// Declares a kernel for blocks of at most `threads` threads, of which a multiprocessor holds at least `blocks`.
#define BOUNDED_KERNEL(name, threads, blocks, parameters) \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name parameters

// Declares the block's dynamic shared memory, aligned to 16 bytes, as the array `name` of `type`.
#define DYNAMIC_SHARED(type, name)                                  \
    extern __shared__ __align__(16) unsigned char dynamic_shared[]; \
    type *const name = reinterpret_cast<type *>(dynamic_shared)

// ---- Numbers ----

__device__ __forceinline__ float to_float(bf16 bits) {
    return __uint_as_float(static_cast<unsigned>(bits) << 16);
}

// Rounds `low` and `high` to nearest even and packs them, `low` in the lower half.
__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
    unsigned packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

// Rounds to nearest even.
__device__ __forceinline__ bf16 to_bf16(float value) {
    return static_cast<bf16>(pack_bf16(value, 0.0f));
}

__device__ __forceinline__ float half_to_float(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

// e to the power of `value`, with an error of up to 2 + floor(1.173 |value|) units in the last place.
__device__ __forceinline__ float exponential(float value) {
    return __expf(value);
}

// Two to the power of `value`, with an error of about two units in the last place; 0 for -infinity.
__device__ __forceinline__ float power_of_two(float value) {
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(value));
    return power;
}

// ---- Memory ----

// Reads 16 bytes that nothing writes meanwhile and that are not needed again soon, bypassing the L1 cache.
__device__ __forceinline__ uint4 load_once(const void *global) {
    uint4 value;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
                 : "l"(__cvta_generic_to_global(global)));
    return value;
}

// Starts copying 16 bytes between addresses aligned to 16. If not `valid`, `global` is not read and zeros are
// written.
__device__ __forceinline__ void copy_async_16(void *shared, const void *global, bool valid) {
    const unsigned place = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    const int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place),
                 "l"(__cvta_generic_to_global(global)), "r"(bytes)
                 : "memory");
}

// Closes a group of this thread's copies.
__device__ __forceinline__ void commit_copies() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most the `pending` latest groups of this thread's copies are in flight. Other threads see the copied
// data after a barrier.
template <int pending>
__device__ __forceinline__ void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// ---- Tensor cores: all 32 lanes of a warp take part ----

// Loads four matrices of 8 x 8 16-bit numbers. Lane 8 i + r passes the address of row r of matrix i: 16 bytes in
// shared memory, aligned to 16. Lane l receives in r[i] numbers 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 of matrix i.
__device__ __forceinline__ void load_matrices(unsigned (&r)[4], const void *row) {
    const unsigned place = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(place)
                 : "memory");
}

// Loads each matrix transposed: lane l receives in r[i] rows 2 (l % 4) and 2 (l % 4) + 1 of column l / 4 of matrix i.
__device__ __forceinline__ void load_matrices_transposed(unsigned (&r)[4], const void *row) {
    const unsigned place = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(place)
                 : "memory");
}

// d[16][8] += a[16][16] b[16][8] of bfloat16. With g = lane / 4 and c = 2 (lane % 4), a lane holds
// of d: rows g, g + 8, columns c, c + 1 (d[2 * (row > g) + (column > c)]);
// of a: columns c, c + 1 of rows g and g + 8, then columns c + 8, c + 9 of both;
// of b: rows c, c + 1, then c + 8, c + 9, of column g.
__device__ __forceinline__ void multiply_16x8x16(float (&d)[4], const unsigned (&a)[4],
                                                 const unsigned (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d[16][8] += a[16][32] b[32][8] of signed bytes. With g = lane / 4 and c = 4 (lane % 4), a lane holds
// of d: the same elements as above;
// of a: columns c to c + 3 of rows g and g + 8, then columns c + 16 to c + 19 of both;
// of b: rows c to c + 3, then c + 16 to c + 19, of column g.
__device__ __forceinline__ void multiply_16x8x32(int (&d)[4], const unsigned (&a)[4],
                                                 const unsigned (&b)[2]) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif
