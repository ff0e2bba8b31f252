"""The compiled selective scan and its gradient, for CPU (selective_scan.py has the plain form and the legend).

A unit of work is a few rows of the batch and some blocks of channels. Within a block, SIMD lanes are neighbouring channels;
states are taken four at a time, each group running through time with its states in registers.
"""

import numba
import numpy as np

from sear.compiled import compiled
from sear.lanes import add_sums, add_up_rows, exp, exp2, fill, load, load_first, log1p, maximum, spread, store
from sear.lanes import store_first, where_negative

GROUP = 4  # states of a channel that are worked on together
CHUNK = 64  # time steps whose states fit in the first-level cache; states between chunks are kept for the backward pass
LOG_2 = float(np.log(2))
inlined = numba.njit(forceinline=True, error_model="numpy", fastmath={"contract"})


@inlined
def softplus_and_slope(x, array):
    one = fill(array, 1)
    small = exp(fill(array, 0) - maximum(x, fill(array, 0) - x))
    share = one / (one + small)
    return maximum(fill(array, 0), x) + log1p(small), where_negative(x, small * share, share)


@inlined
def sigmoid(x, array):
    one = fill(array, 1)
    return one / (one + exp(fill(array, 0) - x))


@inlined
def aligned_scratch(array, size):
    """Uninitialised memory for `size` numbers that starts at a multiple of 64 bytes."""
    memory = np.empty(size + 64 // array.itemsize, array.dtype)
    start = (-memory.ctypes.data % 64) // array.itemsize
    return memory[start : start + size]


@inlined
def pack_BC(scratch, at, B, B_at, B_step, C, C_at, C_step, steps, states):
    """Put B and C of `steps` steps side by side, GROUP states of each in turn; states that only fill up stay 0."""
    for t in range(steps):
        for n in range(states):
            place = at + (n // GROUP) * 2 * GROUP + n % GROUP
            scratch[place] = B[B_at + t * B_step + n]
            scratch[place + GROUP] = C[C_at + t * C_step + n]
        at += 2 * (-(-states // GROUP) * GROUP)


@compiled
def scan_forward(start, stop, splits, sizes, strides, u, delta, A2, B, C, D, z, bias, y, saved):
    """y for units start..stop; `saved`, unless empty, receives the states before every chunk but the first.

    A unit is one row of the batch and one of `splits` shares of the channels. sizes: length, channels, states. strides:
    (row, step) of u, delta, z, B, C. A2: (padded states, padded channels), times log2(e). y: (B, L, D). saved: (B, chunks
    - 1, padded states, padded channels). All arrays are flat; D and bias are padded.
    """
    length, channels, states = sizes
    (u_row, u_step), (delta_row, delta_step), (z_row, z_step), (B_row, B_step), (C_row, C_step) = strides
    width = 64 // u.itemsize
    blocks, padded_states = -(-channels // width), -(-states // GROUP) * GROUP
    row_size, BC_step = blocks * width, 2 * padded_states
    chunks = -(-length // CHUNK)
    delta_s = aligned_scratch(u, CHUNK * width)
    du_s = aligned_scratch(u, CHUNK * width)
    y_s = aligned_scratch(u, CHUNK * width)
    state_s = aligned_scratch(u, padded_states * row_size)
    BC_s = aligned_scratch(u, CHUNK * BC_step)
    BC_s[:] = 0
    for unit in range(start, stop):
        b, split = unit // splits, unit % splits
        state_s[:] = 0
        for chunk in range(chunks):
            t0 = chunk * CHUNK
            steps = min(CHUNK, length - t0)
            pack_BC(BC_s, 0, B, b * B_row + t0 * B_step, B_step, C, b * C_row + t0 * C_step, C_step, steps, states)
            for block in range(blocks * split // splits, blocks * (split + 1) // splits):
                c0 = block * width
                left = channels - c0
                bias_c, D_c = load(bias, c0, 0, 1), load(D, c0, 0, 1)
                for t in range(steps):
                    u_t = load_first(u, b * u_row + (t0 + t) * u_step + c0, left)
                    raw = load_first(delta, b * delta_row + (t0 + t) * delta_step + c0, left)
                    delta_t, _ = softplus_and_slope(raw + bias_c, u)
                    store(delta_s, t * width, 0, delta_t)
                    store(du_s, t * width, 0, delta_t * u_t)
                    store(y_s, t * width, 0, D_c * u_t)
                for n in range(0, padded_states, GROUP):
                    place = n * row_size + c0
                    state = load(state_s, place, row_size, GROUP)
                    if chunk > 0 and saved.size > 0:
                        save_at = (b * (chunks - 1) + chunk - 1) * padded_states * row_size
                        store(saved, save_at + place, row_size, state)
                    A2_n = load(A2, place, row_size, GROUP)
                    for t in range(steps):
                        BC_at = t * BC_step + 2 * n
                        decay = exp2(load(delta_s, t * width, 0, 1) * A2_n)
                        state = decay * state + load(du_s, t * width, 0, 1) * spread(BC_s, BC_at, GROUP)
                        outputs = add_up_rows(load(y_s, t * width, 0, 1), state * spread(BC_s, BC_at + GROUP, GROUP))
                        store(y_s, t * width, 0, outputs)
                    store(state_s, place, row_size, state)
                for t in range(steps):
                    z_t = load_first(z, b * z_row + (t0 + t) * z_step + c0, left)
                    y_t = load(y_s, t * width, 0, 1) * z_t * sigmoid(z_t, u)
                    store_first(y, (b * length + t0 + t) * channels + c0, left, y_t)


@compiled
def scan_backward(
    start, stop, splits, rows, sizes, strides, u, delta, A2, B, C, D, z, bias, dy, saved,
    du, ddelta, dz, dBC, dA, dD, dbias,
):  # fmt: skip
    """Gradients for units start..stop, from dy (B, L, D) and what scan_forward saved.

    A unit is `rows` rows of the batch and one of `splits` shares of the channels. sizes, strides, inputs: as scan_forward.
    du, ddelta, dz: (B, L, D). dBC: (splits, B, L, 2 N), each share's part. dA: (parts, padded states, padded channels); dD,
    dbias: (parts, padded channels), zeros on entry: one partial sum for each run of `rows` rows.
    """
    batch, length, channels, states = sizes
    (u_row, u_step), (delta_row, delta_step), (z_row, z_step), (B_row, B_step), (C_row, C_step) = strides
    width = 64 // u.itemsize
    blocks, padded_states = -(-channels // width), -(-states // GROUP) * GROUP
    row_size, BC_step = blocks * width, 2 * padded_states
    chunks = -(-length // CHUNK)
    delta_s = aligned_scratch(u, CHUNK * width)
    slope_s = aligned_scratch(u, CHUNK * width)
    du_s = aligned_scratch(u, CHUNK * width)
    dy_s = aligned_scratch(u, CHUNK * width)
    gate_s = aligned_scratch(u, CHUNK * width)
    y_s = aligned_scratch(u, CHUNK * width)
    ddu_s = aligned_scratch(u, CHUNK * width)
    ddecay_s = aligned_scratch(u, CHUNK * width)
    decay_s = aligned_scratch(u, CHUNK * width * GROUP)
    before_s = aligned_scratch(u, CHUNK * width * GROUP)
    carry_s = aligned_scratch(u, padded_states * row_size)
    BC_s = aligned_scratch(u, CHUNK * BC_step)
    dBC_s = aligned_scratch(u, CHUNK * BC_step)
    BC_s[:] = 0
    tile = GROUP * width
    one = fill(u, 1)
    log_2 = fill(u, LOG_2)
    zero = fill(u, 0)
    for unit in range(start, stop):
        part, split = unit // splits, unit % splits
        for b in range(part * rows, min(batch, (part + 1) * rows)):
            carry_s[:] = 0
            for chunk in range(chunks - 1, -1, -1):
                t0 = chunk * CHUNK
                steps = min(CHUNK, length - t0)
                pack_BC(BC_s, 0, B, b * B_row + t0 * B_step, B_step, C, b * C_row + t0 * C_step, C_step, steps, states)
                dBC_s[:] = 0
                for block in range(blocks * split // splits, blocks * (split + 1) // splits):
                    c0 = block * width
                    left = channels - c0
                    bias_c, D_c = load(bias, c0, 0, 1), load(D, c0, 0, 1)
                    for t in range(steps):
                        u_t = load_first(u, b * u_row + (t0 + t) * u_step + c0, left)
                        raw = load_first(delta, b * delta_row + (t0 + t) * delta_step + c0, left)
                        z_t = load_first(z, b * z_row + (t0 + t) * z_step + c0, left)
                        dy_t = load_first(dy, (b * length + t0 + t) * channels + c0, left)
                        delta_t, slope = softplus_and_slope(raw + bias_c, u)
                        open_ = sigmoid(z_t, u)
                        store(delta_s, t * width, 0, delta_t)
                        store(slope_s, t * width, 0, slope)
                        store(du_s, t * width, 0, delta_t * u_t)
                        store(dy_s, t * width, 0, dy_t * z_t * open_)
                        store(gate_s, t * width, 0, dy_t * open_ * (one + z_t * (one - open_)))
                        store(y_s, t * width, 0, D_c * u_t)
                        store(ddu_s, t * width, 0, zero)
                        store(ddecay_s, t * width, 0, zero)
                    for n in range(0, padded_states, GROUP):
                        place = n * row_size + c0
                        A2_n = load(A2, place, row_size, GROUP)
                        save_at = (b * (chunks - 1) + chunk - 1) * padded_states * row_size
                        if chunk > 0:
                            state = load(saved, save_at + place, row_size, GROUP)
                        else:
                            state = A2_n * zero
                        for t in range(steps):
                            BC_at = t * BC_step + 2 * n
                            decay = exp2(load(delta_s, t * width, 0, 1) * A2_n)
                            store(decay_s, t * tile, width, decay)
                            store(before_s, t * tile, width, state)
                            state = decay * state + load(du_s, t * width, 0, 1) * spread(BC_s, BC_at, GROUP)
                            outputs = add_up_rows(
                                load(y_s, t * width, 0, 1), state * spread(BC_s, BC_at + GROUP, GROUP)
                            )
                            store(y_s, t * width, 0, outputs)
                        carry = load(carry_s, place, row_size, GROUP)
                        dA_at = part * padded_states * row_size + place
                        dA_n = load(dA, dA_at, row_size, GROUP)
                        for t in range(steps - 1, -1, -1):
                            BC_at = t * BC_step + 2 * n
                            dy_t = load(dy_s, t * width, 0, 1)
                            dstate = dy_t * spread(BC_s, BC_at + GROUP, GROUP) + carry
                            add_sums(dBC_s, BC_at, dstate * load(du_s, t * width, 0, 1), dy_t * state)
                            ddu = add_up_rows(load(ddu_s, t * width, 0, 1), dstate * spread(BC_s, BC_at, GROUP))
                            store(ddu_s, t * width, 0, ddu)
                            carry = dstate * load(decay_s, t * tile, width, GROUP)
                            state = load(before_s, t * tile, width, GROUP)
                            ddecay = carry * state
                            store(ddecay_s, t * width, 0, add_up_rows(load(ddecay_s, t * width, 0, 1), ddecay * A2_n))
                            dA_n = dA_n + ddecay * load(delta_s, t * width, 0, 1)
                        store(carry_s, place, row_size, carry)
                        store(dA, dA_at, row_size, dA_n)
                    dD_c = load(dD, part * row_size + c0, 0, 1)
                    dbias_c = load(dbias, part * row_size + c0, 0, 1)
                    for t in range(steps):
                        out_at = (b * length + t0 + t) * channels + c0
                        u_t = load_first(u, b * u_row + (t0 + t) * u_step + c0, left)
                        dy_t = load(dy_s, t * width, 0, 1)
                        ddu = load(ddu_s, t * width, 0, 1)
                        ddelta_t = ddu * u_t + load(ddecay_s, t * width, 0, 1) * log_2
                        ddelta_t = ddelta_t * load(slope_s, t * width, 0, 1)
                        store_first(ddelta, out_at, left, ddelta_t)
                        store_first(du, out_at, left, ddu * load(delta_s, t * width, 0, 1) + dy_t * D_c)
                        store_first(dz, out_at, left, load(y_s, t * width, 0, 1) * load(gate_s, t * width, 0, 1))
                        dbias_c = dbias_c + ddelta_t
                        dD_c = dD_c + dy_t * u_t
                    store(dD, part * row_size + c0, 0, dD_c)
                    store(dbias, part * row_size + c0, 0, dbias_c)
                for t in range(steps):
                    out_at = ((split * batch + b) * length + t0 + t) * 2 * states
                    for n in range(states):
                        place = t * BC_step + (n // GROUP) * 2 * GROUP + n % GROUP
                        dBC[out_at + n] = dBC_s[place]
                        dBC[out_at + states + n] = dBC_s[place + GROUP]
