"""Linear, GELU, dropout, Linear on the CPU: torch's matrix products, and one pass over the inner layer each way.

The plain reference is sear.ops.sublayers.feed_forward_plain. T tokens, M hidden size, F inner size.
"""

import math

import numpy as np
import torch
from numba import types
from numba.extending import overload
from torch import Tensor

from sear.kernels.compiler import compiled, exp
from sear.kernels.dropout_layer_norm import add_blocks, draw_mask, kept, token_number
from sear.kernels.threads import fork_join

BLOCK = 32  # tokens whose gradients are added up one after the other; sums depend on it, never on the threads
# Φ(-a) = φ(a) · t · (C0 + C1 t + ... + C8 t⁸) with t = 1 / (1 + STEP a), relative error 2e-8 for 0 ≤ a ≤ 13: fitted to
# scipy's erfcx by least squares, reweighted until the largest relative error stopped falling
STEP = np.float32(0.345)
C0, C1, C2, C3, C4, C5, C6, C7, C8 = (
    np.float32(c * math.sqrt(2 * math.pi))
    for c in (
        0.137619126, 0.138023995, 0.117213809, 0.111904498, -0.0378700605,
        0.187617701, -0.271569819, 0.14548795, -0.0284272084,
    )
)  # fmt: skip


def normal_cdf(x, density):
    """Φ(x), given the standard normal density φ(x); in float32 without branches: loops over it become SIMD code."""
    raise NotImplementedError("kernels only")


@overload(normal_cdf)
def _normal_cdf(x, density):
    if x == types.float64:
        return lambda x, density: 0.5 * math.erfc(-x * math.sqrt(0.5))

    def float32_cdf(x, density):
        t = np.float32(1) / (np.float32(1) + STEP * abs(x))
        tail = C8 * t + C7
        tail = tail * t + C6
        tail = tail * t + C5
        tail = tail * t + C4
        tail = tail * t + C3
        tail = tail * t + C2
        tail = tail * t + C1
        tail = (tail * t + C0) * t * density
        return np.float32(1) - tail if x > 0 else tail

    return float32_cdf


@compiled
def _forward_blocks(start, stop, inner, bias, mask, scale, active):
    """active = dropout(GELU(inner + bias)); inner becomes the slope of that, all that the way back needs of it."""
    T, F = inner.shape
    real = inner.dtype.type
    peak, half = real(1 / math.sqrt(2 * math.pi)), real(-0.5)
    for t in range(start * BLOCK, min(stop * BLOCK, T)):
        inner_row, active_row, first = inner[t], active[t], token_number(mask, t) * F
        for f in range(F):
            x = inner_row[f] + bias[f]
            density = peak * exp(half * x * x)
            cdf = normal_cdf(x, density)
            factor = scale if kept(mask, np.uint32(first + f)) else real(0)
            active_row[f] = factor * x * cdf
            inner_row[f] = factor * (cdf + x * density)


@compiled
def _backward_blocks(start, stop, gradient, slope, partial):
    """gradient of active becomes that of inner."""
    T, F = slope.shape
    for block in range(start, stop):
        d_bias = partial[block, 0]
        for t in range(block * BLOCK, min((block + 1) * BLOCK, T)):
            gradient_row, slope_row = gradient[t], slope[t]
            for f in range(F):
                product = gradient_row[f] * slope_row[f]
                gradient_row[f] = product
                d_bias[f] += product


@compiled
def _forward(threads, inner, bias, mask, scale, active):
    fork_join(_forward_blocks, -(-len(inner) // BLOCK), threads, (inner, bias, mask, scale, active))


@compiled
def _backward(threads, gradient, slope, partial):
    fork_join(_backward_blocks, len(partial), threads, (gradient, slope, partial))
    add_blocks(partial)


class FusedFeedForward(torch.autograd.Function):
    """dropout(GELU(hidden @ w_1ᵀ + b_1)) @ w_2ᵀ, for hidden (T, M)."""

    @staticmethod
    def forward(ctx, hidden, w_1, b_1, w_2, p: float, training: bool, drawn) -> Tensor:
        slope = hidden @ w_1.T
        active = torch.empty_like(slope)
        mask, scale = draw_mask(p, training, slope.numel(), drawn)
        scale = (np.float32 if slope.dtype == torch.float32 else np.float64)(scale)
        _forward(torch.get_num_threads(), slope.numpy(), b_1.contiguous().numpy(), mask, scale, active.numpy())
        ctx.save_for_backward(hidden, w_1, w_2, slope, active)
        return active @ w_2.T

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_output: Tensor):
        hidden, w_1, w_2, slope, active = ctx.saved_tensors
        gradient = d_output @ w_2
        partial = slope.new_zeros(max(1, -(-len(slope) // BLOCK)), 1, slope.shape[1])
        _backward(torch.get_num_threads(), gradient.numpy(), slope.numpy(), partial.numpy())
        return gradient @ w_1, gradient.T @ hidden, partial[0, 0], d_output.T @ active, None, None, None
