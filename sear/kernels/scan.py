"""The compiled selective scan and its gradient, for CPU (sear/ops/selective_scan.py has the plain form and the legend).

A unit of work is a block of neighbouring channels of one row of the batch, or, on the way back, of a run of rows. It
goes through time in chunks, and through each chunk with two states at a time, so that what it works on stays in the
nearest caches. The innermost loops run along the channels, over arrays that do not overlap: they become SIMD code.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from sear.kernels.compiler import compiled, exp, exp2, log1p
from sear.kernels.threads import fork_join

inner = compiled(inner=True)
loops = compiled(inner=True, disjoint=True)

WIDEST = 128  # channels of a block, at most
CHUNK = 16  # steps whose states the backward pass holds at once; those between chunks are kept in memory


class Scan(NamedTuple):
    """One call. Arrays are flat unless a shape is given; a strided input comes with (row stride, step stride).

    `pairs` is half the number of states, rounded up: a state that only fills up a pair has zeros in A2, B and C.
    """

    batch: int
    length: int
    channels: int
    states: int
    width: int  # channels of a block
    u: Any
    u_strides: tuple[int, int]
    delta: Any
    delta_strides: tuple[int, int]
    B: Any
    B_strides: tuple[int, int]
    C: Any
    C_strides: tuple[int, int]
    z: Any
    z_strides: tuple[int, int]
    A2: Any  # (blocks, pairs, 2, width): A times log2(e)
    D: Any  # (D,)
    bias: Any  # (D,)
    y: Any  # (B, L, D): y before the gate, kept for the way back; empty: not wanted
    saved: Any  # (batch, blocks, chunks - 1, pairs, 2, width): the states before each chunk but the first


class Gradients(NamedTuple):
    """What scan_backward fills. Sums over the batch come in parts, one for each run of `rows` rows: a fixed order."""

    rows: int
    du: Any  # flat (B, L, D), as ddelta and dz
    ddelta: Any
    dz: Any
    dBC: Any  # (blocks, B, L, 2, pairs, 2): the share of each block, B's before C's
    dA: Any  # (parts, blocks, pairs, 2, width), zeros on entry, as dD and dbias
    dD: Any  # (parts, D)
    dbias: Any


class Scratch(NamedTuple):
    """A thread's own memory for one block in one chunk: (CHUNK, width) unless said otherwise."""

    delta: Any
    du: Any  # delta * u
    B: Any  # (CHUNK, pairs, 2), as C
    C: Any
    state: Any  # (pairs, 2, width): the states between chunks, or their gradients on the way back
    y: Any  # forward only
    # backward only
    slope: Any  # of softplus
    dy: Any  # gradient of y before the gate
    from_B: Any  # gradient of delta * u
    from_decay: Any  # gradient of delta by way of the decays, times log2(e)
    decay: Any  # (CHUNK, 2, width): of the pair at hand
    before: Any  # (CHUNK + 1, 2, width): its states before each step, and at last after the chunk


@inner
def _scratch_for(scan, backward):
    real, pairs = scan.u.dtype, scan.A2.shape[1]
    forward_steps, steps = CHUNK * (1 - backward), CHUNK * backward
    return Scratch(
        np.empty((CHUNK, scan.width), real),
        np.empty((CHUNK, scan.width), real),
        np.zeros((CHUNK, pairs, 2), real),
        np.zeros((CHUNK, pairs, 2), real),
        np.empty((pairs, 2, scan.width), real),
        np.empty((forward_steps, scan.width), real),
        np.empty((steps, scan.width), real),
        np.empty((steps, scan.width), real),
        np.empty((steps, scan.width), real),
        np.empty((steps, scan.width), real),
        np.empty((steps, 2, scan.width), real),
        np.empty((steps + 1, 2, scan.width), real),
    )


@inner
def _place(strides, b, t, first):
    """Index of an element in a flat array: unsigned, because loops over indices that may be negative stay scalar."""
    return np.uintp(b * strides[0] + t * strides[1] + first)


@loops
def _copy_states(source, target):
    """target[:] = source, (pairs, 2, width): numba compiles seconds at the message of a misfit that cannot be."""
    for pair in range(len(source)):
        for k in range(2):
            for d in range(source.shape[2]):
                target[pair, k, d] = source[pair, k, d]


@loops
def _pack_BC(scan, scratch, b, t0, steps):
    for t in range(steps):
        B_at, C_at = _place(scan.B_strides, b, t0 + t, 0), _place(scan.C_strides, b, t0 + t, 0)
        for n in range(np.uintp(scan.states)):
            scratch.B[t, n // 2, n % 2] = scan.B[B_at + n]
            scratch.C[t, n // 2, n % 2] = scan.C[C_at + n]


@loops
def _prepare(scan, scratch, b, t0, steps, first, width):
    """Fill the scratch of one block with delta, delta * u and the start of y."""
    zero = scan.u.dtype.type(0)
    for t in range(steps):
        u_at, delta_at = _place(scan.u_strides, b, t0 + t, first), _place(scan.delta_strides, b, t0 + t, first)
        for d in range(width):
            u, x = scan.u[u_at + d], scan.delta[delta_at + d] + scan.bias[first + d]
            delta = max(x, zero) + log1p(exp(-abs(x)))
            scratch.delta[t, d] = delta
            scratch.du[t, d] = delta * u
            scratch.y[t, d] = scan.D[first + d] * u


@loops
def _run_states(scratch, A2, steps, width):
    """All states of the block through the steps of a chunk, adding to y."""
    for pair in range(len(A2)):
        for t in range(steps):
            for d in range(width):
                delta, du, y = scratch.delta[t, d], scratch.du[t, d], scratch.y[t, d]
                for k in range(2):
                    state = exp2(delta * A2[pair, k, d]) * scratch.state[pair, k, d] + du * scratch.B[t, pair, k]
                    scratch.state[pair, k, d] = state
                    y += state * scratch.C[t, pair, k]
                scratch.y[t, d] = y


@loops
def _gate(scan, scratch, gated, b, t0, steps, first, width):
    one = scan.u.dtype.type(1)
    for t in range(steps):
        z_at = _place(scan.z_strides, b, t0 + t, first)
        at = _place((scan.length * scan.channels, scan.channels), b, t0 + t, first)
        for d in range(width):
            z = scan.z[z_at + d]
            gated[at + d] = scratch.y[t, d] * z / (one + exp(-z))
        if scan.y.size > 0:
            for d in range(width):
                scan.y[at + d] = scratch.y[t, d]


@inner
def _forward_units(start, stop, scan, gated):
    """Units start … stop - 1 of scan_forward; a unit is a row and a block."""
    blocks = len(scan.A2)
    scratch = _scratch_for(scan, 0)
    for unit in range(start, stop):
        b, block = unit // blocks, unit % blocks
        first = np.uintp(block * scan.width)
        width = np.uintp(min(scan.width, scan.channels - block * scan.width))
        scratch.state[:] = 0
        for t0 in range(0, scan.length, CHUNK):
            steps = min(CHUNK, scan.length - t0)
            if t0 > 0 and scan.saved.size > 0:
                _copy_states(scratch.state, scan.saved[b, block, t0 // CHUNK - 1])
            _pack_BC(scan, scratch, b, t0, steps)
            _prepare(scan, scratch, b, t0, steps, first, width)
            _run_states(scratch, scan.A2[block], steps, width)
            _gate(scan, scratch, gated, b, t0, steps, first, width)


@compiled
def scan_forward(threads, scan, gated):
    """gated: flat (B, L, D), the output; scan.y and scan.saved too, unless they are empty."""
    fork_join(_forward_units, scan.batch * len(scan.A2), threads, (scan, gated))


@loops
def _prepare_back(scan, scratch, d_gated, dz, b, t0, steps, first, width):
    """Fill the scratch of one block from the gradient of the gated output, and write that of z."""
    zero, one = scan.u.dtype.type(0), scan.u.dtype.type(1)
    for t in range(steps):
        u_at, delta_at = _place(scan.u_strides, b, t0 + t, first), _place(scan.delta_strides, b, t0 + t, first)
        z_at = _place(scan.z_strides, b, t0 + t, first)
        at = _place((scan.length * scan.channels, scan.channels), b, t0 + t, first)
        for d in range(width):
            x = scan.delta[delta_at + d] + scan.bias[first + d]
            small = exp(-abs(x))
            share = one / (one + small)
            delta = max(x, zero) + log1p(small)
            scratch.delta[t, d] = delta
            scratch.du[t, d] = delta * scan.u[u_at + d]
            scratch.slope[t, d] = small * share if x < zero else share
            scratch.from_B[t, d] = zero
            scratch.from_decay[t, d] = zero
        for d in range(width):
            z = scan.z[z_at + d]
            gate = one / (one + exp(-z))
            scratch.dy[t, d] = d_gated[at + d] * z * gate
            dz[at + d] = d_gated[at + d] * gate * (one + z * (one - gate)) * scan.y[at + d]


@loops
def _rerun_states(scratch, A2, pair, steps, width):
    """A pair of states through the chunk once more, from scratch.before[0], noting what the way back needs."""
    for t in range(steps):
        for d in range(width):
            for k in range(2):
                decay = exp2(scratch.delta[t, d] * A2[pair, k, d])
                scratch.decay[t, k, d] = decay
                scratch.before[t + 1, k, d] = decay * scratch.before[t, k, d] + scratch.du[t, d] * scratch.B[t, pair, k]


@compiled(inner=True, disjoint=True, reorder_sums=True)
def _back_through_states(scratch, A2, dA, dBC, pair, steps, width):
    """The way back of a pair: scratch.state is the gradient of its states after the chunk, then of those before it."""
    state, before, decay = scratch.state, scratch.before, scratch.decay
    for t in range(steps - 1, -1, -1):
        B_0, B_1 = scratch.B[t, pair, 0], scratch.B[t, pair, 1]
        C_0, C_1 = scratch.C[t, pair, 0], scratch.C[t, pair, 1]
        dB_0 = dB_1 = dC_0 = dC_1 = dA.dtype.type(0)
        for d in range(width):
            delta, du, dy = scratch.delta[t, d], scratch.du[t, d], scratch.dy[t, d]
            dC_0 += dy * before[t + 1, 0, d]
            dC_1 += dy * before[t + 1, 1, d]
            dstate_0, dstate_1 = dy * C_0 + state[pair, 0, d], dy * C_1 + state[pair, 1, d]
            dB_0 += dstate_0 * du
            dB_1 += dstate_1 * du
            scratch.from_B[t, d] += dstate_0 * B_0 + dstate_1 * B_1
            carry_0, carry_1 = dstate_0 * decay[t, 0, d], dstate_1 * decay[t, 1, d]
            state[pair, 0, d] = carry_0
            state[pair, 1, d] = carry_1
            d_exponent_0, d_exponent_1 = carry_0 * before[t, 0, d], carry_1 * before[t, 1, d]
            scratch.from_decay[t, d] += d_exponent_0 * A2[pair, 0, d] + d_exponent_1 * A2[pair, 1, d]
            dA[pair, 0, d] += d_exponent_0 * delta
            dA[pair, 1, d] += d_exponent_1 * delta
        dBC[t, 0, pair, 0], dBC[t, 0, pair, 1] = dB_0, dB_1
        dBC[t, 1, pair, 0], dBC[t, 1, pair, 1] = dC_0, dC_1


@loops
def _finish_back(scan, scratch, out, part, b, t0, steps, first, width):
    """Write the gradients of u and delta of the block and add to those of D and the bias."""
    log_2 = scan.u.dtype.type(math.log(2))
    for t in range(steps):
        u_at = _place(scan.u_strides, b, t0 + t, first)
        at = _place((scan.length * scan.channels, scan.channels), b, t0 + t, first)
        for d in range(width):
            u, dy, from_B = scan.u[u_at + d], scratch.dy[t, d], scratch.from_B[t, d]
            ddelta = (from_B * u + scratch.from_decay[t, d] * log_2) * scratch.slope[t, d]
            out.ddelta[at + d] = ddelta
            out.du[at + d] = from_B * scratch.delta[t, d] + dy * scan.D[first + d]
            out.dbias[part, first + d] += ddelta
            out.dD[part, first + d] += dy * u


@inner
def _backward_units(start, stop, scan, d_gated, out):
    """Units start … stop - 1 of scan_backward; a unit is a run of rows and a block."""
    blocks, pairs = scan.A2.shape[:2]
    scratch = _scratch_for(scan, 1)
    for unit in range(start, stop):
        part, block = unit // blocks, unit % blocks
        first = np.uintp(block * scan.width)
        width = np.uintp(min(scan.width, scan.channels - block * scan.width))
        A2, dA = scan.A2[block], out.dA[part, block]
        for b in range(part * out.rows, min(scan.batch, (part + 1) * out.rows)):
            scratch.state[:] = 0
            for chunk in range((scan.length - 1) // CHUNK, -1, -1):
                t0 = chunk * CHUNK
                steps = min(CHUNK, scan.length - t0)
                dBC = out.dBC[block, b, t0 : t0 + steps]
                _pack_BC(scan, scratch, b, t0, steps)
                _prepare_back(scan, scratch, d_gated, out.dz, b, t0, steps, first, width)
                for pair in range(pairs):
                    if chunk > 0:
                        _copy_states(scan.saved[b, block, chunk - 1, pair : pair + 1], scratch.before[:1])
                    else:
                        scratch.before[0] = 0
                    _rerun_states(scratch, A2, pair, steps, width)
                    _back_through_states(scratch, A2, dA, dBC, pair, steps, width)
                _finish_back(scan, scratch, out, part, b, t0, steps, first, width)


@compiled
def scan_backward(threads, scan, d_gated, out):
    """Every field of `out` from d_gated, flat (B, L, D)."""
    fork_join(_backward_units, -(-scan.batch // out.rows) * len(scan.A2), threads, (scan, d_gated, out))
