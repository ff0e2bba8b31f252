"""The setting mamba_kernel: what computes Mamba's scan and convolution, and where.

auto        Triton on CUDA where it is there, as with torch's CUDA wheels; on the CPU the compiled kernels; else plain
triton      Triton's kernels
mamba_ssm   the fused block of mamba-ssm and causal-conv1d, on CUDA
plain       torch operations, on every device: the definition

float64 is never given to Triton or mamba-ssm: on CUDA it is plain.
"""

from functools import cache

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
    """Raises InputError where the kernel that the setting names cannot run on the device."""
    if kernel not in ("triton", "mamba_ssm"):
        return
    remedy = "write mamba_kernel: auto"
    if torch.device(device).type != "cuda":
        raise InputError(f"mamba_kernel is {kernel}, which needs a CUDA device, but this run is on {device} - {remedy}")
    if kernel == "mamba_ssm" and taps not in TAPS_OF_MAMBA_SSM:
        raise InputError(f"mamba_kernel is mamba_ssm, which has no convolution of d_conv {taps} - {remedy}")
    fault = triton_fault() if kernel == "triton" else mamba_ssm_fault()
    if fault:
        package = "pip install triton" if kernel == "triton" else "see requirements-cuda.txt"
        raise InputError(f"mamba_kernel is {kernel}, which does not work here ({fault}) - {package}, or {remedy}")


@cache  # a failed import is slow, and a step asks once for each layer
def triton_fault() -> str | None:
    """Why Triton's kernels cannot be had; None if they can."""
    try:
        import sear.kernels.triton_scan  # noqa: F401
    except ImportError as error:
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
