"""The setting mamba_kernel: what computes Mamba's scan and convolution, and where.

auto        Triton on CUDA where it works; on the CPU the compiled kernels; else plain
triton      Triton's kernels. torch's CUDA wheels bring Triton; it wants a C compiler once, for a launcher of its own
mamba_ssm   the fused block of mamba-ssm and causal-conv1d, on CUDA
plain       torch operations, on every device: the definition

float64 is never given to Triton or mamba-ssm: on CUDA it is plain.
"""

from functools import cache
from logging import getLogger
from subprocess import CalledProcessError

import torch
from torch import Tensor

from sear.errors import InputError

TAPS_OF_MAMBA_SSM = range(2, 5)  # widths that causal-conv1d has


def chosen_kernel(kernel: str, tensor: Tensor) -> str:
    """compiled (CPU), triton or plain for this tensor; kernel: auto, triton or plain."""
    assert kernel in ("auto", "triton", "plain"), kernel
    device = tensor.device.type
    if kernel == "auto":
        kernel = "compiled" if device == "cpu" else "triton" if device == "cuda" and triton_fault() is None else "plain"
    without = not tensor.numel() or (kernel == "triton" and tensor.dtype == torch.float64)
    return "plain" if without else kernel


def require_kernel(kernel: str, device: torch.device | str, taps: int) -> None:
    """Raises InputError where the kernel that the setting names cannot run on the device; warns where auto is slow."""
    on_cuda = torch.device(device).type == "cuda"
    if kernel == "auto" and on_cuda and triton_fault():
        getLogger().warning("Mamba runs in plain torch, which is slow, as Triton does not work (%s)", triton_fault())
    if kernel not in ("triton", "mamba_ssm"):
        return
    remedy = "write mamba_kernel: auto"
    if not on_cuda:
        raise InputError(f"mamba_kernel is {kernel}, which needs a CUDA device, but this run is on {device} - {remedy}")
    if kernel == "mamba_ssm" and taps not in TAPS_OF_MAMBA_SSM:
        raise InputError(f"mamba_kernel is mamba_ssm, which has no convolution of d_conv {taps} - {remedy}")
    fault = triton_fault() if kernel == "triton" else mamba_ssm_fault()
    if fault:
        package = "it takes Triton and a C compiler" if kernel == "triton" else "see requirements-cuda.txt"
        raise InputError(f"mamba_kernel is {kernel}, which does not work here ({fault}) - {package}, or {remedy}")


@cache  # a failed import is slow, and a step asks once for each layer
def triton_fault() -> str | None:
    """Why Triton's kernels cannot run on CUDA here; None if they can."""
    try:
        from sear.kernels.triton_tiles import prepare_launch

        prepare_launch()
    except (ImportError, RuntimeError, OSError, CalledProcessError) as error:
        return _first_line(error)
    return None


@cache
def mamba_ssm_fault() -> str | None:
    """Why the fused block cannot be had; None if it can. Its compiled parts are loaded, as broken ones are common."""
    try:
        import causal_conv1d_cuda  # noqa: F401
        import selective_scan_cuda  # noqa: F401
        from mamba_ssm.ops.selective_scan_interface import mamba_inner_fn  # noqa: F401
    except (ImportError, OSError) as error:
        return _first_line(error)
    return None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
