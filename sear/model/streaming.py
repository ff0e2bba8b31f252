"""SEAR event by event: the network carries its memory of a history on, so an event costs the same whatever came before.

It equals `SEARNetwork.forward` over all the events since the memory began, up to rounding: no position is numbered, and
nothing looks ahead. One event is little work in many operations, so the streams, which have layers of one shape, go
through each operation together. S streams, B rows, L length, M hidden size, K taps, D channels and N states of Mamba.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sear.model.layers import FeedForward, MambaLayer, StreamFusion, attention_weights
from sear.model.mamba import Mamba, MambaState
from sear.model.network import SEARNetwork
from sear.ops.convolution import conv_step
from sear.ops.selective_scan import scan_step
from sear.ops.sublayers import mixed_streams


@dataclass
class Memory:
    """What the network keeps of B histories.

    Attributes:
        inputs: (layers, S, B, D, K - 1), the last inputs of every convolution.
        states: (layers, S, B, D, N).
        rated: (2, B), the sum and the number of the ratings so far.
    """

    inputs: Tensor
    states: Tensor
    rated: Tensor


def start(network: SEARNetwork, rows: int = 1) -> Memory:
    """The memory of histories without events."""
    layers = cast("Sequence[Sequence[MambaLayer]]", network.mamba_layers)
    mamba = layers[0][0].mamba
    (channels, states), taps = mamba.A_log.shape, mamba.conv1d.kernel_size[0]
    sizes = len(layers[0]), len(layers), rows, channels
    new = mamba.D.new_zeros
    return Memory(new(*sizes, taps - 1), new(*sizes, states), new(2, rows))


@torch.no_grad()
def read(network: SEARNetwork, item_BL: Tensor, rating_BL: Tensor) -> tuple[Tensor, Memory]:
    """User vectors (B, width) after these whole histories, none of them padded, and the memory of them."""
    rows, length = item_BL.shape
    last_B = torch.arange(1, rows + 1, device=item_BL.device) * length - 1
    found: list[MambaState] = []

    def mamba(layer: MambaLayer, x_BLM: Tensor, is_last: bool) -> Tensor:
        output, state = layer.forward_to_state(x_BLM, last_B if is_last else None)
        found.append(state)
        return output

    users = network.scored_users(network.users_of(network.through_layers(network.streams(item_BL, rating_BL), mamba)))
    streams = len(network.stream_names)
    inputs, states = (torch.stack(parts).unflatten(0, (-1, streams)) for parts in zip(*found, strict=True))
    known_BL = ~torch.isnan(rating_BL)
    rated = torch.stack([torch.nan_to_num(rating_BL).sum(1), known_BL.sum(1).to(rating_BL.dtype)])
    return users, Memory(inputs, states, rated)


class Stepper:
    """Takes histories on by one event at a time, with a copy of a trained network's weights."""

    @torch.no_grad()
    def __init__(self, network: SEARNetwork):
        self._network = network
        self._norm = _Norm(cast("Iterable[nn.LayerNorm]", network.item_emb_LayerNorms))
        mamba = cast("Iterable[Iterable[MambaLayer]]", network.mamba_layers)
        fusion = cast("Iterable[Iterable[StreamFusion]]", network.agg_layers)
        self._mamba = [_MambaStep(streams) for streams in zip(*mamba, strict=True)]
        fusions: list[_FusionStep | None] = [_FusionStep(streams) for streams in zip(*fusion, strict=True)]
        self._fusion = fusions or [None] * len(self._mamba)

    @torch.no_grad()
    def add(self, memory: Memory, item_B: Tensor, rating_B: Tensor) -> tuple[Tensor, Memory]:
        """User vectors (B, width) after one more event of each history, and the memory after it."""
        network = self._network
        embedded = network.embedded(item_B[:, None], rating_B[:, None], (memory.rated[0], memory.rated[1]))
        x_SBM = self._norm(torch.stack(embedded)[:, :, 0])
        inputs, states = [], []
        for layer, (fusion, mamba) in enumerate(zip(self._fusion, self._mamba, strict=True)):
            if fusion is not None:
                x_SBM = fusion(x_SBM)
            x_SBM, one_input, one_state = mamba(x_SBM, memory.inputs[layer], memory.states[layer])
            inputs.append(one_input)
            states.append(one_state)
        known_B = ~torch.isnan(rating_B)
        rated = memory.rated + torch.stack([torch.nan_to_num(rating_B), known_B.to(rating_B.dtype)])
        users = network.scored_users(network.users_of(list(x_SBM)))
        return users, Memory(torch.stack(inputs), torch.stack(states), rated)


class _Norm:
    """LayerNorms of all streams: (S, B, M)."""

    def __init__(self, norms: Iterable[nn.LayerNorm]):
        norms = list(norms)
        self.eps = norms[0].eps
        self.weight_S1M, self.bias_S1M = (_stacked(norms, name)[:, None] for name in ("weight", "bias"))

    def __call__(self, x_SBM: Tensor) -> Tensor:
        normed = F.layer_norm(x_SBM, x_SBM.shape[-1:], eps=self.eps)
        return torch.addcmul(self.bias_S1M, normed, self.weight_S1M)


class _FeedForward:
    """FeedForwards of all streams, with residual and LayerNorm."""

    def __init__(self, layers: Sequence[FeedForward], norms: Iterable[nn.LayerNorm]):
        self.in_SMF, self.in_bias_S1F = _linears(layer.w_1 for layer in layers)
        self.out_SFM, self.out_bias_S1M = _linears(layer.w_2 for layer in layers)
        self.norm = _Norm(norms)

    def __call__(self, x_SBM: Tensor) -> Tensor:
        inner_SBF = F.gelu(torch.baddbmm(self.in_bias_S1F, x_SBM, self.in_SMF))
        return self.norm(torch.baddbmm(self.out_bias_S1M, inner_SBF, self.out_SFM).add_(x_SBM))


class _FusionStep:
    """StreamFusions of one layer."""

    def __init__(self, fusions: Sequence[StreamFusion]):
        self.heads = fusions[0].heads
        self.weight_SPM, self.bias_3SM = attention_weights([fusion.agg_attn for fusion in fusions])
        self.concat_SMM, self.concat_bias_S1M = _linears(fusion.agg_attn.w_concat for fusion in fusions)
        self.norm = _Norm(fusion.norm1 for fusion in fusions)
        self.feed_forward = _FeedForward([fusion.ffn for fusion in fusions], (fusion.norm2 for fusion in fusions))

    def __call__(self, x_SBM: Tensor) -> Tensor:
        mixed_SBM = mixed_streams(x_SBM, self.weight_SPM, self.bias_3SM, self.heads)
        attended_SBM = torch.baddbmm(self.concat_bias_S1M, mixed_SBM, self.concat_SMM)
        return self.feed_forward(self.norm(attended_SBM.add_(x_SBM)))


class _MambaStep:
    """MambaLayers of one layer at one event."""

    def __init__(self, layers: Sequence[MambaLayer]):
        blocks = [layer.mamba for layer in layers]

        def stacked(get: Callable[[Mamba], Tensor]) -> Tensor:
            return torch.stack([get(block) for block in blocks]).unsqueeze(1)  # for all rows

        self.split_sizes = blocks[0].split_sizes
        self.in_SMD, self.x_SDP, self.out_SDM, self.delta_SRD = (
            _stacked([getattr(block, name) for block in blocks], "weight").mT.contiguous()
            for name in ("in_proj", "x_proj", "out_proj", "dt_proj")
        )
        self.conv_S1DK = stacked(lambda block: block.conv1d.weight.squeeze(1))
        self.conv_bias_S1D = stacked(lambda block: cast(Tensor, block.conv1d.bias))
        self.A_S1DN = stacked(lambda block: -torch.exp(block.A_log.float()))
        self.D_S1D, self.delta_bias_S1D = stacked(lambda block: block.D), stacked(lambda block: block.dt_proj.bias)
        self.norm = _Norm(layer.LayerNorm1 for layer in layers)
        self.feed_forward = _FeedForward([layer.ffn for layer in layers], (layer.LayerNorm2 for layer in layers))

    def __call__(self, x_SBM: Tensor, input_SBDK: Tensor, state_SBDN: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The streams, the convolution's last inputs and the states after the event."""
        in_SBD, gate_SBD = torch.bmm(x_SBM, self.in_SMD).chunk(2, dim=-1)
        window_SBDK = torch.cat([input_SBDK, in_SBD[..., None]], dim=-1)
        u_SBD = conv_step(window_SBDK, self.conv_S1DK, self.conv_bias_S1D)
        delta_SBR, B_SBN, C_SBN = torch.bmm(u_SBD, self.x_SDP).split(self.split_sizes, dim=-1)
        delta_SBD, bias_S1D = torch.bmm(delta_SBR, self.delta_SRD), self.delta_bias_S1D
        y_SBD, state_SBDN = scan_step(
            state_SBDN, u_SBD, delta_SBD, self.A_S1DN, B_SBN, C_SBN, self.D_S1D, gate_SBD, bias_S1D
        )
        x_SBM = self.feed_forward(self.norm(torch.bmm(y_SBD, self.out_SDM).add_(x_SBM)))
        return x_SBM, window_SBDK[..., 1:], state_SBDN


def _stacked(modules: Iterable[nn.Module], name: str) -> Tensor:
    return torch.stack([getattr(module, name) for module in modules])


def _linears(layers: Iterable[nn.Linear]) -> tuple[Tensor, Tensor]:
    """Weights (S, in, out) and biases (S, 1, out) of layers with a bias."""
    layers = list(layers)
    return _stacked(layers, "weight").mT.contiguous(), _stacked(layers, "bias")[:, None]
