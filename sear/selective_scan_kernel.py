"""The compiled selective scan, for CPU (selective_scan.py has the plain form and the legend).

A unit of work is some rows of the batch and a share of their channels. SIMD lanes are neighbouring channels (a block).
The states of a channel are taken GROUP at a time, each group running through a chunk of time in registers.
"""

from typing import Any, NamedTuple

from sear.compiled import compiled
from sear.fork_join import fork_join
from sear.lane_memory import aligned_scratch, fill, load, load_first, spread, store, store_first
from sear.lanes import VECTOR_BYTES, add_up_rows, exp2, inlined, sigmoid, softplus_and_slope

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
