"""Mamba-1 block (Gu and Dao, arXiv 2312.00752) with the parameters of mamba_ssm.Mamba, on CUDA and on CPU.

B batch, L length, M model width, D = expand * M channels, N states per channel, R rank of delta.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sear.ops.convolution import causal_conv
from sear.ops.selective_scan import selective_scan


class Mamba(nn.Module):
    """Selective state space block (B, L, M) -> (B, L, M); position t sees positions up to t only.

    Names, shapes and starting values of the parameters are mamba_ssm.Mamba's, so weights move between the two.
    """

    def __init__(self, d_model: int, d_state: int = 16, d_conv: int = 4, expand: int = 2, kernel: str = "auto"):
        """kernel: auto, triton, mamba_ssm or plain (sear/ops/mamba_kernel.py)."""
        super().__init__()
        self.kernel = kernel
        d_inner = expand * d_model
        dt_rank = math.ceil(d_model / 16)
        self.split_sizes = [dt_rank, d_state, d_state]
        self.in_proj = nn.Linear(d_model, 2 * d_inner, bias=False)
        self.conv1d = nn.Conv1d(d_inner, d_inner, d_conv, padding=d_conv - 1, groups=d_inner)
        self.x_proj = nn.Linear(d_inner, sum(self.split_sizes), bias=False)
        self.dt_proj = nn.Linear(dt_rank, d_inner)
        self.A_log = nn.Parameter(torch.arange(1, d_state + 1, dtype=torch.float32).log().repeat(d_inner, 1))
        self.D = nn.Parameter(torch.ones(d_inner))
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)
        self.reset_dt_proj()

    @torch.no_grad()
    def reset_dt_proj(self, dt_min: float = 0.001, dt_max: float = 0.1, dt_floor: float = 1e-4) -> None:
        """Start dt_proj so that softplus(bias) is log-uniform in [dt_min, dt_max] (defaults: mamba_ssm)."""
        bound = self.split_sizes[0] ** -0.5
        nn.init.uniform_(self.dt_proj.weight, -bound, bound)
        log_dt = torch.empty_like(self.dt_proj.bias).uniform_(math.log(dt_min), math.log(dt_max))
        dt = log_dt.exp().clamp(min=dt_floor)
        self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # inverse of softplus

    def forward(self, hidden_BLM: Tensor, wanted_P: Tensor | None = None) -> Tensor:
        """(B, L, M), or (P, M) at the tokens with the numbers wanted_P, counted over B·L."""
        A_DN = -torch.exp(self.A_log.float())  # in float32 even where the rest is float64 (mamba_ssm)
        if self.kernel == "mamba_ssm" and hidden_BLM.is_cuda and hidden_BLM.dtype != torch.float64:
            return _select(self._forward_mamba_ssm(hidden_BLM, A_DN), wanted_P)
        kernel = "auto" if self.kernel == "mamba_ssm" else self.kernel
        x_BLD, z_BLD = self.in_proj(hidden_BLM).chunk(2, dim=-1)
        bias_D = self.conv1d.bias
        assert bias_D is not None, "conv1d is made with one"
        u_BLD = causal_conv(x_BLD, self.conv1d.weight.squeeze(1), bias_D, kernel)
        delta_BLR, B_BLN, C_BLN = self.x_proj(u_BLD).split(self.split_sizes, dim=-1)
        delta_BLD = F.linear(delta_BLR, self.dt_proj.weight)  # its bias is added inside the scan
        y_BLD = selective_scan(u_BLD, delta_BLD, A_DN, B_BLN, C_BLN, self.D, z_BLD, self.dt_proj.bias, kernel)
        return self.out_proj(_select(y_BLD, wanted_P))

    def _forward_mamba_ssm(self, hidden_BLM: Tensor, A_DN: Tensor) -> Tensor:
        from mamba_ssm.ops.selective_scan_interface import mamba_inner_fn

        return mamba_inner_fn(
            self.in_proj(hidden_BLM).mT,
            self.conv1d.weight,
            self.conv1d.bias,
            self.x_proj.weight,
            self.dt_proj.weight,
            self.out_proj.weight,
            None,  # out_proj has no bias
            A_DN,
            D=self.D.float(),
            delta_bias=self.dt_proj.bias.float(),
            delta_softplus=True,
        )


def _select(hidden_BLM: Tensor, wanted_P: Tensor | None) -> Tensor:
    return hidden_BLM if wanted_P is None else hidden_BLM.flatten(0, 1).index_select(0, wanted_P)
