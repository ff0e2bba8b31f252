"""eSASRec (Tikhonovich et al. 2025, arXiv 2508.06450): SASRec's task with LiGR layers, trained at every position.

Its authors' sampled softmax approximates the full one, which is used here as for every model. Positions count from the
start of a row, as those of SASRec here do. B batch, L history length, M hidden size, H heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sear.model.causal import CausalModel


class LiGRLayer(nn.Module):
    """Attention to earlier events and a SwiGLU feed-forward, both normed before and gated after (arXiv 2502.03417).

    The gate of a sublayer is a sigmoid of the layer's own input, so that a layer may pass it on unchanged.
    """

    def __init__(self, hidden_size: int, heads: int, inner_size: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.attention_norm, self.inner_norm = nn.LayerNorm(hidden_size), nn.LayerNorm(hidden_size)
        self.query_key_value = nn.Linear(hidden_size, 3 * hidden_size)
        self.attention_output = nn.Linear(hidden_size, hidden_size)
        self.attention_gate, self.inner_gate = (nn.Linear(hidden_size, hidden_size) for _ in range(2))
        self.swish_and_factor = nn.Linear(hidden_size, 2 * inner_size, bias=False)
        self.inner_output = nn.Linear(inner_size, hidden_size, bias=False)

    def start_as_separate_parts(self) -> None:
        """RecTools' start: the feed-forward's two factors are maps of their own, and the attention's biases are 0."""
        for factor in self.swish_and_factor.weight.data.chunk(2):
            nn.init.xavier_normal_(factor)
        for linear in (self.query_key_value, self.attention_output):
            nn.init.zeros_(linear.bias)

    def forward(self, hidden_BLM: Tensor) -> Tensor:
        attended_BLM = self._dropped(self.attend(self.attention_norm(hidden_BLM)))
        hidden_BLM = hidden_BLM + torch.sigmoid(self.attention_gate(hidden_BLM)) * attended_BLM
        inner_BLM = self._dropped(self.feed_forward(self.inner_norm(hidden_BLM)))
        return hidden_BLM + torch.sigmoid(self.inner_gate(hidden_BLM)) * inner_BLM

    def attend(self, hidden_BLM: Tensor) -> Tensor:
        """Multi-head attention; a row's padding stands at its end, where no event looks."""
        heads_BLHm = self.query_key_value(hidden_BLM).unflatten(-1, (3 * self.heads, -1))
        query, key, value = heads_BLHm.transpose(1, 2).chunk(3, dim=1)
        p = self.dropout if self.training else 0.0
        mixed_BHLm = F.scaled_dot_product_attention(query, key, value, dropout_p=p, is_causal=True)
        return self.attention_output(mixed_BHLm.transpose(1, 2).flatten(2))

    def feed_forward(self, hidden_BLM: Tensor) -> Tensor:
        swish, factor = self.swish_and_factor(hidden_BLM).chunk(2, dim=-1)
        return self.inner_output(self._dropped(F.silu(swish) * factor))

    def _dropped(self, output: Tensor) -> Tensor:
        return F.dropout(output, self.dropout, self.training)


class eSASRec(CausalModel):  # noqa: N801 (its authors' own spelling)
    """Item and position embeddings, LiGR layers, and the item embedding again as item table."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        hidden, self.dropout_prob = config["hidden_size"], config["dropout_prob"]
        inner = config["inner_factor"] * hidden
        self.item_embedding = nn.Embedding(self.n_items, hidden, padding_idx=0)
        self.position_embedding = nn.Embedding(self.max_seq_length, hidden)
        self.layers = nn.ModuleList(
            LiGRLayer(hidden, config["n_heads"], inner, self.dropout_prob) for _ in range(config["n_layers"])
        )
        for weight in (parameter for parameter in self.parameters() if parameter.dim() > 1):
            nn.init.xavier_normal_(weight)  # as RecTools starts it
        for layer in self.layers:
            layer.start_as_separate_parts()

    def forward(self, item_BL: Tensor, _) -> Tensor:
        """(B, L, M): the user after each event."""
        hidden_BLM = self.item_embedding(item_BL) + self.position_embedding.weight[: item_BL.shape[1]]
        hidden_BLM = F.dropout(hidden_BLM, self.dropout_prob, self.training)
        for layer in self.layers:
            hidden_BLM = layer(hidden_BLM)
        return hidden_BLM
