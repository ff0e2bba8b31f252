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


def state_after(u_LD: Tensor, delta_LD: Tensor, A_DN: Tensor, B_LN: Tensor, bias_D: Tensor) -> Tensor:
    """h (…, D, N) of selective_scan_reference after the last step, without the steps between.

    What step t brings in has decayed by exp(A · the sum of the later deltas). Any dimensions may come before; those of
    A_DN and bias_D are those of u_LD, or 1.
    """
    delta_LD = F.softplus(delta_LD + bias_D[..., None, :])
    later_LD = delta_LD.flip(-2).cumsum(-2).flip(-2) - delta_LD
    # exp(-80) is nothing beside what is added last; smaller ones are denormal numbers, which take ten times as long
    part_LDN = (later_LD[..., None] * A_DN[..., None, :, :]).clamp_(min=-80).exp_()
    return part_LDN.mul_((delta_LD * u_LD)[..., None]).mul_(B_LN[..., None, :]).sum(-3)


def scan_step(
    state_DN: Tensor, u_D: Tensor, delta_D: Tensor, A_DN: Tensor, B_N: Tensor, C_N: Tensor, D_D: Tensor, z_D: Tensor,
    bias_D: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One step of selective_scan_reference: y (…, D) and the next h (…, D, N), for any dimensions before."""
    delta_D = F.softplus(delta_D + bias_D)
    decayed_DN = torch.exp(delta_D[..., None] * A_DN).mul_(state_DN)
    state_DN = decayed_DN.addcmul_((delta_D * u_D)[..., None], B_N[..., None, :])
    y_D = torch.matmul(state_DN, C_N[..., None])[..., 0]
    return torch.addcmul(y_D, D_D, u_D) * F.silu(z_D), state_DN


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
    """selective_scan_reference by sear/kernels/scan.py; backward computes the states once more."""

    @staticmethod
    def forward(ctx, *tensors):
        from sear.kernels.scan import CHUNK, scan_forward

        u, scan = tensors[0], _scan(tensors)
        gated = torch.empty_like(u, memory_format=torch.contiguous_format)
        wanted = any(ctx.needs_input_grad)
        y = u.new_empty(gated.numel() if wanted else 0)
        chunks = -(-scan.length // CHUNK)
        blocks, *states = scan.A2.shape
        saved = u.new_empty(scan.batch, blocks, chunks - 1 if wanted else 0, *states)
        scan_forward(torch.get_num_threads(), scan._replace(y=y.numpy(), saved=saved.numpy()), flat(gated))
        ctx.save_for_backward(*tensors, y, saved)
        return gated

    @staticmethod
    @once_differentiable
    def backward(ctx, d_gated):
        from sear.kernels.scan import Gradients, scan_backward

        *tensors, y, saved = ctx.saved_tensors
        scan = _scan(tensors)._replace(y=y.numpy(), saved=saved.numpy())
        d_gated = d_gated.contiguous()
        blocks, *states = scan.A2.shape
        rows = -(-scan.batch // 64)
        parts = -(-scan.batch // rows)
        du, ddelta, dz = (torch.empty_like(d_gated) for _ in range(3))
        dBC = d_gated.new_empty(blocks, scan.batch, scan.length, 2, *states[:2])
        shapes = ((parts, blocks, *states), (parts, scan.channels), (parts, scan.channels))
        sums = [d_gated.new_zeros(shape).numpy() for shape in shapes]
        out = Gradients(rows, flat(du), flat(ddelta), flat(dz), dBC.numpy(), *sums)
        scan_backward(torch.get_num_threads(), scan, flat(d_gated), out)
        # numpy adds the parts one after another: torch's order could depend on the number of threads
        dA, dD, dbias = (torch.from_numpy(parts.sum(axis=0)) for parts in sums)
        dB, dC = torch.from_numpy(dBC.numpy().sum(axis=0)).flatten(3)[..., : scan.states].unbind(2)
        dA = dA.flatten(1, 2).transpose(0, 1).flatten(1)[: scan.states, : scan.channels]
        return du, ddelta, dA.mT, dB, dC, dD, dz, dbias


def _scan(tensors: list[Tensor]):
    """The kernels' description of a call; `y` and `saved` are still to be filled in."""
    from sear.kernels.scan import WIDEST, Scan

    u, delta, A, B, C, D, z, bias = (tensor.detach() for tensor in tensors)
    (batch, length, channels), states = u.shape, A.shape[1]
    # A small batch is cut into more blocks, to keep all threads busy; by sizes alone, so that sums keep their order.
    blocks = max(-(-channels // WIDEST), min(-(-channels // 16), 16 // batch))
    width = -(-channels // blocks)
    blocks = -(-channels // width)
    A2 = F.pad(A.mT * math.log2(math.e), (0, blocks * width - channels, 0, states % 2))
    A2 = A2.unflatten(1, (blocks, width)).transpose(0, 1).unflatten(1, (-1, 2))
    strided = [part for tensor in (u, delta, B, C, z) for part in with_strides(tensor)]
    arrays = (tensor.contiguous().numpy() for tensor in (A2, D, bias))
    return Scan(batch, length, channels, states, width, *strided, *arrays, None, None)
