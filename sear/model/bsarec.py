"""BSARec (Shin et al. 2024, arXiv 2312.10325): self-attention mixed with a filter of low and high frequencies.

The filter is a Fourier transform over the whole row, so an event sees those after it. As its authors do, the model
therefore learns from rows of one prefix each, and reads them with the padding in front, always MAX_ITEM_LIST_LENGTH
long: the frequencies mean the same in every row. B batch, L history length, W = MAX_ITEM_LIST_LENGTH, M hidden size.
"""

import torch
import torch.nn.functional as F
from recbole.model.layers import FeedForward, MultiHeadAttention
from torch import Tensor, nn

from sear.model.causal import CausalModel

HIDDEN = -10_000.0  # added to the attention of what may not be seen; finite, because a padded event sees nothing


def low_pass(width: int, frequencies: int) -> Tensor:
    """(W, W): the matrix that keeps the lowest `frequencies` of a row's real Fourier transform, 0 included."""
    spectrum = torch.fft.rfft(torch.eye(width, dtype=torch.float64), dim=0)
    spectrum[frequencies:] = 0
    return torch.fft.irfft(spectrum, n=width, dim=0).to(torch.get_default_dtype())


class FrequencyLayer(nn.Module):
    """LayerNorm(x + dropout(low(x) + β²·high(x))), β learned for each channel."""

    def __init__(self, hidden_size: int, dropout: float, eps: float):
        super().__init__()
        self.sqrt_beta = nn.Parameter(torch.randn(hidden_size))
        self.dropout = dropout
        self.LayerNorm = nn.LayerNorm(hidden_size, eps=eps)

    def forward(self, hidden_BWM: Tensor, low_WW: Tensor) -> Tensor:
        low_BWM = low_WW @ hidden_BWM
        filtered_BWM = low_BWM + self.sqrt_beta.square() * (hidden_BWM - low_BWM)
        return self.LayerNorm(hidden_BWM + F.dropout(filtered_BWM, self.dropout, self.training))


class BSARecLayer(nn.Module):
    """α · filter + (1 - α) · self-attention, then a feed-forward; each with its residual and LayerNorm."""

    def __init__(self, config):
        super().__init__()
        hidden, dropout, eps = config["hidden_size"], config["hidden_dropout_prob"], config["layer_norm_eps"]
        self.alpha = config["alpha"]
        self.filter = FrequencyLayer(hidden, dropout, eps)
        self.attention = MultiHeadAttention(config["n_heads"], hidden, dropout, config["attn_dropout_prob"], eps)
        self.feed_forward = FeedForward(hidden, config["inner_size"], dropout, config["hidden_act"], eps)

    def forward(self, hidden_BWM: Tensor, low_WW: Tensor, mask_B1WW: Tensor) -> Tensor:
        filtered_BWM, attended_BWM = self.filter(hidden_BWM, low_WW), self.attention(hidden_BWM, mask_B1WW)
        return self.feed_forward(self.alpha * filtered_BWM + (1 - self.alpha) * attended_BWM)


class BSARec(CausalModel):
    """Loss and scores are those of every model here; only the last event of a row says anything about the user."""

    train_rows = "prefixes"
    max_seq_length: int
    low_WW: Tensor

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        hidden, eps = config["hidden_size"], config["layer_norm_eps"]
        self.dropout_prob, self.initializer_range = config["hidden_dropout_prob"], config["initializer_range"]
        self.item_embedding = nn.Embedding(self.n_items, hidden, padding_idx=0)
        self.position_embedding = nn.Embedding(self.max_seq_length, hidden)
        self.LayerNorm = nn.LayerNorm(hidden, eps=eps)
        self.layers = nn.ModuleList(BSARecLayer(config) for _ in range(config["n_layers"]))
        self.register_buffer("low_WW", low_pass(self.max_seq_length, config["c"] // 2 + 1), persistent=False)
        self.apply(self._init_weights)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.data.normal_(0, self.initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            module.bias.data.zero_()

    def forward(self, item_BL: Tensor, length_B: Tensor) -> Tensor:
        """(B, L, M): the last event's vector is the user's; the others have looked ahead."""
        width, padding_B1 = self.max_seq_length, self.max_seq_length - length_B[:, None]
        event_BW = torch.arange(width, device=item_BL.device) - padding_B1
        item_BW = item_BL.gather(1, event_BW.clamp(min=0)).masked_fill(event_BW < 0, 0)
        hidden_BWM = self.LayerNorm(self.item_embedding(item_BW) + self.position_embedding.weight)
        hidden_BWM = F.dropout(hidden_BWM, self.dropout_prob, self.training)
        mask_B1WW = self._mask(item_BW).to(hidden_BWM.dtype)
        for layer in self.layers:
            hidden_BWM = layer(hidden_BWM, self.low_WW, mask_B1WW)
        place_BL = (padding_B1 + torch.arange(item_BL.shape[1], device=item_BL.device)).clamp(max=width - 1)
        return hidden_BWM.gather(1, place_BL[..., None].expand(-1, -1, hidden_BWM.shape[-1]))

    def _mask(self, item_BW: Tensor) -> Tensor:
        earlier_WW = torch.ones(item_BW.shape[1], item_BW.shape[1], dtype=torch.bool, device=item_BW.device).tril()
        return torch.where(earlier_WW & (item_BW != 0)[:, None, None, :], 0.0, HIDDEN)
