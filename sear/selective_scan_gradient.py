"""The compiled gradient of the selective scan, for CPU: computes the states once more, chunk by chunk, and goes back.

Units, blocks, groups and chunks are those of selective_scan_kernel.py.
"""

import math
from typing import Any, NamedTuple

from sear.compiled import compiled
from sear.fork_join import fork_join
from sear.lane_memory import add_sums, fill, load, load_first, spread, store, store_first
from sear.lanes import VECTOR_BYTES, add_up_rows, inlined, sigmoid
from sear.selective_scan_kernel import CHUNK, GROUP, pack_BC, place_in_BC, prepare, read, run_states, scratch_for

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
