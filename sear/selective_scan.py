"""The selective scan of Mamba (method.md, Sequence encoder): a plain torch form and, on CPU, a compiled one.

B batch, L length, D channels, N states per channel. The meaning is that of mamba_ssm's selective_scan_fn with
delta_softplus=True; the layout is channel-last.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def selective_scan_reference(
    u_BLD: Tensor, delta_BLD: Tensor, A_DN: Tensor, B_BLN: Tensor, C_BLN: Tensor, D_D: Tensor, z_BLD: Tensor,
    bias_D: Tensor,
) -> Tensor:  # fmt: skip
    """y = (C h + D u) silu(z) with h = exp(delta A) h + delta B u, delta = softplus(delta + bias), step by step."""
    delta_BLD = F.softplus(delta_BLD + bias_D)
    input_BLD = delta_BLD * u_BLD
    state_BDN = u_BLD.new_zeros(u_BLD.shape[0], *A_DN.shape)
    outputs = []
    for t in range(u_BLD.shape[1]):
        decay_BDN = torch.exp(delta_BLD[:, t, :, None] * A_DN)
        state_BDN = decay_BDN * state_BDN + input_BLD[:, t, :, None] * B_BLN[:, t, None]
        outputs.append((state_BDN * C_BLN[:, t, None]).sum(-1))
    return (torch.stack(outputs, dim=1) + D_D * u_BLD) * F.silu(z_BLD)


def selective_scan(
    u_BLD: Tensor, delta_BLD: Tensor, A_DN: Tensor, B_BLN: Tensor, C_BLN: Tensor, D_D: Tensor, z_BLD: Tensor,
    bias_D: Tensor,
) -> Tensor:  # fmt: skip
    """y (B, L, D), gated by silu(z); `delta` comes before bias and softplus.

    Computes in float32, or in float64 if u is that, and returns u's type. On CPU the gradients are sums in a fixed order.
    """
    dtype = torch.float64 if u_BLD.dtype == torch.float64 else torch.float32
    tensors = [tensor.to(dtype) for tensor in (u_BLD, delta_BLD, A_DN, B_BLN, C_BLN, D_D, z_BLD, bias_D)]
    with torch.autocast(u_BLD.device.type, enabled=False):
        scan = _CompiledScan.apply if u_BLD.device.type == "cpu" and u_BLD.numel() else selective_scan_reference
        return scan(*tensors).to(u_BLD.dtype)


def _flat(tensor: Tensor):
    """The memory under a tensor whose last dimension is contiguous, as a one-dimensional numpy array."""
    span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.as_strided((span,), (1,)).numpy()


class _CompiledScan(torch.autograd.Function):
    """selective_scan_reference by the kernels of selective_scan_kernel.py; backward computes the states once more."""

    @staticmethod
    def forward(ctx, *tensors):
        from sear import selective_scan_kernel as kernel
        from sear.compiled import run_in_parallel

        with torch.no_grad():
            u, delta, A, B, C, D, z, bias = (t.detach() if t.stride(-1) == 1 else t.detach().contiguous() for t in tensors)
        batch, length, channels = u.shape
        states = A.shape[1]
        lanes = 64 // u.element_size()
        row = -(-channels // lanes) * lanes
        rows = -(-states // kernel.GROUP) * kernel.GROUP
        A2 = F.pad(A.mT * math.log2(math.e), (0, row - channels, 0, rows - states))
        D_, bias_ = F.pad(D, (0, row - channels)), F.pad(bias, (0, row - channels))
        y = torch.empty_like(u, memory_format=torch.contiguous_format)
        keep = any(ctx.needs_input_grad)
        saved = u.new_empty(batch * ((length - 1) // kernel.CHUNK) * rows * row if keep else 0)
        splits = min(row // lanes, max(1, 16 // batch))
        strides = tuple(tensor.stride()[:2] for tensor in (u, delta, z, B, C))
        arrays = [_flat(t) for t in (u, delta, A2.contiguous(), B, C, D_, z, bias_)]
        run_in_parallel(
            kernel.scan_forward, batch * splits, splits, (length, channels, states), strides, *arrays, _flat(y), saved.numpy()
        )
        ctx.save_for_backward(*tensors)
        ctx.rest = (splits, (batch, length, channels, states), strides, arrays, saved, rows, row)
        return y

    @staticmethod
    def backward(ctx, dy):
        from sear import selective_scan_kernel as kernel
        from sear.compiled import run_in_parallel

        splits, sizes, strides, arrays, saved, padded, row = ctx.rest
        batch, length, channels, states = sizes
        dy = dy.contiguous()
        rows = -(-batch // 64)
        parts = -(-batch // rows)
        du, ddelta, dz = torch.empty_like(dy), torch.empty_like(dy), torch.empty_like(dy)
        dBC = dy.new_empty(splits, batch, length, 2 * states)
        dA = dy.new_zeros(parts, padded, row)
        dD, dbias = dy.new_zeros(parts, row), dy.new_zeros(parts, row)
        run_in_parallel(
            kernel.scan_backward, parts * splits, splits, rows, sizes, strides, *arrays, _flat(dy), saved.numpy(),
            *(_flat(t) for t in (du, ddelta, dz, dBC, dA, dD, dbias)),
        )
        dBC = dBC[0] if splits == 1 else dBC.sum(0)
        dA, dD, dbias = (torch.from_numpy(t.numpy().sum(0)) for t in (dA, dD, dbias))
        return du, ddelta, dA.mT[:channels, :states], dBC[..., :states], dBC[..., states:], dD[:channels], dz, dbias[:channels]
