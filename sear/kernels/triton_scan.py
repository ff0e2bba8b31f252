"""The selective scan on a GPU, forward and backward, in Triton, which needs no compiler on the machine.

The plain definition is selective_scan_reference of ops.

A program takes one sequence and a block of its channels, and walks along time in tiles of T steps. A thread holds all T
steps of its (channel, state) pairs, so that the recurrence runs in registers. Forward keeps the states before every
KEPT steps; backward computes those between once more. Sums over programs are left to torch, in a fixed order: there are
no atomics, and runs are equal bit by bit.

Letters of tiles: T steps; D channels of the block; N states, a power of two, n = j K + k with K neighbouring states in
a thread and J threads side by side; S tiles between kept states. Of a step, e is the decay exp(delta A), x what it adds
to the state, r = e h what is left of the state before; q the gradient of the ungated output, g that of the state.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from sear.kernels.triton_tiles import FUSED, load_tile, rows_of, sigmoid, store_tile


class Tiling(NamedTuple):
    """How a kernel cuts its work.

    steps * channels should be the number of threads at least: a smaller tile is worked out by several threads alike.
    """

    steps: int  # T
    channels: int  # D
    pairs: int  # (channel, state) pairs of a thread at one step
    lanes: int  # J, threads that share a channel


KEPT = 4  # steps between kept states
FORWARD = Tiling(steps=4, channels=32, pairs=8, lanes=4)
BACKWARD = Tiling(
    steps=4, channels=32, pairs=8, lanes=8
)  # more lanes: sums over channels become cheap, over states dear


@triton.jit
def _softplus(x):
    """log(1 + exp(x)), by the series of 2 artanh(s): log(1 + y) would lose digits where y is small, as steps are."""
    y = tl.exp(-tl.abs(x))
    s = y / (2.0 + y)
    q = s * s
    series = 1.0 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + q * (1 / 11 + q * (1 / 13 + q * (1 / 15)))))))
    return tl.maximum(x, 0.0) + 2.0 * s * series


@triton.jit
def _spread(tile_TN, T: tl.constexpr, K: tl.constexpr, J: tl.constexpr):
    """(T, N) to (T, K, J), n = j K + k: a thread has K neighbouring states."""
    return tl.permute(tl.reshape(tile_TN, (T, J, K)), (0, 2, 1))


@triton.jit
def _store_states(pointer, stride, step_T, n_KJ, length, states, tile):
    inside = (step_T < length)[:, None, None] & (n_KJ < states)[None, :, :]
    tl.store(pointer + step_T[:, None, None] * stride + n_KJ[None, :, :], tile, mask=inside)


@triton.jit
def _sum_states(tile_TKDJ):
    return tl.sum(tl.sum(tile_TKDJ, axis=1), axis=2)


@triton.jit
def _pick(tile, index, at):
    """tile[at] along the first of four axes: the largest bit pattern, the others being the least there is. Where index
    and at are known, nothing of this is left in machine code, as it would be of a sum with zeros."""
    bits = tl.where(index[:, None, None, None] == at, tile.to(tl.int32, bitcast=True), -2147483648)
    return tl.max(bits, axis=0).to(tl.float32, bitcast=True)


@triton.jit
def _put(tile, index, at, part):
    """tile with tile[at] = part."""
    return tl.where(index[:, None, None, None] == at, part[None, :, :, :], tile)


@triton.jit(do_not_specialize=["B_row", "C_row", "length"])
def _forward_kernel(
    u, delta, A, B, C, D, z, bias, y, kept,
    u_row, u_step, delta_row, delta_step, B_row, B_step, C_row, C_step, z_row, z_step,
    group_rows, length, channels, states,
    T: tl.constexpr, S: tl.constexpr, BLOCK: tl.constexpr, K: tl.constexpr, J: tl.constexpr, KEEP: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(channels, BLOCK)
    row = (tl.program_id(0) // blocks).to(tl.int64)
    d = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    step, n_KJ = tl.arange(0, T), tl.arange(0, K)[:, None] + tl.arange(0, J)[None, :] * K
    n = tl.arange(0, K * J)
    u, delta, z, y = u + row * u_row, delta + row * delta_row, z + row * z_row, y + row * length * channels
    B, C = B + row * B_row, C + row * C_row
    group = row // group_rows
    state_KDJ = d[None, :, None] * states + n_KJ[:, None, :]
    real_KDJ = (d < channels)[None, :, None] & (n_KJ < states)[:, None, :]
    a_KDJ = 1.4426950408889634 * tl.load(A + group * channels * states + state_KDJ, mask=real_KDJ, other=0.0)
    skip_D = tl.load(D + group * channels + d, mask=d < channels, other=0.0)
    bias_D = tl.load(bias + group * channels + d, mask=d < channels, other=0.0)
    kept += row * (tl.cdiv(length, S * T) - 1) * channels * states
    h_KDJ = tl.zeros((K, BLOCK, J), dtype=tl.float32)
    next_u, next_delta = (
        load_tile(u, u_step, step, d, length, channels),
        load_tile(delta, delta_step, step, d, length, channels),
    )
    next_z = load_tile(z, z_step, step, d, length, channels)
    next_B, next_C = load_tile(B, B_step, step, n, length, states), load_tile(C, C_step, step, n, length, states)
    for start in range(0, length, T):
        u_TD, raw_TD, z_TD = next_u, next_delta + bias_D[None, :], next_z
        B_TKJ, C_TKJ = _spread(next_B, T, K, J), _spread(next_C, T, K, J)
        t = start + step
        next_u, next_delta = (
            load_tile(u, u_step, t + T, d, length, channels),
            load_tile(delta, delta_step, t + T, d, length, channels),
        )
        next_z = load_tile(z, z_step, t + T, d, length, channels)
        next_B, next_C = (
            load_tile(B, B_step, t + T, n, length, states),
            load_tile(C, C_step, t + T, n, length, states),
        )
        if KEEP:
            if (start % (S * T) == 0) & (start > 0):
                tl.store(kept + (start // (S * T) - 1) * channels * states + state_KDJ, h_KDJ, mask=real_KDJ)
        dl_TD = _softplus(raw_TD)
        e_TKDJ = tl.exp2(dl_TD[:, None, :, None] * a_KDJ[None, :, :, :])
        x_TKDJ = (dl_TD * u_TD)[:, None, :, None] * B_TKJ[:, :, None, :]
        h_TKDJ = x_TKDJ
        for k in tl.static_range(T):
            h_KDJ = _pick(e_TKDJ, step, k) * h_KDJ + _pick(x_TKDJ, step, k)
            h_TKDJ = _put(h_TKDJ, step, k, h_KDJ)
        y_TD = _sum_states(h_TKDJ * C_TKJ[:, :, None, :]) + skip_D[None, :] * u_TD
        store_tile(y, channels, t, d, length, channels, y_TD * z_TD * sigmoid(z_TD))


@triton.jit(do_not_specialize=["B_row", "C_row", "length"])
def _backward_kernel(
    u, delta, A, B, C, D, z, bias, dy, kept, du, ddelta, dz, dBC, sums,
    u_row, u_step, delta_row, delta_step, B_row, B_step, C_row, C_step, z_row, z_step, dy_row, dy_step,
    group_rows, length, channels, states,
    T: tl.constexpr, S: tl.constexpr, BLOCK: tl.constexpr, K: tl.constexpr, J: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(channels, BLOCK)
    block = tl.program_id(0) % blocks
    row = (tl.program_id(0) // blocks).to(tl.int64)
    d = block * BLOCK + tl.arange(0, BLOCK)
    step, tile = tl.arange(0, T), tl.arange(0, S)
    n_KJ = tl.arange(0, K)[:, None] + tl.arange(0, J)[None, :] * K
    n = tl.arange(0, K * J)
    u, delta, z, dy = u + row * u_row, delta + row * delta_row, z + row * z_row, dy + row * dy_row
    B, C = B + row * B_row, C + row * C_row
    du, ddelta, dz = du + row * length * channels, ddelta + row * length * channels, dz + row * length * channels
    dBC += (row + block * (tl.num_programs(0) // blocks)) * length * 2 * states
    group = row // group_rows
    state_KDJ = d[None, :, None] * states + n_KJ[:, None, :]
    real_KDJ = (d < channels)[None, :, None] & (n_KJ < states)[:, None, :]
    a_KDJ = 1.4426950408889634 * tl.load(A + group * channels * states + state_KDJ, mask=real_KDJ, other=0.0)
    skip_D = tl.load(D + group * channels + d, mask=d < channels, other=0.0)
    bias_D = tl.load(bias + group * channels + d, mask=d < channels, other=0.0)
    chunks = tl.cdiv(length, S * T)
    kept += row * (chunks - 1) * channels * states
    dA_KDJ, carry_KDJ = tl.zeros((K, BLOCK, J), dtype=tl.float32), tl.zeros((K, BLOCK, J), dtype=tl.float32)
    dD_D, dbias_D = tl.zeros((BLOCK,), dtype=tl.float32), tl.zeros((BLOCK,), dtype=tl.float32)
    for chunk_back in range(chunks):
        chunk = chunks - 1 - chunk_back
        at = kept + (chunk - 1) * channels * states + state_KDJ
        h_KDJ = tl.load(at, mask=real_KDJ & (d < chunk * channels)[None, :, None], other=0.0)  # chunk 0: zeros
        h_SKDJ = tl.zeros((S, K, BLOCK, J), dtype=tl.float32)  # the states before each tile
        for s in range(S - 1):
            h_SKDJ = _put(h_SKDJ, tile, s, h_KDJ)
            t = (chunk * S + s) * T + step
            dl_TD = _softplus(load_tile(delta, delta_step, t, d, length, channels) + bias_D[None, :])
            x_TD = dl_TD * load_tile(u, u_step, t, d, length, channels)
            B_TKJ = _spread(load_tile(B, B_step, t, n, length, states), T, K, J)
            e_TKDJ = tl.exp2(dl_TD[:, None, :, None] * a_KDJ[None, :, :, :])
            x_TKDJ = x_TD[:, None, :, None] * B_TKJ[:, :, None, :]
            for k in tl.static_range(T):
                h_KDJ = _pick(e_TKDJ, step, k) * h_KDJ + _pick(x_TKDJ, step, k)
        h_SKDJ = _put(h_SKDJ, tile, S - 1, h_KDJ)
        for s_back in range(S):
            s = S - 1 - s_back
            t = (chunk * S + s) * T + step
            u_TD = load_tile(u, u_step, t, d, length, channels)
            raw_TD = load_tile(delta, delta_step, t, d, length, channels) + bias_D[None, :]
            z_TD, dy_TD = load_tile(z, z_step, t, d, length, channels), load_tile(dy, dy_step, t, d, length, channels)
            B_TKJ = _spread(load_tile(B, B_step, t, n, length, states), T, K, J)
            C_TKJ = _spread(load_tile(C, C_step, t, n, length, states), T, K, J)
            dl_TD = tl.where((t < length)[:, None], _softplus(raw_TD), 0.0)
            gate_TD = sigmoid(z_TD)
            q_TD = dy_TD * z_TD * gate_TD
            e_TKDJ = tl.exp2(dl_TD[:, None, :, None] * a_KDJ[None, :, :, :])
            x_TKDJ = (dl_TD * u_TD)[:, None, :, None] * B_TKJ[:, :, None, :]
            r_TKDJ, h_KDJ = x_TKDJ, _pick(h_SKDJ, tile, s)
            for k in tl.static_range(T):
                r_KDJ = _pick(e_TKDJ, step, k) * h_KDJ
                h_KDJ = r_KDJ + _pick(x_TKDJ, step, k)
                r_TKDJ = _put(r_TKDJ, step, k, r_KDJ)
            h_TKDJ = r_TKDJ + x_TKDJ
            y_TD = _sum_states(h_TKDJ * C_TKJ[:, :, None, :]) + skip_D[None, :] * u_TD
            dC_TKJ = tl.sum(q_TD[:, None, :, None] * h_TKDJ, axis=2)
            v_TKDJ = q_TD[:, None, :, None] * C_TKJ[:, :, None, :]
            g_TKDJ = v_TKDJ
            for k in tl.static_range(T - 1, -1, -1):
                g_KDJ = _pick(v_TKDJ, step, k) + carry_KDJ
                carry_KDJ = _pick(e_TKDJ, step, k) * g_KDJ
                g_TKDJ = _put(g_TKDJ, step, k, g_KDJ)
            w_TKDJ = g_TKDJ * r_TKDJ
            dA_KDJ += tl.sum(w_TKDJ * dl_TD[:, None, :, None], axis=0)
            along_B_TD = _sum_states(g_TKDJ * B_TKJ[:, :, None, :])
            along_A_TD = _sum_states(w_TKDJ * a_KDJ[None, :, :, :]) * 0.6931471805599453
            dB_TKJ = tl.sum(g_TKDJ * (dl_TD * u_TD)[:, None, :, None], axis=2)
            draw_TD = (along_A_TD + along_B_TD * u_TD) * sigmoid(raw_TD)
            draw_TD = tl.where((t < length)[:, None], draw_TD, 0.0)
            dbias_D += tl.sum(draw_TD, axis=0)
            dD_D += tl.sum(q_TD * u_TD, axis=0)
            store_tile(du, channels, t, d, length, channels, along_B_TD * dl_TD + q_TD * skip_D[None, :])
            store_tile(ddelta, channels, t, d, length, channels, draw_TD)
            dz_TD = dy_TD * y_TD * gate_TD * (1.0 + z_TD * (1.0 - gate_TD))
            store_tile(dz, channels, t, d, length, channels, dz_TD)
            _store_states(dBC, 2 * states, t, n_KJ, length, states, dB_TKJ)
            _store_states(dBC + states, 2 * states, t, n_KJ, length, states, dC_TKJ)
    sums += row * channels * (states + 2)
    tl.store(sums + state_KDJ, dA_KDJ, mask=real_KDJ)
    tl.store(sums + channels * states + d, dD_D, mask=d < channels)
    tl.store(sums + channels * (states + 1) + d, dbias_D, mask=d < channels)


def selective_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, bias: Tensor
) -> Tensor:
    """selective_scan_reference for tensors on one CUDA device, none of them float64: (B, L, D), of u's type.

    Computes in float32, whatever mixture of types comes in; gradients have the types of their inputs. Sequences may lie
    anywhere in memory as long as channels (states) are neighbours; else they are copied. G streams with weights of
    their own can share a call: u, delta, z (G, B, L, D), B, C (G, B, L, N), A (G, D, N), D and bias (G, D).
    """
    return _Scan.apply(u, delta, A, B, C, D, z, bias)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *tensors):
        call = _Call(*tensors)
        y = torch.empty(tensors[0].shape, dtype=tensors[0].dtype, device=tensors[0].device)
        keep = any(ctx.needs_input_grad)
        between = (call.length - 1) // KEPT
        kept = call.A.new_empty((call.rows, between, call.channels, call.states) if keep else 0)
        programs, options = call.launch(FORWARD)
        with torch.cuda.device_of(y):
            _forward_kernel[(programs,)](*call.tensors, y, kept, *call.strides, *call.sizes, **options, KEEP=keep)
        ctx.save_for_backward(*tensors, kept)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        *tensors, kept = ctx.saved_tensors
        call, dy_rows = _Call(*tensors), rows_of(dy)
        du, ddelta, dz = (torch.empty(dy.shape, dtype=tensors[i].dtype, device=dy.device) for i in (0, 1, 6))
        programs, options = call.launch(BACKWARD)
        rows, channels, states = call.rows, call.channels, call.states
        dBC = call.A.new_empty(programs // rows, rows, call.length, 2 * states)
        sums = call.A.new_empty(rows, channels * (states + 2))
        with torch.cuda.device_of(dy):
            _backward_kernel[(programs,)](
                *call.tensors, dy_rows, kept, du, ddelta, dz, dBC, sums,
                *call.strides, *dy_rows.stride()[:2], *call.sizes, **options,
            )  # fmt: skip
        sizes = [channels * states, channels, channels]
        dA, dD, dbias = sums.view(-1, call.rows_of_group, sum(sizes)).sum(1).split(sizes, dim=1)
        dB, dC = (dBC[0] if len(dBC) == 1 else dBC.sum(0)).chunk(2, dim=-1)
        return tuple(
            gradient.reshape(tensor.shape).to(tensor.dtype)
            for gradient, tensor in zip((du, ddelta, dA, dB, dC, dD, dz, dbias), tensors, strict=True)
        )


class _Call:
    """What both kernels need to know of a call."""

    def __init__(self, u, delta, A, B, C, D, z, bias):
        moving = [rows_of(tensor) for tensor in (u, delta, B, C, z)]
        fixed = [tensor.float().contiguous() for tensor in (A, D, bias)]
        (u_rows, delta_rows, B_rows, C_rows, z_rows), (self.A, D, bias) = moving, fixed
        self.tensors = (u_rows, delta_rows, self.A, B_rows, C_rows, D, z_rows, bias)
        self.strides = [stride for tensor in moving for stride in tensor.stride()[:2]]
        (self.rows, self.length, self.channels), self.states = u_rows.shape, A.shape[-1]
        self.rows_of_group = u.shape[-3]
        self.sizes = (self.rows_of_group, self.length, self.channels, self.states)

    def launch(self, tiling: Tiling) -> tuple[int, dict[str, int]]:
        """The number of programs, and the sizes that are compiled in."""
        N = triton.next_power_of_2(self.states)
        most = 16 * 32 * tiling.pairs // N  # channels that 16 warps can hold
        channels = max(1, min(tiling.channels, triton.next_power_of_2(self.channels), most))
        warps = min(16, max(1, channels * N // (32 * tiling.pairs)))
        J = min(tiling.lanes, N)
        sizes = {"T": tiling.steps, "S": KEPT // tiling.steps, "BLOCK": channels, "K": N // J, "J": J}
        return self.rows * triton.cdiv(self.channels, channels), sizes | {"num_warps": warps} | FUSED
