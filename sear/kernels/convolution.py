"""The compiled causal convolution with SiLU and its gradient, for CPU (sear/ops/convolution.py has the plain form).

A unit of work is a row of the batch, or, on the way back, a run of rows. Legend as in sear/ops/convolution.py. The
innermost loops run along the channels, over arrays that do not overlap: they become SIMD code.
"""

from typing import Any, NamedTuple

import numpy as np

from sear.kernels.compiler import compiled, exp
from sear.kernels.threads import fork_join

inner = compiled(inner=True)
loops = compiled(inner=True, disjoint=True)


class Convolution(NamedTuple):
    """Sizes and arrays of a call."""

    batch: int
    length: int
    channels: int
    taps: int
    x: Any  # flat
    x_strides: tuple[int, int]  # of rows and steps
    weight: Any  # (K, D)
    bias: Any  # (D,)


@loops
def _convolve(call, b, t, total):
    """total (D,): the weighted sum of step t."""
    for d in range(call.channels):
        total[d] = call.bias[d]
    for tap in range(max(0, call.taps - 1 - t), call.taps):
        past = t - call.taps + 1 + tap
        x_at = np.uintp(b * call.x_strides[0] + past * call.x_strides[1])  # unsigned: see scan.py
        for d in range(np.uintp(call.channels)):
            total[d] += call.weight[tap, d] * call.x[x_at + d]


@loops
def _silu(total, y):
    one = total.dtype.type(1)
    for d in range(len(y)):
        y[d] = total[d] / (one + exp(-total[d]))


@inner
def _forward_rows(start, stop, call, y):
    total = np.empty(call.channels, y.dtype)
    for b in range(start, stop):
        for t in range(call.length):
            _convolve(call, b, t, total)
            _silu(total, y[b, t])


@compiled
def conv_forward(threads, call, y):
    """y (B, L, D)."""
    fork_join(_forward_rows, call.batch, threads, (call, y))


@loops
def _silu_back(total, dy, dbias):
    """total becomes its own gradient."""
    one = total.dtype.type(1)
    for d in range(len(dy)):
        share = one / (one + exp(-total[d]))
        dtotal = dy[d] * share * (one + total[d] * (one - share))
        total[d] = dtotal
        dbias[d] += dtotal


@loops
def _convolve_back(call, b, t, dtotal, dx, dweight):
    """Adds to dx (L, D) of the row and to dweight (K, D) what step t gives."""
    for tap in range(max(0, call.taps - 1 - t), call.taps):
        past = t - call.taps + 1 + tap
        x_at = np.uintp(b * call.x_strides[0] + past * call.x_strides[1])
        for d in range(np.uintp(call.channels)):
            dweight[tap, d] += dtotal[d] * call.x[x_at + d]
            dx[past, d] += call.weight[tap, d] * dtotal[d]


@inner
def _backward_runs(start, stop, rows, call, dy, dx, dweight, dbias):
    total = np.empty(call.channels, dy.dtype)
    for run in range(start, stop):
        for b in range(run * rows, min(call.batch, (run + 1) * rows)):
            dx[b] = 0
            for t in range(call.length):
                _convolve(call, b, t, total)
                _silu_back(total, dy[b, t], dbias[run])
                _convolve_back(call, b, t, total, dx[b], dweight[run])


@compiled
def conv_backward(threads, rows, call, dy, dx, dweight, dbias):
    """Gradients from dy (B, L, D), in runs of `rows` rows of the batch.

    dx: (B, L, D). dweight (runs, K, D), dbias (runs, D): zeros on entry, a partial sum for each run.
    """
    fork_join(_backward_runs, -(-call.batch // rows), threads, (rows, call, dy, dx, dweight, dbias))
