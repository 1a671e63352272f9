// Emulates a GPU on the CPU: blocks, threads, shared memory and tensor-core products.
//
// The first part is the interface to the driver; the second is what kernels see (documented in cuda/portable.cuh).

#pragma once

#include <math.h>
#include <stddef.h>
#include <string.h>

#include <utility>
#include <vector>

namespace emulator {

struct Dim {
    unsigned x, y, z;
};

// Runs a kernel's body for the current thread.
using Entry = void (*)(void **arguments);

// A kernel, and the size in bytes of each of its arguments.
struct Kernel {
    Entry entry;
    std::vector<size_t> argument_bytes;
};

// Returns null if there is no such kernel.
const Kernel *find_kernel(const char *name);

// Returns when all blocks are done. Faults of a kernel (a barrier that not all threads reach, copies that are not
// aligned and the like) end the process with a message.
void launch(Entry entry, Dim grid, Dim block, size_t dynamic_shared_bytes, void **arguments);

// ---- Helpers of the macros and functions below ----

struct Registration {
    Registration(const char *name, Kernel kernel);
};

// Reads a kernel's arguments from the driver's array, by the types of its parameters.
template <auto *kernel>
struct Call;

template <class... Parameters, void (*kernel)(Parameters...)>
struct Call<kernel> {
    static Kernel described() { return {run, {sizeof(Parameters)...}}; }

    static void run(void **arguments) { spread(arguments, std::index_sequence_for<Parameters...>{}); }

    template <size_t... index>
    static void spread([[maybe_unused]] void **arguments, std::index_sequence<index...>) {
        kernel(*static_cast<Parameters *>(arguments[index])...);
    }
};

// The indices of the current thread and its block, and the block's dynamic shared memory.
struct Place {
    Dim thread, block, block_size, grid_size;
    void *shared;
};

// One for each thread of the operating system.
extern __thread const Place *place;

// An operation that the lanes of `mask` do together when all have arrived; each passed the address of its operand.
using Together = void (*)(void *const (&operands)[32], unsigned mask);

enum class Lanes { AllThatExist, Exactly32 };

// Waits for all lanes of `mask`; the last one to arrive runs `together` for all.
void meet(Together together, unsigned mask, Lanes lanes, void *operand);

void wait_for_block();

unsigned long long shuffle(unsigned mask, unsigned long long value, unsigned source);

unsigned current_lane();

// Asynchronous copies: those of every second thread are made at once, those of the others when they are waited for,
// since a GPU may do either.
void begin_copy(void *shared, const void *global, bool valid);
void end_copy_group();
void finish_copies(unsigned pending);

template <class T>
T shuffle_value(unsigned mask, T value, unsigned source) {
    static_assert(sizeof(T) <= 8);
    unsigned long long bits = 0;
    memcpy(&bits, &value, sizeof(T));
    bits = shuffle(mask, bits, source);
    memcpy(&value, &bits, sizeof(T));
    return value;
}

}  // namespace emulator

// ---- What kernels see: CUDA's own names ----

#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __constant__ static const
// A block stays on one thread of the operating system.
#define __shared__ static thread_local
#define __align__(bytes) alignas(bytes)

#define threadIdx (emulator::place->thread)
#define blockIdx (emulator::place->block)
#define blockDim (emulator::place->block_size)
#define gridDim (emulator::place->grid_size)

struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

template <class T>
inline T min(T one, T other) {
    return other < one ? other : one;
}

template <class T>
inline T max(T one, T other) {
    return one < other ? other : one;
}

inline float rsqrtf(float value) { return 1.0f / sqrtf(value); }

inline unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, 4);
    return bits;
}

inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

inline int __float_as_int(float value) { return static_cast<int>(__float_as_uint(value)); }
inline float __int_as_float(int bits) { return __uint_as_float(static_cast<unsigned>(bits)); }

template <class T>
inline T __ldg(const T *global) {
    return *global;
}

unsigned __byte_perm(unsigned low, unsigned high, unsigned selector);

inline void __syncthreads() { emulator::wait_for_block(); }

void __syncwarp(unsigned mask = 0xffffffff);

template <class T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    const unsigned group = emulator::current_lane() & ~(width - 1u);
    return emulator::shuffle_value(mask, value, group + (source & (width - 1u)));
}

template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
    const unsigned lane = emulator::current_lane(), source = lane ^ lanes;
    // A lane keeps its own value if the source is beyond its group; it may read groups before its own.
    return emulator::shuffle_value(mask, value, source >= (lane | (width - 1u)) + 1 ? lane : source);
}

template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32) {
    const unsigned lane = emulator::current_lane(), source = lane + lanes;
    return emulator::shuffle_value(mask, value, source > (lane | (width - 1u)) ? lane : source);
}

// ---- What kernels see: our own names ----

typedef unsigned short bf16;

#define KERNEL(name, parameters)                                                                          \
    static void name parameters;                                                                          \
    static const emulator::Registration registration_of_##name(#name, emulator::Call<name>::described()); \
    static void name parameters

#define BOUNDED_KERNEL(name, threads, blocks, parameters) KERNEL(name, parameters)

#define DYNAMIC_SHARED(type, name) type *const name = static_cast<type *>(emulator::place->shared)

inline float to_float(bf16 bits) { return __uint_as_float(static_cast<unsigned>(bits) << 16); }

inline bf16 to_bf16(float value) {
    const unsigned bits = __float_as_uint(value);
    // The last bit that stays decides a tie; NaN must not round to infinity.
    return value != value ? 0x7fff : static_cast<bf16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline unsigned pack_bf16(float low, float high) {
    return to_bf16(low) | static_cast<unsigned>(to_bf16(high)) << 16;
}

float half_to_float(unsigned short bits);

inline float exponential(float value) { return expf(value); }
inline float power_of_two(float value) { return exp2f(value); }

inline uint4 load_once(const void *global) { return *static_cast<const uint4 *>(global); }

inline void copy_async_16(void *shared, const void *global, bool valid) {
    emulator::begin_copy(shared, global, valid);
}

inline void commit_copies() { emulator::end_copy_group(); }

template <int pending>
inline void wait_for_copies() {
    emulator::finish_copies(pending);
}

void load_matrices(unsigned (&r)[4], const void *row);
void load_matrices_transposed(unsigned (&r)[4], const void *row);
void multiply_16x8x16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]);
void multiply_16x8x32(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]);
