"""The compiled causal convolution with SiLU and its gradient, for CPU (causal_conv.py has the plain form and legend).

A unit of work is some rows of the batch; SIMD lanes are neighbouring channels.
"""

from typing import Any, NamedTuple

from sear.kernels.compiler import compiled
from sear.kernels.simd import (
    VECTOR_BYTES,
    aligned_scratch,
    fill,
    inlined,
    load,
    load_first,
    sigmoid,
    store,
    store_first,
)
from sear.kernels.threads import fork_join


class Convolution(NamedTuple):
    """Sizes, then flat arrays. `row_size` is the number of channels, filled up to whole vectors."""

    batch: int
    length: int
    channels: int
    taps: int
    row_size: int
    x: Any
    x_strides: tuple[int, int]  # of rows and steps
    weight: Any  # (taps, row_size)
    bias: Any  # (row_size,)


@inlined
def convolve(call, b, t, channel):
    total = load(call.bias, channel, 0, 1)
    for tap in range(max(0, call.taps - 1 - t), call.taps):
        past = t - call.taps + 1 + tap
        x = load_first(call.x, b * call.x_strides[0] + past * call.x_strides[1] + channel, call.channels - channel)
        total = total + load(call.weight, tap * call.row_size + channel, 0, 1) * x
    return total


@inlined
def forward_rows(start, stop, call, y):
    one = fill(call.x, 1)
    for b in range(start, stop):
        for t in range(call.length):
            at = (b * call.length + t) * call.channels
            for channel in range(0, call.channels, VECTOR_BYTES // call.x.itemsize):
                total = convolve(call, b, t, channel)
                store_first(y, at + channel, call.channels - channel, total * sigmoid(total, one))


@compiled
def conv_forward(threads, call, y):
    """y (B, L, D)."""
    fork_join(forward_rows, call.batch, threads, (call, y))


@inlined
def back_through_time(call, dtotal_s, dx, b, channel):
    """dx of one row and block from the gradients of its weighted sums."""
    width = VECTOR_BYTES // call.x.itemsize
    for t in range(call.length):
        total = fill(call.x, 0)
        for tap in range(max(0, call.taps - call.length + t), call.taps):
            dtotal = load(dtotal_s, (t + call.taps - 1 - tap) * width, 0, 1)
            total = total + load(call.weight, tap * call.row_size + channel, 0, 1) * dtotal
        store_first(dx, (b * call.length + t) * call.channels + channel, call.channels - channel, total)


@inlined
def backward_runs(start, stop, rows, call, dy, dx, dweight, dbias):
    width = VECTOR_BYTES // call.x.itemsize
    one = fill(call.x, 1)
    dtotal_s = aligned_scratch(call.x, call.length * width)
    for run in range(start, stop):
        for b in range(run * rows, min(call.batch, (run + 1) * rows)):
            for channel in range(0, call.channels, width):
                left = call.channels - channel
                dbias_c = load(dbias, run * call.row_size + channel, 0, 1)
                for t in range(call.length):
                    total = convolve(call, b, t, channel)
                    share = sigmoid(total, one)
                    dtotal = load_first(dy, (b * call.length + t) * call.channels + channel, left)
                    dtotal = dtotal * share * (one + total * (one - share))
                    store(dtotal_s, t * width, 0, dtotal)
                    dbias_c = dbias_c + dtotal
                store(dbias, run * call.row_size + channel, 0, dbias_c)
                for tap in range(call.taps):
                    dweight_at = (run * call.taps + tap) * call.row_size + channel
                    dweight_c = load(dweight, dweight_at, 0, 1)
                    lag = call.taps - 1 - tap
                    for t in range(lag, call.length):
                        x_at = b * call.x_strides[0] + (t - lag) * call.x_strides[1] + channel
                        dweight_c = dweight_c + load(dtotal_s, t * width, 0, 1) * load_first(call.x, x_at, left)
                    store(dweight, dweight_at, 0, dweight_c)
                back_through_time(call, dtotal_s, dx, b, channel)


@compiled
def conv_backward(threads, rows, call, dy, dx, dweight, dbias):
    """Gradients from dy (B, L, D), in runs of `rows` rows of the batch.

    dx: (B, L, D). dweight (runs, taps, row_size), dbias (runs, row_size): zeros on entry, a partial sum for each run.
    """
    fork_join(backward_runs, -(-call.batch // rows), threads, (rows, call, dy, dx, dweight, dbias))
