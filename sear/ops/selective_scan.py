"""The selective scan of Mamba (SEAR's method: Sequence encoder): a plain torch form, and kernels for CPU and CUDA.

B batch, L length, D channels, N states per channel. The meaning is that of mamba_ssm's selective_scan_fn with
delta_softplus=True; the layout is channel-last.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from sear.ops.mamba_kernel import chosen_kernel


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
    bias_D: Tensor, kernel: str = "auto",
) -> Tensor:  # fmt: skip
    """y (B, L, D), gated by silu(z); `delta` comes before bias and softplus.

    Computes in float32, or in float64 if u is that, and returns u's type. Neither the result nor the gradients of the
    kernels depend on the number of threads: sums run in a fixed order. kernel: auto, triton or plain (mamba_kernel.py).
    """
    tensors = (u_BLD, delta_BLD, A_DN, B_BLN, C_BLN, D_D, z_BLD, bias_D)
    chosen = chosen_kernel(kernel, u_BLD)
    with torch.autocast(u_BLD.device.type, enabled=False):
        if chosen == "triton":
            from sear.kernels import triton_scan

            return triton_scan.selective_scan(*tensors)
        dtype = torch.float64 if u_BLD.dtype == torch.float64 else torch.float32
        scan = _CompiledScan.apply if chosen == "compiled" else selective_scan_reference
        return scan(*(tensor.to(dtype) for tensor in tensors)).to(u_BLD.dtype)


def flat(tensor: Tensor):
    """The memory under a tensor whose last dimension is contiguous, as a one-dimensional numpy array."""
    assert tensor.stride(-1) == 1 or tensor.shape[-1] == 1
    span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.detach().as_strided((span,), (1,)).numpy()


def with_strides(tensor: Tensor) -> tuple:
    """(flat array, (row stride, step stride)) of a (B, L, D) tensor; copied only if its channels are scattered."""
    tensor = tensor if tensor.stride(-1) == 1 else tensor.contiguous()
    return flat(tensor), tensor.stride()[:2]


class _CompiledScan(torch.autograd.Function):
    """selective_scan_reference by selective_scan_kernel.py; backward computes the states once more."""

    @staticmethod
    def forward(ctx, *tensors):
        from sear.kernels.scan import CHUNK, scan_forward

        u = tensors[0]
        scan = _scan(tensors)
        saved = u.new_empty(0)
        if any(ctx.needs_input_grad):
            saved = u.new_empty(scan.batch, (scan.length - 1) // CHUNK, scan.padded_states, scan.row_size)
        y = torch.empty_like(u, memory_format=torch.contiguous_format)
        scan_forward(torch.get_num_threads(), scan._replace(saved=saved.view(-1).numpy()), flat(y))
        ctx.save_for_backward(*tensors, saved)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        from sear.kernels.scan import Gradients, scan_backward

        *tensors, saved = ctx.saved_tensors
        scan = _scan(tensors)._replace(saved=saved.view(-1).numpy())
        dy = dy.contiguous()
        rows = -(-scan.batch // 64)
        parts = -(-scan.batch // rows)
        du, ddelta, dz = torch.empty_like(dy), torch.empty_like(dy), torch.empty_like(dy)
        dBC = dy.new_empty(scan.splits, scan.batch, scan.length, 2 * scan.states)
        sums = [dy.new_zeros(parts, *shape, scan.row_size) for shape in ((scan.padded_states,), (), ())]
        gradients = Gradients(rows, *(flat(tensor) for tensor in (du, ddelta, dz, dBC, *sums)))
        scan_backward(torch.get_num_threads(), scan, flat(dy), gradients)
        # numpy adds the parts one after another: torch's order could depend on the number of threads
        dA, dD, dbias = (torch.from_numpy(tensor.numpy().sum(axis=0))[..., : scan.channels] for tensor in sums)
        dB, dC = (dBC[0] if scan.splits == 1 else dBC.sum(0)).chunk(2, dim=-1)
        return du, ddelta, dA[: scan.states].mT, dB, dC, dD, dz, dbias


def _scan(tensors: list[Tensor]):
    """The kernels' description of a call; `saved` is still to be filled in."""
    from sear.kernels.scan import GROUP, Scan
    from sear.kernels.simd import VECTOR_BYTES

    u, delta, A, B, C, D, z, bias = (tensor.detach() for tensor in tensors)
    (batch, length, channels), states = u.shape, A.shape[1]
    width = VECTOR_BYTES // u.element_size()
    blocks = -(-channels // width)
    row_size, padded_states = blocks * width, -(-states // GROUP) * GROUP
    A2, D, bias = (F.pad(tensor, (0, row_size - channels)) for tensor in (A.mT * math.log2(math.e), D, bias))
    A2 = F.pad(A2, (0, 0, 0, padded_states - states))
    splits = min(blocks, max(1, 16 // batch))  # from the sizes alone, so that the order of sums is, too
    sizes = (batch, length, channels, states, row_size, padded_states, splits)
    strided = [part for tensor in (u, delta, B, C, z) for part in with_strides(tensor)]
    return Scan(*sizes, *strided, *(flat(tensor.contiguous()) for tensor in (A2, D, bias)), None)
