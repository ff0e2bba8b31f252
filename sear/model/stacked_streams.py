"""A trained SEARNetwork for few events at a time: a short batch at once, or one event after another.

Little work in many operations is mostly waiting, so the streams, whose layers have one shape, go through each operation
together. A history's memory can be carried on, so that an event costs the same whatever came before: no position is
numbered, and nothing looks ahead. All equals `SEARNetwork.forward` up to rounding. S streams, B rows, L length,
T = B·L tokens, P positions that are read, M hidden size, K taps, D channels and N states of Mamba.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sear.model.layers import FeedForward, MambaLayer, StreamFusion, attention_weights
from sear.model.mamba import Mamba
from sear.model.network import SEARNetwork
from sear.ops.convolution import conv_step
from sear.ops.selective_scan import scan_step, selective_scan, state_after
from sear.ops.sublayers import mixed_streams


@dataclass
class Memory:
    """What the network keeps of B histories.

    Attributes:
        inputs: (layers, S, B, K - 1, D), the last inputs of every convolution.
        states: (layers, S, B, D, N).
        rated: (2, B), the sum and the number of the ratings so far.
        texts: (B, R + 1), the sums of TextMatch; (B, 0) where texts are not matched.
    """

    inputs: Tensor
    states: Tensor
    rated: Tensor
    texts: Tensor


class StackedStreams:
    """Holds a copy of the network's layers; items and ratings are embedded by the network itself."""

    @torch.no_grad()
    def __init__(self, network: SEARNetwork):
        self._network = network
        self._norm = _Norm(cast("Iterable[nn.LayerNorm]", network.item_emb_LayerNorms))
        mamba = cast("Iterable[Iterable[MambaLayer]]", network.mamba_layers)
        fusion = cast("Iterable[Iterable[StreamFusion]]", network.agg_layers)
        self._mamba = [_Mamba(list(streams)) for streams in zip(*mamba, strict=True)]
        fusions: list[_Fusion | None] = [_Fusion(list(streams)) for streams in zip(*fusion, strict=True)]
        self._fusion = fusions or [None] * len(self._mamba)

    @torch.no_grad()
    def users(self, item_BL: Tensor, rating_BL: Tensor, wanted_P: Tensor) -> Tensor:
        """User vectors (P, width), as they are scored, at the positions with the numbers wanted_P, counted over B·L."""
        return self._encode(item_BL, rating_BL, wanted_P)[0]

    @torch.no_grad()
    def read(self, item_BL: Tensor, rating_BL: Tensor) -> tuple[Tensor, Memory]:
        """User vectors (B, width) after these whole histories, none of them padded, and the memory of them."""
        rows, length = item_BL.shape
        last_B = torch.arange(1, rows + 1, device=item_BL.device) * length - 1
        users, read = self._encode(item_BL, rating_BL, last_B)
        known_BL = ~torch.isnan(rating_BL)
        rated = torch.stack([torch.nan_to_num(rating_BL).sum(1), known_BL.sum(1).to(rating_BL.dtype)])
        memories = [mamba.memory(scan) for mamba, scan in zip(self._mamba, read, strict=True)]
        inputs, states = (torch.stack(parts) for parts in zip(*memories, strict=True))
        match = self._network.text_match
        return users, Memory(inputs, states, rated, rated.new_empty(rows, 0) if match is None else match.sums(item_BL))

    def start(self, rows: int = 1) -> Memory:
        """The memory of histories without events."""
        first = self._mamba[0]
        streams, _, channels, states = first.A_S1DN.shape
        new = first.A_S1DN.new_zeros
        sizes = len(self._mamba), streams, rows
        match = self._network.text_match
        return Memory(
            inputs=new(*sizes, first.conv_KS1D.shape[0] - 1, channels),
            states=new(*sizes, channels, states),
            rated=new(2, rows),
            texts=new(rows, 0) if match is None else match.no_sums(rows),
        )

    @torch.no_grad()
    def add(self, memory: Memory, item_B: Tensor, rating_B: Tensor) -> tuple[Tensor, Memory]:
        """User vectors (B, width) after one more event of each history, and the memory after it."""
        embedded = self._network.embedded(item_B[:, None], rating_B[:, None], (memory.rated[0], memory.rated[1]))
        x_SBM = self._norm(torch.stack(embedded)[:, :, 0])
        inputs, states = [], []
        for layer, (fusion, mamba) in enumerate(zip(self._fusion, self._mamba, strict=True)):
            if fusion is not None:
                x_SBM = fusion(x_SBM)
            x_SBM, one_input, one_state = mamba.step(x_SBM, memory.inputs[layer], memory.states[layer])
            inputs.append(one_input)
            states.append(one_state)
        known_B = ~torch.isnan(rating_B)
        rated = memory.rated + torch.stack([torch.nan_to_num(rating_B), known_B.to(rating_B.dtype)])
        match, texts, match_BR = self._network.text_match, memory.texts, None
        if match is not None:
            texts = match.after(texts, item_B)
            match_BR = match.users_of_sums(texts)
        users = self._network.scored_users(self._network.users_of(list(x_SBM), match_BR))
        return users, Memory(torch.stack(inputs), torch.stack(states), rated, texts)

    def _encode(self, item_BL: Tensor, rating_BL: Tensor, wanted_P: Tensor) -> tuple[Tensor, list["_Scanned"]]:
        rows = len(item_BL)
        x_STM = self._norm(torch.stack(self._network.embedded(item_BL, rating_BL)).flatten(1, 2))
        read = []
        for fusion, mamba in zip(self._fusion, self._mamba, strict=True):
            if fusion is not None:
                x_STM = fusion(x_STM)
            scanned = mamba.scan(x_STM.unflatten(1, (rows, -1)))
            y_STD = scanned.y_SBLD.flatten(1, 2)
            if mamba is self._mamba[-1]:
                x_STM, y_STD = x_STM[:, wanted_P], y_STD[:, wanted_P]
            x_STM = mamba.after_scan(x_STM, y_STD)
            read.append(scanned)
        match = self._network.text_match
        match_PR = None if match is None else match.users(item_BL, wanted_P)
        return self._network.scored_users(self._network.users_of(list(x_STM), match_PR)), read


class _Norm:
    """LayerNorms of all streams: (S, T, M)."""

    def __init__(self, norms: Iterable[nn.LayerNorm]):
        norms = list(norms)
        self.eps = norms[0].eps
        self.weight_S1M, self.bias_S1M = (_stacked(norms, name)[:, None] for name in ("weight", "bias"))

    def __call__(self, x_STM: Tensor) -> Tensor:
        normed = F.layer_norm(x_STM, x_STM.shape[-1:], eps=self.eps)
        return torch.addcmul(self.bias_S1M, normed, self.weight_S1M)


class _FeedForward:
    """FeedForwards of all streams, with residual and LayerNorm."""

    def __init__(self, layers: Sequence[FeedForward], norms: Iterable[nn.LayerNorm]):
        self.in_SMF, self.in_bias_S1F = _linears(layer.w_1 for layer in layers)
        self.out_SFM, self.out_bias_S1M = _linears(layer.w_2 for layer in layers)
        self.norm = _Norm(norms)

    def __call__(self, x_STM: Tensor) -> Tensor:
        inner_STF = F.gelu(torch.baddbmm(self.in_bias_S1F, x_STM, self.in_SMF))
        return self.norm(torch.baddbmm(self.out_bias_S1M, inner_STF, self.out_SFM).add_(x_STM))


class _Fusion:
    """StreamFusions of one layer."""

    def __init__(self, fusions: Sequence[StreamFusion]):
        self.heads = fusions[0].heads
        self.weight_SPM, self.bias_3SM = attention_weights([fusion.agg_attn for fusion in fusions])
        self.concat_SMM, self.concat_bias_S1M = _linears(fusion.agg_attn.w_concat for fusion in fusions)
        self.norm = _Norm(fusion.norm1 for fusion in fusions)
        self.feed_forward = _FeedForward([fusion.ffn for fusion in fusions], (fusion.norm2 for fusion in fusions))

    def __call__(self, x_STM: Tensor) -> Tensor:
        mixed_STM = mixed_streams(x_STM, self.weight_SPM, self.bias_3SM, self.heads)
        attended_STM = torch.baddbmm(self.concat_bias_S1M, mixed_STM, self.concat_SMM)
        return self.feed_forward(self.norm(attended_STM.add_(x_STM)))


class _Scanned(NamedTuple):
    """A scan's result, and what its last state follows from."""

    y_SBLD: Tensor
    in_SBLD: Tensor
    u_SBLD: Tensor
    delta_SBLD: Tensor
    B_SBLN: Tensor


class _Mamba:
    """MambaLayers of one layer."""

    def __init__(self, layers: Sequence[MambaLayer]):
        blocks = [layer.mamba for layer in layers]

        def stacked(get: Callable[[Mamba], Tensor]) -> Tensor:
            return torch.stack([get(block) for block in blocks]).unsqueeze(1)  # for all rows

        self.split_sizes, self.kernel = blocks[0].split_sizes, blocks[0].kernel
        self.in_SMD, self.x_SDP, self.out_SDM, self.delta_SRD = (
            _stacked([getattr(block, name) for block in blocks], "weight").mT.contiguous()
            for name in ("in_proj", "x_proj", "out_proj", "dt_proj")
        )
        self.conv_KS1D = stacked(lambda block: block.conv1d.weight.squeeze(1)).movedim(-1, 0).contiguous()
        self.conv_bias_S1D = stacked(lambda block: cast(Tensor, block.conv1d.bias))
        self.A_S1DN = stacked(lambda block: -torch.exp(block.A_log.float()))
        self.D_S1D, self.delta_bias_S1D = stacked(lambda block: block.D), stacked(lambda block: block.dt_proj.bias)
        self.norm = _Norm(layer.LayerNorm1 for layer in layers)
        self.feed_forward = _FeedForward([layer.ffn for layer in layers], (layer.LayerNorm2 for layer in layers))

    def _deltas_and_BC(self, u_STD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        delta_STR, B_STN, C_STN = torch.bmm(u_STD, self.x_SDP).split(self.split_sizes, dim=-1)
        return torch.bmm(delta_STR, self.delta_SRD), B_STN, C_STN

    def scan(self, x_SBLM: Tensor) -> _Scanned:
        """Whole rows through in_proj, convolution and scan."""
        size = x_SBLM.shape[1:3]
        in_SBLD, gate_SBLD = torch.bmm(x_SBLM.flatten(1, 2), self.in_SMD).unflatten(1, size).chunk(2, dim=-1)
        before = len(self.conv_KS1D) - 1
        padded_SBTD = F.pad(in_SBLD, (0, 0, before, 0))
        window_KSBLD = [padded_SBTD[:, :, first : first + size[1]] for first in range(before + 1)]
        u_SBLD = conv_step(window_KSBLD, self.conv_KS1D[:, :, :, None], self.conv_bias_S1D[:, :, None])
        delta_SBLD, B_SBLN, C_SBLN = (part.unflatten(1, size) for part in self._deltas_and_BC(u_SBLD.flatten(1, 2)))
        y_SBLD = torch.stack([
            selective_scan(
                u_SBLD[s], delta_SBLD[s], self.A_S1DN[s, 0], B_SBLN[s], C_SBLN[s], self.D_S1D[s, 0], gate_SBLD[s],
                self.delta_bias_S1D[s, 0], self.kernel,
            )
            for s in range(len(x_SBLM))
        ])  # fmt: skip
        return _Scanned(y_SBLD, in_SBLD, u_SBLD, delta_SBLD, B_SBLN)

    def memory(self, scanned: _Scanned) -> tuple[Tensor, Tensor]:
        """The convolution's last inputs (S, B, K - 1, D) and the states (S, B, D, N) after whole rows."""
        before, length = len(self.conv_KS1D) - 1, scanned.in_SBLD.shape[2]
        inputs = F.pad(scanned.in_SBLD, (0, 0, before, 0))[:, :, length:]
        _, _, u_SBLD, delta_SBLD, B_SBLN = scanned
        return inputs, state_after(u_SBLD, delta_SBLD, self.A_S1DN, B_SBLN, self.delta_bias_S1D)

    def after_scan(self, x_STM: Tensor, y_STD: Tensor) -> Tensor:
        """out_proj with residual and LayerNorm, then the feed-forward."""
        return self.feed_forward(self.norm(torch.bmm(y_STD, self.out_SDM).add_(x_STM)))

    def step(self, x_SBM: Tensor, input_SBKD: Tensor, state_SBDN: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The streams, the convolution's last inputs and the states after one more event."""
        in_SBD, gate_SBD = torch.bmm(x_SBM, self.in_SMD).chunk(2, dim=-1)
        window_SBKD = torch.cat([input_SBKD, in_SBD[:, :, None]], dim=2)
        u_SBD = conv_step(window_SBKD.unbind(2), self.conv_KS1D, self.conv_bias_S1D)
        delta_SBD, B_SBN, C_SBN = self._deltas_and_BC(u_SBD)
        y_SBD, state_SBDN = scan_step(
            state_SBDN, u_SBD, delta_SBD, self.A_S1DN, B_SBN, C_SBN, self.D_S1D, gate_SBD, self.delta_bias_S1D
        )
        return self.after_scan(x_SBM, y_SBD), window_SBKD[:, :, 1:], state_SBDN


def _stacked(modules: Iterable[nn.Module], name: str) -> Tensor:
    return torch.stack([getattr(module, name) for module in modules])


def _linears(layers: Iterable[nn.Linear]) -> tuple[Tensor, Tensor]:
    """Weights (S, in, out) and biases (S, 1, out) of layers with a bias."""
    layers = list(layers)
    return _stacked(layers, "weight").mT.contiguous(), _stacked(layers, "bias")[:, None]
