"""Mamba's causal convolution with its SiLU on a GPU, forward and backward, in Triton.

The plain definition is causal_conv_reference of ops. A program takes one sequence and a block of its channels, and
walks along time in tiles. Backward computes the sums before the SiLU once more: the gradient of a step needs those of
the steps that saw it. T steps of a tile, D channels, K taps.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from sear.kernels.triton_tiles import FUSED, load_tile, rows_of, sigmoid, store_tile

STEPS = 16
CHANNELS = 64


@triton.jit
def _tap(weight, d, k, channels, TAPS: tl.constexpr):
    return tl.load(weight + d * TAPS + k, mask=d < channels, other=0.0)[None, :]


@triton.jit
def _sums(x, x_step, weight, bias_D, t, d, length, channels, TAPS: tl.constexpr):
    """bias + sum_k weight[:, k] x[t - K + 1 + k], (T, D)."""
    total_TD = bias_D[None, :]
    for k in tl.static_range(TAPS):
        at = t - TAPS + 1 + k
        seen_TD = load_tile(x, x_step, tl.where(at < 0, length, at), d, length, channels)  # 0 before the start, too
        total_TD += _tap(weight, d, k, channels, TAPS) * seen_TD
    return total_TD


@triton.jit(do_not_specialize=["length"])
def _forward_kernel(
    x, weight, bias, y, x_row, x_step, group_rows, length, channels,
    T: tl.constexpr, BLOCK: tl.constexpr, TAPS: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(channels, BLOCK)
    row = (tl.program_id(0) // blocks).to(tl.int64)
    d = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    x, y = x + row * x_row, y + row * length * channels
    weight += row // group_rows * channels * TAPS
    bias_D = tl.load(bias + row // group_rows * channels + d, mask=d < channels, other=0.0)
    for start in range(0, length, T):
        t = start + tl.arange(0, T)
        total_TD = _sums(x, x_step, weight, bias_D, t, d, length, channels, TAPS)
        store_tile(y, channels, t, d, length, channels, total_TD * sigmoid(total_TD))


@triton.jit(do_not_specialize=["length"])
def _backward_kernel(
    x, weight, bias, dy, dx, parts, x_row, x_step, dy_row, dy_step, group_rows, length, channels,
    T: tl.constexpr, BLOCK: tl.constexpr, TAPS: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """parts: (rows, K + 1, channels), each sequence's share in the gradients of weight (transposed) and bias."""
    blocks = tl.cdiv(channels, BLOCK)
    row = (tl.program_id(0) // blocks).to(tl.int64)
    d = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    x, dy, dx = x + row * x_row, dy + row * dy_row, dx + row * length * channels
    weight += row // group_rows * channels * TAPS
    bias_D = tl.load(bias + row // group_rows * channels + d, mask=d < channels, other=0.0)
    part = tl.arange(0, PARTS)
    sums_PD = tl.zeros((PARTS, BLOCK), dtype=tl.float32)
    for start in range(0, length, T):
        t = start + tl.arange(0, T)
        dx_TD = tl.zeros((T, BLOCK), dtype=tl.float32)
        for later in tl.static_range(TAPS):  # the step t + later saw x[t] by its tap K - 1 - later
            total_TD = _sums(x, x_step, weight, bias_D, t + later, d, length, channels, TAPS)
            gate_TD = sigmoid(total_TD)
            dy_TD = load_tile(dy, dy_step, t + later, d, length, channels)
            slope_TD = dy_TD * gate_TD * (1.0 + total_TD * (1.0 - gate_TD))
            dx_TD += _tap(weight, d, TAPS - 1 - later, channels, TAPS) * slope_TD
            seen_TD = load_tile(x, x_step, t, d, length, channels)
            dweight_D = tl.sum(slope_TD * seen_TD, axis=0)
            sums_PD += tl.where(part[:, None] == TAPS - 1 - later, dweight_D[None, :], 0.0)
            if later == 0:
                sums_PD += tl.where(part[:, None] == TAPS, tl.sum(slope_TD, axis=0)[None, :], 0.0)
        store_tile(dx, channels, t, d, length, channels, dx_TD)
    store_tile(parts + row * (TAPS + 1) * channels, channels, part, d, TAPS + 1, channels, sums_PD)


def causal_conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """causal_conv_reference for tensors on one CUDA device, none of them float64: (B, L, D), of x's type.

    Types, strides and streams as in triton_scan: x (G, B, L, D) takes weight (G, D, K) and bias (G, D).
    """
    return _Convolution.apply(x, weight, bias)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        tensors, sizes, programs, options = _call(x, weight, bias)
        with torch.cuda.device_of(x):
            _forward_kernel[(programs,)](*tensors, y, *tensors[0].stride()[:2], *sizes, **options)
        ctx.save_for_backward(x, weight, bias)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, weight, bias = ctx.saved_tensors
        tensors, sizes, programs, options = _call(x, weight, bias)
        (group_rows, _, channels), taps = sizes, options["TAPS"]
        dy_rows, dx = rows_of(dy), torch.empty(x.shape, dtype=x.dtype, device=x.device)
        parts = tensors[1].new_empty(len(tensors[0]), taps + 1, channels)
        options["PARTS"] = triton.next_power_of_2(taps + 1)
        with torch.cuda.device_of(x):
            _backward_kernel[(programs,)](
                *tensors, dy_rows, dx, parts, *tensors[0].stride()[:2], *dy_rows.stride()[:2], *sizes, **options
            )
        sums = parts.view(-1, group_rows, taps + 1, channels).sum(1)
        dweight, dbias = sums[:, :taps].mT.reshape(weight.shape), sums[:, taps].reshape(bias.shape)
        return dx, dweight.to(weight.dtype), dbias.to(bias.dtype)


def _call(x, weight, bias):
    """What both kernels take: tensors, sizes, the number of programs, and the sizes that are compiled in."""
    rows = rows_of(x)
    channels = min(CHANNELS, triton.next_power_of_2(rows.shape[2]))
    options = {"T": STEPS, "BLOCK": channels, "TAPS": weight.shape[-1], "num_warps": 4} | FUSED
    tensors = (rows, weight.float().contiguous(), bias.float().contiguous())
    sizes = (x.shape[-3], *rows.shape[1:])
    return tensors, sizes, len(rows) * triton.cdiv(rows.shape[2], channels), options
