"""Attention over the streams of a token on the CPU: torch's matrix products, and one pass between them each way.

The plain reference is sear.ops.sublayers.stream_attention_plain. S streams, T tokens, M hidden size, H heads, m = M / H
the width of a head, P = (1 + 2S)·M. Between the products tokens come last: loops run along them, however small m is.
"""

import math

import numpy as np
import torch
from torch import Tensor

from sear.kernels.compiler import compiled, exp
from sear.kernels.dropout_layer_norm import add_blocks
from sear.kernels.threads import fork_join

SPAN = 1024  # tokens worked on together: their weights stay in the nearest cache. Sums are cut into these spans


@compiled
def _fill(row, span, value):
    for t in range(span[0], span[1]):
        row[t] = value


@compiled
def _add_products(total, a, shift, b, scale, span):
    """total += scale * (a + shift) * b."""
    for t in range(span[0], span[1]):
        total[t] += scale * (a[t] + shift) * b[t]


@compiled
def _keep_larger(largest, row, span):
    for t in range(span[0], span[1]):
        largest[t] = max(largest[t], row[t])


@compiled
def _exponentials(row, largest, total, span):
    for t in range(span[0], span[1]):
        row[t] = exp(row[t] - largest[t])
        total[t] += row[t]


@compiled
def _divide(row, total, span):
    for t in range(span[0], span[1]):
        row[t] /= total[t]


@compiled
def _softmax_over_sources(weights, lane, span, largest, total):
    """weights[:, lane] in place; largest and total are scratch rows."""
    _fill(largest, span, -np.inf)
    _fill(total, span, 0)
    for j in range(len(weights)):
        _keep_larger(largest, weights[j, lane], span)
    for j in range(len(weights)):
        _exponentials(weights[j, lane], largest, total, span)
    for j in range(len(weights)):
        _divide(weights[j, lane], total, span)


@compiled
def _forward_units(start, stop, projection, bias, weights, mixed):
    """A unit is one head of one stream over a span of tokens. projection: (S, 1 + 2S, H, m, T); bias: (3, S, H, m);
    weights: (S, S·H, T), the source first; mixed: (S, H, m, T)."""
    S, _, H, width, T = projection.shape
    real = projection.dtype.type
    zero, one, scale = real(0), real(1), real(1 / math.sqrt(width))
    largest, total = np.empty(T, projection.dtype), np.empty(T, projection.dtype)
    for unit in range(start, stop):
        i, h, first = unit // H % S, unit % H, unit // (S * H) * SPAN
        span, lane = (np.uintp(first), np.uintp(min(first + SPAN, T))), i * H + h
        for j in range(S):
            _fill(weights[j, lane], span, zero)
            for m in range(width):
                query, key = projection[i, 0, h, m], projection[j, 1 + i, h, m]
                _add_products(weights[j, lane], query, bias[0, i, h, m], key, scale, span)
        _softmax_over_sources(weights, lane, span, largest, total)
        for m in range(width):
            _fill(mixed[i, h, m], span, bias[2, i, h, m])
            for j in range(S):
                _add_products(mixed[i, h, m], projection[j, 1 + S + i, h, m], zero, weights[j, lane], one, span)


@compiled
def _weight_gradient_to_score(d_weight, weight, expected, scale, span):
    """In place: the softmax's gradient, and the scale of the scores."""
    for t in range(span[0], span[1]):
        d_weight[t] = scale * weight[t] * (d_weight[t] - expected[t])


@compiled
def _source_gradients(query, q_bias, key, weight, d_score, d_out, d_query, d_key, d_value, span):
    for t in range(span[0], span[1]):
        d_query[t] += d_score[t] * key[t]
        d_key[t] = d_score[t] * (query[t] + q_bias)
        d_value[t] = weight[t] * d_out[t]


@compiled(reorder_sums=True)
def _sum(row, span):
    total = row.dtype.type(0)
    for t in range(span[0], span[1]):
        total += row[t]
    return total


@compiled
def _backward_units(start, stop, d_mixed, projection, bias, weights, d_projection, partial):
    """Units as in _forward_units. partial: (spans, 2, S, H, m), the sums for the query and value biases."""
    S, _, H, width, T = projection.shape
    real = projection.dtype.type
    zero, one, scale = real(0), real(1), real(1 / math.sqrt(width))
    d_score, expected = np.empty((S, T), projection.dtype), np.empty(T, projection.dtype)
    for unit in range(start, stop):
        i, h, number = unit // H % S, unit % H, unit // (S * H)
        span, lane = (np.uintp(number * SPAN), np.uintp(min((number + 1) * SPAN, T))), i * H + h
        _fill(expected, span, zero)
        for j in range(S):
            _fill(d_score[j], span, zero)
            for m in range(width):
                _add_products(d_score[j], d_mixed[i, h, m], zero, projection[j, 1 + S + i, h, m], one, span)
            _add_products(expected, d_score[j], zero, weights[j, lane], one, span)
        for j in range(S):
            _weight_gradient_to_score(d_score[j], weights[j, lane], expected, scale, span)
        for m in range(width):
            query, d_query, d_out = projection[i, 0, h, m], d_projection[i, 0, h, m], d_mixed[i, h, m]
            _fill(d_query, span, zero)
            for j in range(S):
                key, d_key, d_value = (
                    projection[j, 1 + i, h, m], d_projection[j, 1 + i, h, m], d_projection[j, 1 + S + i, h, m],
                )  # fmt: skip
                weight = weights[j, lane]
                _source_gradients(
                    query, bias[0, i, h, m], key, weight, d_score[j], d_out, d_query, d_key, d_value, span
                )
            partial[number, 0, i, h, m] = _sum(d_query, span)
            partial[number, 1, i, h, m] = _sum(d_out, span)


@compiled
def _forward(threads, projection, bias, weights, mixed):
    S, _, H, _, T = projection.shape
    fork_join(_forward_units, -(-T // SPAN) * S * H, threads, (projection, bias, weights, mixed))


@compiled
def _backward(threads, d_mixed, projection, bias, weights, d_projection, partial):
    S, _, H, _, _ = projection.shape
    arguments = (d_mixed, projection, bias, weights, d_projection, partial)
    fork_join(_backward_units, len(partial) * S * H, threads, arguments)
    add_blocks(partial.reshape(len(partial), 1, bias.size // 3 * 2))


class FusedStreamAttention(torch.autograd.Function):
    """Arguments as sear.ops.sublayers.stream_attention has them, the lists one after the other."""

    @staticmethod
    def forward(ctx, heads: int, weight_SPM, bias_3SM, *tokens_and_w_concat) -> tuple[Tensor, ...]:
        S, P, M = weight_SPM.shape
        token_TM, w_concat_MM = tokens_and_w_concat[:S], tokens_and_w_concat[S:]
        T, bias = len(token_TM[0]), bias_3SM.contiguous().view(3, S, heads, -1)
        projection = weight_SPM.new_empty(S, P, T)
        for weight_PM, x_TM, projected_PT in zip(weight_SPM, token_TM, projection, strict=True):
            torch.mm(weight_PM, x_TM.T, out=projected_PT)
        projection = projection.view(S, 1 + 2 * S, heads, M // heads, T)
        weights = weight_SPM.new_empty(S, S * heads, T)
        mixed = weight_SPM.new_empty(S, heads, M // heads, T)
        _forward(torch.get_num_threads(), projection.numpy(), bias.numpy(), weights.numpy(), mixed.numpy())
        ctx.save_for_backward(weight_SPM, projection, bias, weights, mixed, *tokens_and_w_concat)
        return tuple(mixed_MT.T @ w_MM.T for mixed_MT, w_MM in zip(mixed.view(S, M, T), w_concat_MM, strict=True))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *d_output_TM):
        weight_SPM, projection, bias, weights, mixed, *tokens_and_w_concat = ctx.saved_tensors
        S, P, M = weight_SPM.shape
        token_TM, w_concat_MM = tokens_and_w_concat[:S], tokens_and_w_concat[S:]
        T, heads = len(token_TM[0]), bias.shape[2]
        d_mixed, d_projection = torch.empty_like(mixed), torch.empty_like(projection)
        for w_MM, d_TM, d_mixed_MT in zip(w_concat_MM, d_output_TM, d_mixed.view(S, M, T), strict=True):
            torch.mm(w_MM.T, d_TM.T, out=d_mixed_MT)
        partial = bias.new_empty(max(1, -(-T // SPAN)), 2, S, heads, M // heads)
        _backward(
            torch.get_num_threads(), d_mixed.numpy(), projection.numpy(), bias.numpy(), weights.numpy(),
            d_projection.numpy(), partial.numpy(),
        )  # fmt: skip
        d_q_bias, d_v_bias = partial[0].view(2, S, M)
        d_projection = d_projection.view(S, P, T)
        d_weight_SPM = torch.stack([d_PT @ x_TM for d_PT, x_TM in zip(d_projection, token_TM, strict=True)])
        return (
            None, d_weight_SPM, torch.stack([d_q_bias, torch.zeros_like(d_q_bias), d_v_bias]),
            *(d_PT.T @ weight_PM for d_PT, weight_PM in zip(d_projection, weight_SPM, strict=True)),
            *(d_TM.T @ mixed_MT.T for d_TM, mixed_MT in zip(d_output_TM, mixed.view(S, M, T), strict=True)),
        )  # fmt: skip
