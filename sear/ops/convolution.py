"""Mamba's depthwise causal convolution with its SiLU: a plain torch form, and kernels for CPU and CUDA.

B batch, L length, D channels, K taps.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from sear.ops.mamba_kernel import chosen_kernel
from sear.ops.selective_scan import with_strides


def causal_conv_reference(x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor) -> Tensor:
    """silu(bias + sum_k weight[:, k] x[:, t - K + 1 + k]): the last tap meets the present; x is 0 before the start."""
    length, taps = x_BLD.shape[1], weight_DK.shape[1]
    convolved_BDL = F.conv1d(x_BLD.mT, weight_DK[:, None], bias_D, padding=taps - 1, groups=weight_DK.shape[0])
    return F.silu(convolved_BDL[..., :length].mT)


def conv_step(x_KD: Sequence[Tensor], weight_KD: Tensor, bias_D: Tensor) -> Tensor:
    """(…, D): causal_conv_reference where the K inputs that it meets are at hand, the present one last."""
    total_D = torch.addcmul(bias_D, x_KD[0], weight_KD[0])
    for x_D, weight_D in zip(x_KD[1:], weight_KD[1:], strict=True):
        total_D = total_D.addcmul_(x_D, weight_D)
    return F.silu(total_D)


def causal_conv(x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor, kernel: str = "auto") -> Tensor:
    """(B, L, D), as causal_conv_reference; in kernels sums run in a fixed order, whatever the number of threads.

    Computes in float32, or in float64 if x is that, and returns x's type. kernel: auto, triton or plain
    (mamba_kernel.py).
    """
    chosen = chosen_kernel(kernel, x_BLD)
    with torch.autocast(x_BLD.device.type, enabled=False):
        if chosen == "triton":
            from sear.kernels import triton_convolution

            return triton_convolution.causal_conv(x_BLD, weight_DK, bias_D)
        dtype = torch.float64 if x_BLD.dtype == torch.float64 else torch.float32
        convolve = _CompiledConv.apply if chosen == "compiled" else causal_conv_reference
        return convolve(*(tensor.to(dtype) for tensor in (x_BLD, weight_DK, bias_D))).to(x_BLD.dtype)


class _CompiledConv(torch.autograd.Function):
    """causal_conv_reference by sear/kernels/convolution.py."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        from sear.kernels.convolution import conv_forward

        y = torch.empty_like(x, memory_format=torch.contiguous_format)
        conv_forward(torch.get_num_threads(), _call(x, weight, bias), y.numpy())
        ctx.save_for_backward(x, weight, bias)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        from sear.kernels.convolution import conv_backward

        call, dy = _call(*ctx.saved_tensors), dy.contiguous()
        rows = -(-call.batch // 64)
        runs = -(-call.batch // rows)
        dx = torch.empty_like(dy)
        dweight, dbias = (dy.new_zeros(runs, *array.shape).numpy() for array in (call.weight, call.bias))
        conv_backward(torch.get_num_threads(), rows, call, dy.numpy(), dx.numpy(), dweight, dbias)
        # numpy adds the runs one after another: torch's order could depend on the number of threads
        return dx, torch.from_numpy(dweight.sum(axis=0)).mT, torch.from_numpy(dbias.sum(axis=0))


def _call(x: Tensor, weight: Tensor, bias: Tensor):
    """The kernels' description of a call."""
    from sear.kernels.convolution import Convolution

    taps, offsets = (tensor.detach().contiguous().numpy() for tensor in (weight.mT, bias))
    return Convolution(*x.shape, len(taps), *with_strides(x), taps, offsets)
