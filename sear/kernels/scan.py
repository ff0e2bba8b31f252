"""The compiled selective scan, for CPU (selective_scan.py has the plain form and the legend).

A unit of work is some rows of the batch and a share of their channels. SIMD lanes are neighbouring channels (a block).
The states of a channel are taken GROUP at a time, each group running through a chunk of time in registers.
"""

import math
from typing import Any, NamedTuple

from sear.kernels.compiler import compiled
from sear.kernels.simd import (
    VECTOR_BYTES,
    add_sums,
    add_up_rows,
    aligned_scratch,
    exp2,
    fill,
    inlined,
    load,
    load_first,
    sigmoid,
    softplus_and_slope,
    spread,
    store,
    store_first,
)
from sear.kernels.threads import fork_join

GROUP = 4  # states of a channel that are worked on together
CHUNK = 128  # steps whose states the backward pass holds at once, in the cache; those between chunks are kept in memory


class Scan(NamedTuple):
    """One call: sizes, then flat arrays. A strided input comes with (row stride, step stride).

    `row_size` and `padded_states` are the numbers of channels and states, filled up to whole blocks and groups.
    """

    batch: int
    length: int
    channels: int
    states: int
    row_size: int
    padded_states: int
    splits: int  # shares into which the channels are cut, so that a small batch keeps all threads busy
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
    A2: Any  # (padded_states, row_size), times log2(e)
    D: Any  # (row_size,)
    bias: Any  # (row_size,)
    saved: (
        Any  # (batch, chunks - 1, padded_states, row_size): states before each chunk but the first; empty: not wanted
    )


class Scratch(NamedTuple):
    """A thread's own memory: for one block and chunk, (steps, lanes), unless said otherwise."""

    delta: Any
    du: Any  # delta * u
    y: Any
    BC: Any  # (steps, 2 * padded_states): GROUP B's, their C's, the next GROUP B's, …
    state: Any  # (padded_states, row_size): the states between chunks, or their gradients on the way back
    # backward only
    slope: Any  # of softplus
    dy: Any  # gradient of y before the gate
    dgate: Any  # gradient of z over y
    from_B: Any  # gradient of delta * u
    from_decay: Any  # gradient of delta by way of the decays, times log2(e)
    decay: Any  # (steps, GROUP, lanes)
    before: Any  # (steps, GROUP, lanes): the states before each step
    dBC: Any  # laid out as BC


@inlined
def scratch_for(scan, backward):
    array = scan.u
    size = CHUNK * (VECTOR_BYTES // array.itemsize)
    more = size * backward
    BC_size = 2 * CHUNK * scan.padded_states
    scratch = Scratch(
        aligned_scratch(array, size),
        aligned_scratch(array, size),
        aligned_scratch(array, size),
        aligned_scratch(array, BC_size),
        aligned_scratch(array, scan.padded_states * scan.row_size),
        aligned_scratch(array, more),
        aligned_scratch(array, more),
        aligned_scratch(array, more),
        aligned_scratch(array, more),
        aligned_scratch(array, more),
        aligned_scratch(array, more * GROUP),
        aligned_scratch(array, more * GROUP),
        aligned_scratch(array, BC_size * backward),
    )
    scratch.BC[:] = 0  # states that only fill up a group stay 0
    return scratch


@inlined
def place_in_BC(scan, t, n):
    return t * 2 * scan.padded_states + n // GROUP * 2 * GROUP + n % GROUP


@inlined
def pack_BC(scan, scratch, b, t0, steps):
    for t in range(steps):
        B_at = b * scan.B_strides[0] + (t0 + t) * scan.B_strides[1]
        C_at = b * scan.C_strides[0] + (t0 + t) * scan.C_strides[1]
        for n in range(scan.states):
            place = place_in_BC(scan, t, n)
            scratch.BC[place] = scan.B[B_at + n]
            scratch.BC[place + GROUP] = scan.C[C_at + n]


@inlined
def read(array, strides, b, t, channel, channels):
    return load_first(array, b * strides[0] + t * strides[1] + channel, channels - channel)


@inlined
def prepare(scan, scratch, b, t0, steps, channel):
    """Fill the scratch of one block with delta, delta * u and the start of y."""
    width = VECTOR_BYTES // scan.u.itemsize
    bias, D, one = load(scan.bias, channel, 0, 1), load(scan.D, channel, 0, 1), fill(scan.u, 1)
    for t in range(steps):
        u = read(scan.u, scan.u_strides, b, t0 + t, channel, scan.channels)
        raw = read(scan.delta, scan.delta_strides, b, t0 + t, channel, scan.channels)
        delta, slope = softplus_and_slope(raw + bias, one)
        store(scratch.delta, t * width, 0, delta)
        store(scratch.du, t * width, 0, delta * u)
        store(scratch.y, t * width, 0, D * u)
        if scratch.slope.size > 0:
            store(scratch.slope, t * width, 0, slope)


@inlined
def run_states(scan, scratch, state, A2, n, steps, keep):
    """The states n … n + GROUP - 1 through the steps of a chunk, adding to y; `keep` notes what backward needs."""
    width = VECTOR_BYTES // scan.u.itemsize
    for t in range(steps):
        BC_at = t * 2 * scan.padded_states + 2 * n
        decay = exp2(load(scratch.delta, t * width, 0, 1) * A2)
        if keep:
            store(scratch.decay, t * GROUP * width, width, decay)
            store(scratch.before, t * GROUP * width, width, state)
        state = decay * state + load(scratch.du, t * width, 0, 1) * spread(scratch.BC, BC_at, GROUP)
        y = add_up_rows(load(scratch.y, t * width, 0, 1), state * spread(scratch.BC, BC_at + GROUP, GROUP))
        store(scratch.y, t * width, 0, y)
    return state


@inlined
def forward_units(start, stop, scan, y):
    """Units start … stop - 1 of scan_forward; a unit is a row and a split."""
    width = VECTOR_BYTES // scan.u.itemsize
    blocks, chunks = scan.row_size // width, -(-scan.length // CHUNK)
    scratch = scratch_for(scan, 0)
    one = fill(scan.u, 1)
    for unit in range(start, stop):
        b, split = unit // scan.splits, unit % scan.splits
        scratch.state[:] = 0
        for chunk in range(chunks):
            t0 = chunk * CHUNK
            steps = min(CHUNK, scan.length - t0)
            pack_BC(scan, scratch, b, t0, steps)
            for block in range(blocks * split // scan.splits, blocks * (split + 1) // scan.splits):
                channel = block * width
                prepare(scan, scratch, b, t0, steps, channel)
                for n in range(0, scan.padded_states, GROUP):
                    place = n * scan.row_size + channel
                    state = load(scratch.state, place, scan.row_size, GROUP)
                    if chunk > 0 and scan.saved.size > 0:
                        saved_at = (b * (chunks - 1) + chunk - 1) * scan.padded_states * scan.row_size
                        store(scan.saved, saved_at + place, scan.row_size, state)
                    A2 = load(scan.A2, place, scan.row_size, GROUP)
                    state = run_states(scan, scratch, state, A2, n, steps, False)
                    store(scratch.state, place, scan.row_size, state)
                for t in range(steps):
                    z = read(scan.z, scan.z_strides, b, t0 + t, channel, scan.channels)
                    gated = load(scratch.y, t * width, 0, 1) * z * sigmoid(z, one)
                    store_first(y, (b * scan.length + t0 + t) * scan.channels + channel, scan.channels - channel, gated)


@compiled
def scan_forward(threads, scan, y):
    """y (B, L, D), and scan.saved unless it is empty."""
    fork_join(forward_units, scan.batch * scan.splits, threads, (scan, y))


LOG_2 = math.log(2)


class Gradients(NamedTuple):
    """Flat arrays. Sums over the batch come in parts, one for each run of `rows` rows, so that their order is fixed."""

    rows: int
    du: Any  # (B, L, D), as ddelta and dz
    ddelta: Any
    dz: Any
    dBC: Any  # (splits, B, L, 2 N): the share of each split, B's before C's
    dA: Any  # (parts, padded_states, row_size), zeros on entry, as dD and dbias
    dD: Any  # (parts, row_size)
    dbias: Any


@inlined
def prepare_back(scan, scratch, dy, b, t0, steps, channel):
    """Fill the rest of the block's scratch from the gradient dy of the gated output."""
    width = VECTOR_BYTES // scan.u.itemsize
    one, zero = fill(scan.u, 1), fill(scan.u, 0)
    for t in range(steps):
        z = read(scan.z, scan.z_strides, b, t0 + t, channel, scan.channels)
        d_gated = load_first(dy, (b * scan.length + t0 + t) * scan.channels + channel, scan.channels - channel)
        share = sigmoid(z, one)
        store(scratch.dy, t * width, 0, d_gated * z * share)
        store(scratch.dgate, t * width, 0, d_gated * share * (one + z * (one - share)))
        store(scratch.from_B, t * width, 0, zero)
        store(scratch.from_decay, t * width, 0, zero)


@inlined
def run_back(scan, scratch, state, carry, dA, A2, n, steps):
    """Back through the chunk: `carry` is the gradient of the state before the step at hand. Returns carry and dA."""
    width = VECTOR_BYTES // scan.u.itemsize
    for t in range(steps - 1, -1, -1):
        BC_at = t * 2 * scan.padded_states + 2 * n
        dy = load(scratch.dy, t * width, 0, 1)
        dstate = dy * spread(scratch.BC, BC_at + GROUP, GROUP) + carry
        add_sums(scratch.dBC, BC_at, dstate * load(scratch.du, t * width, 0, 1), dy * state)
        from_B = add_up_rows(load(scratch.from_B, t * width, 0, 1), dstate * spread(scratch.BC, BC_at, GROUP))
        store(scratch.from_B, t * width, 0, from_B)
        carry = dstate * load(scratch.decay, t * GROUP * width, width, GROUP)
        state = load(scratch.before, t * GROUP * width, width, GROUP)
        d_exponent = carry * state
        from_decay = add_up_rows(load(scratch.from_decay, t * width, 0, 1), d_exponent * A2)
        store(scratch.from_decay, t * width, 0, from_decay)
        dA = dA + d_exponent * load(scratch.delta, t * width, 0, 1)
    return carry, dA


@inlined
def finish_back(scan, scratch, out, part, b, t0, steps, channel):
    """Write the gradients of the block's inputs and add to those of D and the bias."""
    width = VECTOR_BYTES // scan.u.itemsize
    sum_at = part * scan.row_size + channel
    dD, dbias = load(out.dD, sum_at, 0, 1), load(out.dbias, sum_at, 0, 1)
    D, log_2 = load(scan.D, channel, 0, 1), fill(scan.u, LOG_2)
    for t in range(steps):
        at, left = (b * scan.length + t0 + t) * scan.channels + channel, scan.channels - channel
        u = read(scan.u, scan.u_strides, b, t0 + t, channel, scan.channels)
        dy, from_B = load(scratch.dy, t * width, 0, 1), load(scratch.from_B, t * width, 0, 1)
        ddelta = from_B * u + load(scratch.from_decay, t * width, 0, 1) * log_2
        ddelta = ddelta * load(scratch.slope, t * width, 0, 1)
        store_first(out.ddelta, at, left, ddelta)
        store_first(out.du, at, left, from_B * load(scratch.delta, t * width, 0, 1) + dy * D)
        store_first(out.dz, at, left, load(scratch.y, t * width, 0, 1) * load(scratch.dgate, t * width, 0, 1))
        dbias = dbias + ddelta
        dD = dD + dy * u
    store(out.dD, sum_at, 0, dD)
    store(out.dbias, sum_at, 0, dbias)


@inlined
def back_block(scan, scratch, out, dy, part, b, chunk, steps, channel):
    """One block of channels in one chunk of one row, there and back."""
    t0, chunks = chunk * CHUNK, -(-scan.length // CHUNK)
    prepare(scan, scratch, b, t0, steps, channel)
    prepare_back(scan, scratch, dy, b, t0, steps, channel)
    for n in range(0, scan.padded_states, GROUP):
        place = n * scan.row_size + channel
        A2 = load(scan.A2, place, scan.row_size, GROUP)
        if chunk > 0:
            saved_at = (b * (chunks - 1) + chunk - 1) * scan.padded_states * scan.row_size
            state = load(scan.saved, saved_at + place, scan.row_size, GROUP)
        else:
            state = A2 * fill(scan.u, 0)
        state = run_states(scan, scratch, state, A2, n, steps, True)
        carry = load(scratch.state, place, scan.row_size, GROUP)
        sum_at = part * scan.padded_states * scan.row_size + place
        carry, dA = run_back(scan, scratch, state, carry, load(out.dA, sum_at, scan.row_size, GROUP), A2, n, steps)
        store(scratch.state, place, scan.row_size, carry)
        store(out.dA, sum_at, scan.row_size, dA)
    finish_back(scan, scratch, out, part, b, t0, steps, channel)


@inlined
def backward_units(start, stop, scan, dy, out):
    """Units start … stop - 1 of scan_backward; a unit is a run of rows and a split."""
    width = VECTOR_BYTES // scan.u.itemsize
    blocks, chunks = scan.row_size // width, -(-scan.length // CHUNK)
    scratch = scratch_for(scan, 1)
    for unit in range(start, stop):
        part, split = unit // scan.splits, unit % scan.splits
        for b in range(part * out.rows, min(scan.batch, (part + 1) * out.rows)):
            scratch.state[:] = 0
            for chunk in range(chunks - 1, -1, -1):
                t0 = chunk * CHUNK
                steps = min(CHUNK, scan.length - t0)
                pack_BC(scan, scratch, b, t0, steps)
                scratch.dBC[:] = 0
                for block in range(blocks * split // scan.splits, blocks * (split + 1) // scan.splits):
                    back_block(scan, scratch, out, dy, part, b, chunk, steps, block * width)
                for t in range(steps):
                    at = ((split * scan.batch + b) * scan.length + t0 + t) * 2 * scan.states
                    for n in range(scan.states):
                        place = place_in_BC(scan, t, n)
                        out.dBC[at + n] = scratch.dBC[place]
                        out.dBC[at + scan.states + n] = scratch.dBC[place + GROUP]


@compiled
def scan_backward(threads, scan, dy, out):
    """Every field of `out` from dy (B, L, D)."""
    fork_join(backward_units, -(-scan.batch // out.rows) * scan.splits, threads, (scan, dy, out))
