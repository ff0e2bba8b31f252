"""The end of a sublayer on a GPU: bias, dropout, residual and LayerNorm in one pass each way, in Triton.

The plain definition is dropout_add_layer_norm_plain of ops. Nothing but the mean and spread of each token is kept:
backward draws the dropout mask once more, out of a seed and the numbers of the elements (Philox). T tokens of a tile,
M hidden size, filled up to a power of two.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from sear.kernels.triton_tiles import FUSED, load_tile, store_tile

ELEMENTS = 1024  # of a tile; twice as many take all registers
MOST_PROGRAMS = 512  # backward, each with its share in the gradients of the weights: some four for a multiprocessor


@triton.jit
def _dropout_factor(seed, t, m, width, p, scale):
    """scale where an element is kept, else 0, (T, M)."""
    return tl.where(tl.rand(seed, t[:, None] * width + m[None, :]) >= p, scale, 0.0)


@triton.jit
def _before_norm(residual, output, bias_M, factor_TM, t, m, tokens, width, RESIDUAL: tl.constexpr):
    """residual + factor (output + bias), float32 (T, M)."""
    hidden_TM = factor_TM * (load_tile(output, width, t, m, tokens, width) + bias_M[None, :])
    if RESIDUAL:
        hidden_TM += load_tile(residual, width, t, m, tokens, width)
    return hidden_TM


@triton.jit(do_not_specialize=["tokens"])
def _forward_kernel(
    residual, output, bias, weight, shift, seed, out, mean, rstd, tokens, width, eps, p, scale,
    T: tl.constexpr, M: tl.constexpr, RESIDUAL: tl.constexpr, BIAS: tl.constexpr, DROP: tl.constexpr,
):  # fmt: skip
    t, m = tl.program_id(0) * T + tl.arange(0, T), tl.arange(0, M)
    inside = m < width
    bias_M, factor_TM = tl.zeros((M,), dtype=tl.float32), tl.full((T, M), 1.0, tl.float32)
    if BIAS:
        bias_M = tl.load(bias + m, mask=inside, other=0.0).to(tl.float32)
    if DROP:
        factor_TM = _dropout_factor(tl.load(seed), t, m, width, p, scale)
    hidden_TM = _before_norm(residual, output, bias_M, factor_TM, t, m, tokens, width, RESIDUAL)
    mean_T = tl.sum(tl.where(inside[None, :], hidden_TM, 0.0), axis=1) / width
    centred_TM = tl.where(inside[None, :], hidden_TM - mean_T[:, None], 0.0)
    rstd_T = 1.0 / tl.sqrt(tl.sum(centred_TM * centred_TM, axis=1) / width + eps)
    tl.store(mean + t, mean_T, mask=t < tokens)
    tl.store(rstd + t, rstd_T, mask=t < tokens)
    weight_M = tl.load(weight + m, mask=inside, other=0.0).to(tl.float32)
    shift_M = tl.load(shift + m, mask=inside, other=0.0).to(tl.float32)
    out_TM = centred_TM * rstd_T[:, None] * weight_M[None, :] + shift_M[None, :]
    store_tile(out, width, t, m, tokens, width, out_TM)


@triton.jit(do_not_specialize=["tokens", "tiles"])
def _backward_kernel(
    residual, output, bias, weight, seed, mean, rstd, d_out, d_residual, d_output, parts,
    tokens, tiles, width, p, scale,
    T: tl.constexpr, M: tl.constexpr, RESIDUAL: tl.constexpr, BIAS: tl.constexpr, DROP: tl.constexpr,
):  # fmt: skip
    """parts: (programs, 3, width), each program's share in the gradients of bias, weight and shift."""
    m = tl.arange(0, M)
    inside = m < width
    bias_M, factor_TM = tl.zeros((M,), dtype=tl.float32), tl.full((T, M), 1.0, tl.float32)
    if BIAS:
        bias_M = tl.load(bias + m, mask=inside, other=0.0).to(tl.float32)
    weight_M = tl.load(weight + m, mask=inside, other=0.0).to(tl.float32)
    d_bias_M, d_weight_M = tl.zeros((M,), dtype=tl.float32), tl.zeros((M,), dtype=tl.float32)
    d_shift_M = tl.zeros((M,), dtype=tl.float32)
    for tile in range(tiles):
        t = (tl.program_id(0) * tiles + tile) * T + tl.arange(0, T)
        if DROP:
            factor_TM = _dropout_factor(tl.load(seed), t, m, width, p, scale)
        hidden_TM = _before_norm(residual, output, bias_M, factor_TM, t, m, tokens, width, RESIDUAL)
        mean_T = tl.load(mean + t, mask=t < tokens, other=0.0)
        rstd_T = tl.load(rstd + t, mask=t < tokens, other=0.0)
        unit_TM = tl.where(inside[None, :], (hidden_TM - mean_T[:, None]) * rstd_T[:, None], 0.0)
        d_out_TM = load_tile(d_out, width, t, m, tokens, width)
        d_unit_TM = d_out_TM * weight_M[None, :]
        along_one_T = tl.sum(d_unit_TM, axis=1) / width
        along_unit_T = tl.sum(d_unit_TM * unit_TM, axis=1) / width
        d_hidden_TM = rstd_T[:, None] * (d_unit_TM - along_one_T[:, None] - unit_TM * along_unit_T[:, None])
        if RESIDUAL:
            store_tile(d_residual, width, t, m, tokens, width, d_hidden_TM)
        d_output_TM = factor_TM * d_hidden_TM
        store_tile(d_output, width, t, m, tokens, width, d_output_TM)
        d_bias_M += tl.sum(d_output_TM, axis=0)
        d_weight_M += tl.sum(d_out_TM * unit_TM, axis=0)
        d_shift_M += tl.sum(d_out_TM, axis=0)
    parts += tl.program_id(0) * 3 * width
    tl.store(parts + m, d_bias_M, mask=inside)
    tl.store(parts + width + m, d_weight_M, mask=inside)
    tl.store(parts + 2 * width + m, d_shift_M, mask=inside)


def dropout_add_layer_norm(
    residual: Tensor | None, output: Tensor, bias: Tensor | None, norm: torch.nn.LayerNorm, p: float, training: bool
) -> Tensor:
    """norm(residual + dropout(output + bias)) for CUDA tensors, none of them float64, of less than 2³¹ elements.

    Computes in float32 and returns the type that torch would: under autocast float32. The mask's seed comes from the
    default generator of the device, so that no host waits and a CUDA graph draws a new one in each replay.
    """
    autocast = torch.is_autocast_enabled(output.device.type)
    joined = output.dtype if residual is None else torch.promote_types(output.dtype, residual.dtype)
    dtype = torch.float32 if autocast else joined
    p = p if training else 0.0
    return _DropoutAddLayerNorm.apply(residual, output, bias, norm.weight, norm.bias, norm.eps, p, dtype)


class _DropoutAddLayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, residual, output, bias, weight, shift, eps: float, p: float, dtype: torch.dtype):
        residual, output = (None if tensor is None else tensor.contiguous() for tensor in (residual, output))
        width, device = output.shape[-1], output.device
        tokens = output.numel() // width
        seed = torch.randint(2**31 - 1, (1,), device=device) if p else None
        out = torch.empty(output.shape, dtype=dtype, device=device)
        mean, rstd = torch.empty(2, tokens, device=device)
        options = _options(residual, output, bias, p)
        scale = 0.0 if p == 1 else 1 / (1 - p)
        with torch.cuda.device_of(output):
            _forward_kernel[(triton.cdiv(tokens, options["T"]),)](
                residual, output, bias, weight, shift, seed, out, mean, rstd, tokens, width, eps, p, scale, **options
            )
        ctx.save_for_backward(residual, output, bias, weight, shift, seed, mean, rstd)
        ctx.p, ctx.scale = p, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, d_out):
        residual, output, bias, weight, shift, seed, mean, rstd = ctx.saved_tensors
        options, width, tokens = _options(residual, output, bias, ctx.p), output.shape[-1], len(mean)
        tiles = triton.cdiv(tokens, options["T"] * MOST_PROGRAMS)
        programs = triton.cdiv(tokens, options["T"] * tiles)
        d_output, d_residual = torch.empty_like(output), None if residual is None else torch.empty_like(residual)
        parts = mean.new_empty(programs, 3, width)
        with torch.cuda.device_of(output):
            _backward_kernel[(programs,)](
                residual, output, bias, weight, seed, mean, rstd, d_out.contiguous(), d_residual, d_output, parts,
                tokens, tiles, width, ctx.p, ctx.scale, **options,
            )  # fmt: skip
        d_bias, d_weight, d_shift = parts.sum(0)
        d_bias = None if bias is None else d_bias.to(bias.dtype)
        return d_residual, d_output, d_bias, d_weight.to(weight.dtype), d_shift.to(shift.dtype), None, None, None


def _options(residual, output, bias, p: float) -> dict:
    M = triton.next_power_of_2(output.shape[-1])
    given = {"RESIDUAL": residual is not None, "BIAS": bias is not None, "DROP": p > 0}
    return {"T": max(1, ELEMENTS // M), "M": M, "num_warps": 4} | FUSED | given
