// cuBLASLt's interface, as far as the host code calls it: D = alpha A^T B + beta C, with a bias and GELU if
// requested.
//
// Matrices are column-major, as in cuBLASLt: A is [k, m], B [k, n], C and D [m, n]. A and B are bf16, C and D are
// bf16 or f32.
//
// Like the library, it chooses an algorithm by everything that it is told before, so the bias must be known by then.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "driver.h"

namespace {

enum Status { SUCCESS = 0, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum Type { F32 = 0, BF16 = 14 };
enum Epilogue { PLAIN = 1, BIAS = 4, GELU_BIAS = 36 };

struct Description {
    int transposes_a = 0, transposes_b = 0;
    uint32_t epilogue = PLAIN;
    const void *bias = nullptr;
};

// What an algorithm must satisfy: the mask of reduction schemes that it may use.
struct Preferences {
    uint32_t reductions = ~0u;
};

// What this thread's library has no algorithm for, as bits of the argument of `gavel_refuse`: anything if the reduction
// schemes are restricted; GELU with a bias.
enum Refusal : int { RESTRICTED_REDUCTIONS = 1, BIAS_AND_GELU = 2 };
thread_local int refused = 0;

struct Layout {
    int type;
    uint64_t rows, columns;
    int64_t stride;
};

float gelu(float x) { return 0.5f * x * (1 + std::tanh(0.7978845608f * (x + 0.044715f * x * x * x))); }

std::vector<float> widened_columns(const void *matrix, const Layout &layout) {
    const uint16_t *words = static_cast<const uint16_t *>(matrix);
    std::vector<float> wide(layout.rows * layout.columns);
    for (uint64_t column = 0; column < layout.columns; column++)
        for (uint64_t row = 0; row < layout.rows; row++)
            wide[column * layout.rows + row] = to_float(words[column * layout.stride + row]);
    return wide;
}

// Sixteen parallel sums: few enough for registers, enough for the CPU's vectors.
float dot(const float *a, const float *b, uint64_t count) {
    float sums[16] = {};
    uint64_t index = 0;
    for (; index + 16 <= count; index += 16)
        for (int lane = 0; lane < 16; lane++) sums[lane] += a[index + lane] * b[index + lane];
    float sum = 0;
    for (; index < count; index++) sum += a[index] * b[index];
    for (float lane : sums) sum += lane;
    return sum;
}

struct Product {
    Description description;
    Layout a, b, c, d;
    const void *a_data, *b_data, *c_data;
    void *d_data;
    float alpha, beta;

    void finish(uint64_t row, uint64_t column, float value) const {
        value *= alpha;
        uint64_t place = column * d.stride + row;
        if (beta != 0) {
            uint64_t other = column * c.stride + row;
            float before = c.type == F32 ? static_cast<const float *>(c_data)[other]
                                         : to_float(static_cast<const uint16_t *>(c_data)[other]);
            value += beta * before;
        }
        if (description.epilogue != PLAIN) value += to_float(static_cast<const uint16_t *>(description.bias)[row]);
        if (description.epilogue == GELU_BIAS) value = gelu(value);
        if (d.type == F32)
            static_cast<float *>(d_data)[place] = value;
        else
            static_cast<uint16_t *>(d_data)[place] = to_bf16(value);
    }

    void run() const {
        const std::vector<float> left = widened_columns(a_data, a), right = widened_columns(b_data, b);
        auto part = [&](uint64_t first, uint64_t step) {
            for (uint64_t row = first; row < a.columns; row += step)
                for (uint64_t column = 0; column < b.columns; column++)
                    finish(row, column, dot(&left[row * a.rows], &right[column * b.rows], a.rows));
        };
        std::thread other([&] { part(1, 2); });
        part(0, 2);
        other.join();
    }
};

} // namespace

extern "C" {

int cublasLtCreate(void **handle) { return *handle = new int, SUCCESS; }
int cublasLtDestroy(void *handle) { return delete static_cast<int *>(handle), SUCCESS; }

int cublasLtMatmulDescCreate(void **description, int, int) { return *description = new Description, SUCCESS; }
int cublasLtMatmulDescDestroy(void *description) { return delete static_cast<Description *>(description), SUCCESS; }

int cublasLtMatmulDescSetAttribute(void *description, int attribute, const void *value, size_t bytes) {
    Description &own = *static_cast<Description *>(description);
    switch (attribute) {
    case 3: return memcpy(&own.transposes_a, value, bytes), SUCCESS;
    case 4: return memcpy(&own.transposes_b, value, bytes), SUCCESS;
    case 7: return memcpy(&own.epilogue, value, bytes), SUCCESS;
    case 8: return memcpy(&own.bias, value, bytes), SUCCESS;
    default: return NOT_SUPPORTED;
    }
}

int cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t columns, int64_t stride) {
    return *layout = new Layout{type, rows, columns, stride}, SUCCESS;
}
int cublasLtMatrixLayoutDestroy(void *layout) { return delete static_cast<Layout *>(layout), SUCCESS; }

int cublasLtMatmulPreferenceCreate(void **preference) { return *preference = new Preferences, SUCCESS; }
int cublasLtMatmulPreferenceDestroy(void *preference) { return delete static_cast<Preferences *>(preference), SUCCESS; }

int cublasLtMatmulPreferenceSetAttribute(void *preference, int attribute, const void *value, size_t bytes) {
    switch (attribute) {
    case 1: return SUCCESS; // bytes of workspace
    case 3: return memcpy(&static_cast<Preferences *>(preference)->reductions, value, bytes), SUCCESS;
    default: return NOT_SUPPORTED;
    }
}

// Not a function of the library: a test lets it refuse products of the calling thread.
void gavel_refuse(int what) { refused = what; }

// The result is the algorithm (64 bytes), bytes of workspace, a state, waves and four reserved numbers. The library has
// two ways to say that there is no algorithm: a status, and no results.
int cublasLtMatmulAlgoGetHeuristic(void *, void *description, void *, void *, void *, void *, void *preference, int,
                                   void *result, int *count) {
    const Description &own = *static_cast<Description *>(description);
    if (own.epilogue != PLAIN && (!own.bias || reinterpret_cast<uintptr_t>(own.bias) % 16 != 0)) return INVALID_VALUE;
    *count = 0;
    const bool restricted = static_cast<Preferences *>(preference)->reductions != ~0u;
    if (restricted && (refused & RESTRICTED_REDUCTIONS)) return NOT_SUPPORTED;
    if (own.epilogue == GELU_BIAS && (refused & BIAS_AND_GELU)) return SUCCESS;
    memset(result, 0, 96);
    return *count = 1, SUCCESS;
}

int cublasLtMatmul(void *, void *description, const void *alpha, const void *a, void *a_layout, const void *b,
                   void *b_layout, const void *beta, const void *c, void *c_layout, void *d, void *d_layout, const void *,
                   void *, size_t, void *stream) {
    Product product{*static_cast<Description *>(description),
                    *static_cast<Layout *>(a_layout),
                    *static_cast<Layout *>(b_layout),
                    *static_cast<Layout *>(c_layout),
                    *static_cast<Layout *>(d_layout),
                    a,
                    b,
                    c,
                    d,
                    *static_cast<const float *>(alpha),
                    *static_cast<const float *>(beta)};
    const Layout &left = product.a, &right = product.b, &result = product.d;
    bool fits = left.rows == right.rows && left.columns == result.rows && right.columns == result.columns;
    if (!fits || left.stride < int64_t(left.rows) || result.stride < int64_t(result.rows)) return INVALID_VALUE;
    if (!product.description.transposes_a || product.description.transposes_b) return NOT_SUPPORTED;
    if (left.type != BF16 || right.type != BF16 || (result.type != BF16 && result.type != F32)) return NOT_SUPPORTED;
    emulator::run(stream, [=] { product.run(); });
    return SUCCESS;
}
}
