"""Attention over the streams of a token on the CPU, from one projection per source stream, in one pass each way.

The plain reference is sear.sublayer.stream_attention_plain. S streams, T tokens, H heads, m = M / H width of a head,
P = (1 + 2S)·M, N blocks of BLOCK tokens. S, H and m come as the lengths of tuples, so that they are constants to the
compiler: loops as short as these are fast only when it can unroll them.
"""

import math

import numpy as np
import torch
from torch import Tensor

from sear.compiled import compiled, exp
from sear.dropout_norm import sum_of_blocks
from sear.fork_join import fork_join

BLOCK = 16  # tokens whose weights are made together, so that the exponentials fill the vectors; also the unit of sums


@compiled(reorder_sums=True)
def _dot(a, b, width):
    total = a.dtype.type(0)
    for m in range(len(width)):
        total += a[m] * b[m]
    return total


@compiled
def _softmax_over_sources(weights):
    """weights (S, lanes), in place."""
    S, lanes = weights.shape
    for lane in range(lanes):
        largest = weights[0, lane]
        for j in range(1, S):
            largest = max(largest, weights[j, lane])
        total = weights.dtype.type(0)
        for j in range(S):
            weights[j, lane] = exp(weights[j, lane] - largest)
            total += weights[j, lane]
        for j in range(S):
            weights[j, lane] /= total


@compiled
def _forward_blocks(start, stop, sizes, projection, bias, weights, mixed):
    streams, heads, width = sizes
    S, H, m = len(streams), len(heads), len(width)
    M, T = H * m, projection.shape[1]
    real = projection.dtype.type
    scale = real(1 / math.sqrt(m))
    query = np.empty(M, projection.dtype)
    for block in range(start, stop):
        first, last = block * BLOCK, min((block + 1) * BLOCK, T)
        for t in range(first, last):
            for i in range(S):
                for c in range(M):
                    query[c] = scale * (projection[i, t, c] + bias[0, i, c])
                for h in range(H):
                    lane = ((t - first) * S + i) * H + h
                    for j in range(S):
                        key = projection[j, t, (1 + i) * M + h * m : (1 + i) * M + (h + 1) * m]
                        weights[block, j, lane] = _dot(query[h * m : (h + 1) * m], key, width)
        _softmax_over_sources(weights[block])
        for t in range(first, last):
            for i in range(S):
                for h in range(H):
                    lane = ((t - first) * S + i) * H + h
                    out = mixed[i, t, h * m : (h + 1) * m]
                    for c in range(m):
                        out[c] = bias[2, i, h * m + c]
                    for j in range(S):
                        value = projection[j, t, (1 + S + i) * M + h * m : (1 + S + i) * M + (h + 1) * m]
                        weight = weights[block, j, lane]
                        for c in range(m):
                            out[c] += weight * value[c]


@compiled
def _backward_blocks(start, stop, sizes, d_mixed, projection, bias, weights, d_projection, partial):
    streams, heads, width = sizes
    S, H, m = len(streams), len(heads), len(width)
    M, T = H * m, projection.shape[1]
    real = projection.dtype.type
    scale = real(1 / math.sqrt(m))
    d_weight = np.empty(S, projection.dtype)
    query, d_query = np.empty(m, projection.dtype), np.empty(m, projection.dtype)
    for block in range(start, stop):
        for t in range(block * BLOCK, min((block + 1) * BLOCK, T)):
            for i in range(S):
                for h in range(H):
                    lane = ((t - block * BLOCK) * S + i) * H + h
                    q, k, v = h * m, (1 + i) * M + h * m, (1 + S + i) * M + h * m
                    d_out = d_mixed[i, t, q : q + m]
                    expected = real(0)
                    for j in range(S):
                        d_weight[j] = _dot(d_out, projection[j, t, v : v + m], width)
                        expected += weights[block, j, lane] * d_weight[j]
                    for c in range(m):
                        query[c] = projection[i, t, q + c] + bias[0, i, q + c]
                        d_query[c] = real(0)
                    for j in range(S):
                        weight = weights[block, j, lane]
                        d_score = scale * weight * (d_weight[j] - expected)
                        key = projection[j, t, k : k + m]
                        d_key, d_value = d_projection[j, t, k : k + m], d_projection[j, t, v : v + m]
                        for c in range(m):
                            d_query[c] += d_score * key[c]
                            d_key[c] = d_score * query[c]
                            d_value[c] = weight * d_out[c]
                    d_projected = d_projection[i, t, q : q + m]
                    d_q_bias, d_v_bias = partial[block, 0, i, q : q + m], partial[block, 2, i, q : q + m]
                    for c in range(m):
                        d_projected[c] = d_query[c]
                        d_q_bias[c] += d_query[c]
                        d_v_bias[c] += d_out[c]


@compiled
def _forward(threads, sizes, projection, bias, mixed):
    S, T = mixed.shape[:2]
    weights = np.zeros((-(-T // BLOCK), S, BLOCK * S * len(sizes[1])), mixed.dtype)
    fork_join(_forward_blocks, len(weights), threads, (sizes, projection, bias, weights, mixed))
    return weights


@compiled
def _backward(threads, sizes, d_mixed, projection, bias, weights, d_projection):
    partial = np.zeros((len(weights), *bias.shape), bias.dtype)
    arguments = (sizes, d_mixed, projection, bias, weights, d_projection, partial)
    fork_join(_backward_blocks, len(weights), threads, arguments)
    return sum_of_blocks(partial)  # of a key's bias: exactly 0


class FusedStreamAttention(torch.autograd.Function):
    """(S, T, P) projections without biases, (3, S, M) biases -> (S, T, M)."""

    @staticmethod
    def forward(ctx, projection, bias, heads: int) -> Tensor:
        projection, bias = projection.contiguous(), bias.contiguous()
        S, T, _ = projection.shape
        M = bias.shape[-1]
        ctx.sizes = ((0,) * S, (0,) * heads, (0,) * (M // heads))
        mixed = projection.new_empty(S, T, M)
        ctx.weights = _forward(torch.get_num_threads(), ctx.sizes, projection.numpy(), bias.numpy(), mixed.numpy())
        ctx.save_for_backward(projection, bias)
        return mixed

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_mixed: Tensor):
        projection, bias = ctx.saved_tensors
        d_projection = torch.empty_like(projection)
        d_bias = _backward(
            torch.get_num_threads(), ctx.sizes, d_mixed.contiguous().numpy(), projection.numpy(), bias.numpy(),
            ctx.weights, d_projection.numpy(),
        )  # fmt: skip
        return d_projection, torch.from_numpy(d_bias), None
