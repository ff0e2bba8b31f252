"""The end of a sublayer on the CPU: bias, dropout, residual and LayerNorm in one pass each way.

The plain reference is sear.ops.sublayers.dropout_add_layer_norm_plain.
T tokens, M hidden size, N blocks of BLOCK tokens.
"""

import numpy as np
import torch
from torch import Tensor

from sear.kernels.compiler import compiled
from sear.kernels.threads import fork_join

BLOCK = 32  # tokens whose gradients are added up one after the other; sums depend on it, never on the threads


@compiled
def _sum(values, count):
    """values[:count].sum(), by adding the second half to the first over and over; overwrites them.

    The order is written out: of a loop that both sums and stores, the compiler makes a SIMD and a plain version, and
    which of them runs, and so the rounding, would depend on where the arrays happen to lie.
    """
    while count > 1:
        half = (count + 1) // 2
        for m in range(count - half):
            values[m] += values[m + half]
        count = half
    return values[0]


@compiled
def _forward_blocks(start, stop, residual, sublayer, bias, norm, eps, mask, scale, out, unit, rstd):
    T, M = sublayer.shape
    real = sublayer.dtype.type
    residual_step = 1 if residual.shape[0] == T else 0  # else a single row of zeros
    weight, shift = norm
    terms = np.empty(M, sublayer.dtype)
    for t in range(start * BLOCK, min(stop * BLOCK, T)):
        residual_row, sublayer_row, unit_row, out_row = residual[t * residual_step], sublayer[t], unit[t], out[t]
        first = token_number(mask, t) * M
        for m in range(M):
            factor = scale if kept(mask, np.uint32(first + m)) else real(0)
            hidden = residual_row[m] + factor * (sublayer_row[m] + bias[m])
            unit_row[m] = terms[m] = hidden
        mean = _sum(terms, M) / real(M)
        for m in range(M):
            terms[m] = (unit_row[m] - mean) ** 2
        scale_row = real(1) / np.sqrt(_sum(terms, M) / real(M) + eps)
        rstd[t] = scale_row
        for m in range(M):
            unit_row[m] = (unit_row[m] - mean) * scale_row
            out_row[m] = unit_row[m] * weight[m] + shift[m]


@compiled
def _backward_blocks(start, stop, d_out, weight, unit, rstd, mask, scale, d_residual, d_sublayer, partial):
    T, M = d_out.shape
    real = d_out.dtype.type
    terms = np.empty((2, M), d_out.dtype)
    for block in range(start, stop):
        d_bias, d_weight, d_shift = partial[block, 0], partial[block, 1], partial[block, 2]
        for t in range(block * BLOCK, min((block + 1) * BLOCK, T)):
            d_out_row, unit_row, d_residual_row, d_sublayer_row = d_out[t], unit[t], d_residual[t], d_sublayer[t]
            for m in range(M):
                terms[0, m] = d_out_row[m] * weight[m]
                terms[1, m] = d_out_row[m] * weight[m] * unit_row[m]
            along_one, along_unit, scale_row = _sum(terms[0], M) / real(M), _sum(terms[1], M) / real(M), rstd[t]
            first = token_number(mask, t) * M
            for m in range(M):
                d_hidden = scale_row * (d_out_row[m] * weight[m] - along_one - unit_row[m] * along_unit)
                factor = scale if kept(mask, np.uint32(first + m)) else real(0)
                d_residual_row[m] = d_hidden
                d_sublayer_row[m] = factor * d_hidden
                d_bias[m] += factor * d_hidden
                d_weight[m] += d_out_row[m] * unit_row[m]
                d_shift[m] += d_out_row[m]


@compiled
def _forward(threads, residual, sublayer, bias, norm, eps, mask, scale, out, unit, rstd):
    arguments = (residual, sublayer, bias, norm, eps, mask, scale, out, unit, rstd)
    fork_join(_forward_blocks, -(-len(sublayer) // BLOCK), threads, arguments)


@compiled
def _backward(threads, d_out, weight, unit, rstd, mask, scale, d_residual, d_sublayer, partial):
    arguments = (d_out, weight, unit, rstd, mask, scale, d_residual, d_sublayer, partial)
    fork_join(_backward_blocks, len(partial), threads, arguments)
    add_blocks(partial)


@compiled
def add_blocks(partial):
    """partial[0] becomes partial.sum(0), the blocks added in order: (N, A, M)."""
    N, A, M = partial.shape
    for block in range(1, N):
        for a in range(A):
            for m in range(M):
                partial[0, a, m] += partial[block, a, m]


class DropoutAddLayerNorm(torch.autograd.Function):
    """LayerNorm(residual + dropout(sublayer + bias)); residual and bias may be None, meaning 0."""

    @staticmethod
    def forward(ctx, residual, sublayer, bias, weight, shift, eps: float, p: float, training: bool, drawn) -> Tensor:
        M = sublayer.shape[-1]
        real = np.float32 if sublayer.dtype == torch.float32 else np.float64
        ctx.mask, ctx.scale = draw_mask(p, training, sublayer.numel(), drawn)
        ctx.scale = real(ctx.scale)
        ctx.has_residual, ctx.has_bias = residual is not None, bias is not None
        sublayer = sublayer.contiguous()
        residual = residual.contiguous().view(-1, M) if ctx.has_residual else sublayer.new_zeros(1, M)
        bias = bias if ctx.has_bias else sublayer.new_zeros(M)
        weight, shift = weight.contiguous(), shift.contiguous()
        out, unit = torch.empty_like(sublayer), torch.empty_like(sublayer)
        rstd = sublayer.new_empty(sublayer.numel() // M)
        _forward(
            torch.get_num_threads(), residual.numpy(), sublayer.view(-1, M).numpy(), bias.contiguous().numpy(),
            (weight.numpy(), shift.numpy()), real(eps), ctx.mask, ctx.scale,
            out.view(-1, M).numpy(), unit.view(-1, M).numpy(), rstd.numpy(),
        )  # fmt: skip
        ctx.save_for_backward(weight, unit, rstd)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_out: Tensor):
        weight, unit, rstd = ctx.saved_tensors
        M = d_out.shape[-1]
        d_out = d_out.contiguous()
        d_residual, d_sublayer = torch.empty_like(d_out), torch.empty_like(d_out)
        partial = d_out.new_zeros(max(1, -(-len(rstd) // BLOCK)), 3, M)
        _backward(
            torch.get_num_threads(), d_out.view(-1, M).numpy(), weight.numpy(), unit.view(-1, M).numpy(), rstd.numpy(),
            ctx.mask, ctx.scale, d_residual.view(-1, M).numpy(), d_sublayer.view(-1, M).numpy(), partial.numpy(),
        )  # fmt: skip
        d_bias, d_weight, d_shift = partial[0]
        d_residual, d_bias = d_residual if ctx.has_residual else None, d_bias if ctx.has_bias else None
        return d_residual, d_sublayer, d_bias, d_weight, d_shift, None, None, None, None


# two halves of a key, the hash from which on an element is kept, and the tokens' numbers where they are not 0, 1, 2, …
Mask = tuple[np.uint32, np.uint32, np.uint32, np.ndarray]
Drawn = tuple[np.ndarray, torch.Generator]  # the tokens' numbers, uint32 (T,), and what a mask's key is drawn from
IN_ORDER = np.empty(0, np.uint32)
ALL_KEPT = (np.uint32(0), np.uint32(0), np.uint32(0), IN_ORDER)


def draw_mask(p: float, training: bool, elements: int, drawn: Drawn | None = None) -> tuple[Mask, float]:
    """A mask that keeps each element with probability 1 - p, and the scale of what is kept, 1 / (1 - p).

    Args:
        drawn: None: the tokens are numbered as they stand, and the key is drawn from torch's default CPU generator,
            which torch.manual_seed rules.
    """
    if not training or p == 0:
        return ALL_KEPT, 1.0
    if p == 1:
        p, scale = 1 - 2.0**-32, 0.0
    else:
        scale = 1 / (1 - p)
    assert elements <= 2**32, "an element's number has 32 bits"
    numbers, generator = drawn or (IN_ORDER, None)
    key = int(torch.randint(2**62, (), generator=generator))
    return (np.uint32(key >> 31), np.uint32(key & 0x7FFFFFFF), np.uint32(round(p * 2**32)), numbers), scale


@compiled
def token_number(mask, t):
    """The number of token t, by which its elements are numbered."""
    numbers = mask[3]
    return numbers[t] if len(numbers) else np.uint32(t)


@compiled
def kept(mask, element):
    """Whether the mask keeps an element, given its uint32 number."""
    before, after, threshold, _ = mask
    x = np.uint32(element + before)
    x = np.uint32((x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B))
    x = np.uint32((x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35))
    x = np.uint32((x ^ (x >> np.uint32(16)) ^ after) * np.uint32(0x9E3779B1))  # the odd number near 2^32 / golden ratio
    return x >= threshold
