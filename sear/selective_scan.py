"""The selective scan of Mamba (method.md, Sequence encoder): a plain torch form and, on CPU, a compiled one.

B batch, L length, D channels, N states per channel. The meaning is that of mamba_ssm's selective_scan_fn with
delta_softplus=True; the layout is channel-last.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def selective_scan_reference(
    u_BLD: Tensor, delta_BLD: Tensor, A_DN: Tensor, B_BLN: Tensor, C_BLN: Tensor, D_D: Tensor, z_BLD: Tensor,
    delta_bias_D: Tensor,
) -> Tensor:  # fmt: skip
    """y = (C h + D u) silu(z) with h = exp(delta A) h + delta B u, delta = softplus(delta + bias), one step at a time."""
    delta_BLD = F.softplus(delta_BLD + delta_bias_D)
    state_BDN = u_BLD.new_zeros(u_BLD.shape[0], *A_DN.shape)
    outputs = []
    for t in range(u_BLD.shape[1]):
        decay_BDN = torch.exp(delta_BLD[:, t, :, None] * A_DN)
        state_BDN = decay_BDN * state_BDN + (delta_BLD * u_BLD)[:, t, :, None] * B_BLN[:, t, None]
        outputs.append((state_BDN * C_BLN[:, t, None]).sum(-1))
    return (torch.stack(outputs, dim=1) + D_D * u_BLD) * F.silu(z_BLD)


def selective_scan(
    u_BLD: Tensor, delta_BLD: Tensor, A_DN: Tensor, B_BLN: Tensor, C_BLN: Tensor, D_D: Tensor, z_BLD: Tensor,
    delta_bias_D: Tensor,
) -> Tensor:  # fmt: skip
    """y (B, L, D), gated by silu(z); delta comes before bias and softplus. Computes in float32, or in float64 if u is."""
    dtype = torch.float64 if u_BLD.dtype == torch.float64 else torch.float32
    tensors = [tensor.to(dtype) for tensor in (u_BLD, delta_BLD, A_DN, B_BLN, C_BLN, D_D, z_BLD, delta_bias_D)]
    return selective_scan_reference(*tensors).to(u_BLD.dtype)
