"""The layers of the sequence encoder (SEAR's method: Sequence encoder): StreamFusion, MambaLayer and their FeedForward.

B batch, L history length, M hidden size, S streams, T = B·L tokens. Module names are those of the published weights.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sear.model.mamba import Mamba
from sear.ops.mamba_kernel import require_kernel
from sear.ops.sublayers import dropout_add_layer_norm, feed_forward, stream_attention


def residual_norm(
    norm: nn.LayerNorm, dropout: float, residual: Tensor | None, output: Tensor, output_bias: Tensor | None = None
) -> Tensor:
    """norm(residual + dropout(output + output_bias)), the end of a sublayer and, residual None, of the embedding."""
    return dropout_add_layer_norm(residual, output, output_bias, norm, dropout, norm.training)


class FeedForward(nn.Module):
    """Linear(M, 4M), GELU, dropout, Linear(4M, M)."""

    def __init__(self, hidden_size: int, dropout: float):
        super().__init__()
        self.w_1 = nn.Linear(hidden_size, 4 * hidden_size)
        self.w_2 = nn.Linear(4 * hidden_size, hidden_size)
        self.dropout = dropout

    def without_bias(self, hidden: Tensor) -> Tensor:
        """forward less w_2's bias, for those who add it in the same pass as something else."""
        return feed_forward(hidden, self.w_1, self.w_2, self.dropout, self.training)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.without_bias(hidden) + self.w_2.bias


class StreamQuery(nn.Module):
    """One stream's weights of the attention over streams."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.w_q = nn.Linear(hidden_size, hidden_size)
        self.w_k = nn.Linear(hidden_size, hidden_size)
        self.w_v = nn.Linear(hidden_size, hidden_size)
        self.w_concat = nn.Linear(hidden_size, hidden_size)


def attention_weights(queries: Sequence[StreamQuery]) -> tuple[Tensor, Tensor]:
    """weight_SPM and bias_3SM of sear.ops.sublayers.stream_attention."""
    q, k, v = ([getattr(query, name) for query in queries] for name in ("w_q", "w_k", "w_v"))
    weight_SPM = torch.stack([torch.cat([own.weight, *(linear.weight for linear in k + v)]) for own in q])
    bias_3SM = torch.stack([linear.bias for linear in q + k + v]).view(3, len(queries), -1)
    return weight_SPM, bias_3SM


def attend_over_streams(queries: Sequence[StreamQuery], streams: Sequence[Tensor], heads: int) -> Sequence[Tensor]:
    """Multi-head attention of every stream over all streams of its token, less w_concat's bias: S times (T, M).

    One matrix product per source stream makes its query and what every stream makes of it as key and value.
    """
    weight_SPM, bias_3SM = attention_weights(queries)
    token_TM = [stream.reshape(-1, stream.shape[-1]) for stream in streams]
    return stream_attention(token_TM, weight_SPM, bias_3SM, [query.w_concat.weight for query in queries], heads)


class StreamFusion(nn.Module):
    """One stream's weights of one layer's aggregation; fuse_streams runs those of all streams together."""

    def __init__(self, hidden_size: int, heads: int, dropout: float):
        super().__init__()
        self.agg_attn = StreamQuery(hidden_size)
        self.ffn = FeedForward(hidden_size, dropout)
        self.norm1 = nn.LayerNorm(hidden_size, eps=1e-5)
        self.norm2 = nn.LayerNorm(hidden_size, eps=1e-5)
        self.heads = heads
        self.dropout = dropout

    def forward(self, stream: Tensor, attended: Tensor) -> Tensor:
        """The stream's new value from its old one and its attention (less w_concat's bias)."""
        stream = residual_norm(self.norm1, self.dropout, stream, attended, self.agg_attn.w_concat.bias)
        output = self.ffn.without_bias(stream)
        return residual_norm(self.norm2, self.dropout, stream, output, self.ffn.w_2.bias)


def fuse_streams(fusions: Sequence[StreamFusion], streams: Sequence[Tensor]) -> list[Tensor]:
    """One layer's aggregation: each stream (B, L, M) after attending over all of them, as they were before.

    fusions: the streams' modules of this layer, in the order of streams.
    """
    attended = attend_over_streams([fusion.agg_attn for fusion in fusions], streams, fusions[0].heads)
    return [
        fusion(stream, output.view(stream.shape))
        for fusion, stream, output in zip(fusions, streams, attended, strict=True)
    ]


def mamba_options(config) -> dict[str, Any]:
    """Sizes and kernel of MambaLayer from a model's config. Raises InputError where mamba_kernel cannot run."""
    kernel = config["mamba_kernel"] or "auto"
    require_kernel(kernel, config["device"], config["d_conv"])
    return {key: config[key] for key in ("d_state", "d_conv", "expand")} | {"kernel": kernel}


class MambaLayer(nn.Module):
    """Mamba along time and a feed-forward, each with its residual, dropout and LayerNorm: (B, L, M) -> (B, L, M)."""

    residual = True  # False leaves out that around Mamba

    def __init__(self, hidden_size: int, d_state: int, d_conv: int, expand: int, dropout: float, kernel: str = "auto"):
        super().__init__()
        self.mamba = Mamba(hidden_size, d_state, d_conv, expand, kernel)
        self.LayerNorm1 = nn.LayerNorm(hidden_size, eps=1e-12)
        self.ffn = FeedForward(hidden_size, dropout)
        self.LayerNorm2 = nn.LayerNorm(hidden_size, eps=1e-12)
        self.dropout = dropout

    def forward(self, hidden_BLM: Tensor, wanted_P: Tensor | None = None) -> Tensor:
        """wanted_P: numbers of the tokens that somebody reads, counted over B·L; only they are worked out after the
        scan, as (P, M)."""
        output = self.mamba(hidden_BLM, wanted_P)
        before = None
        if self.residual:
            before = hidden_BLM if wanted_P is None else hidden_BLM.flatten(0, 1).index_select(0, wanted_P)
        hidden = residual_norm(self.LayerNorm1, self.dropout, before, output)
        output = self.ffn.without_bias(hidden)
        return residual_norm(self.LayerNorm2, self.dropout, hidden, output, self.ffn.w_2.bias)
