// Elementwise activations, alone and as gates.

#pragma once

#include "portable.cuh"

// The activations, with the numbers of `Activation` in src/activation.rs.
enum Kind : unsigned { GELU = 0, GELU_TANH = 1, SILU = 2, TANH = 3 };

__device__ __forceinline__ float activated(float x, unsigned kind) {
    switch (kind) {
    case GELU: return 0.5f * x * (1 + erff(x * 0.70710678f));
    case GELU_TANH: return 0.5f * x * (1 + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    case SILU: return x / (1 + exponential(-x));
    default: return tanhf(x);
    }
}

// The activation of `x`, times `factor`. The activation is rounded to bf16 before it is multiplied, as where both are
// separate operations.
__device__ __forceinline__ float gated(float x, float factor, unsigned kind) {
    return to_float(to_bf16(activated(x, kind))) * factor;
}
