"""What the Triton kernels over (sequences, steps, channels) share: tiles in and out, and tensors as rows."""

import triton
import triton.language as tl
from torch import Tensor

# Products and sums become one instruction, whatever Triton's default is: it is about to change.
FUSED = {"enable_fp_fusion": True}


def prepare_launch() -> None:
    """Build or load Triton's own launcher for the CUDA devices here.

    The first time it takes a C compiler and Python's headers, but no CUDA toolkit; then it lies in Triton's cache.
    Raises RuntimeError, OSError or CalledProcessError where that fails.
    """
    if not triton.knobs.runtime.interpret:
        assert triton.runtime.driver.active.utils


@triton.jit
def sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def load_tile(pointer, stride, step_T, column, length, width):
    """float32 (T, columns); 0 outside."""
    inside = (step_T < length)[:, None] & (column < width)[None, :]
    return tl.load(pointer + step_T[:, None] * stride + column[None, :], mask=inside, other=0.0).to(tl.float32)


@triton.jit
def store_tile(pointer, stride, step_T, column, length, width, tile):
    inside = (step_T < length)[:, None] & (column < width)[None, :]
    tl.store(pointer + step_T[:, None] * stride + column[None, :], tile.to(pointer.dtype.element_ty), mask=inside)


def rows_of(tensor: Tensor) -> Tensor:
    """(rows, L, width), neighbours in the last dimension side by side in memory: a view where that can be."""
    tensor = tensor.flatten(0, -3)
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()
