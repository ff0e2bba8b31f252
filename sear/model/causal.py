"""Baselines that look back only: GRU4Rec, SASRec and Mamba4Rec, each trained at every position of a window.

GRU4Rec and SASRec are RecBole's classes; Mamba4Rec (Liu et al. 2024, arXiv 2403.03900) is made of SEAR's Mamba layers.
Like SEAR they get the user after every event from one pass and learn from all items, so that nobody is held back by
fewer targets. B batch, L history length, D width of a user vector, V items incl. padding id 0, P positions that carry
loss.

SASRec numbers the positions of every row from 0, wherever the row lies in the history: so do RecBole's rows of one
prefix each, and so do the cases it is tested on. A window's last positions are those that a test case of a long
history has, and the windows' stride makes them as frequent as the first ones.
"""

import torch
from torch import Tensor, nn

from sear.model.layers import MambaLayer, mamba_options, residual_norm
from sear.model.next_item import CausalLoss
from sear.model.scoring import rows_of
from sear.recbole_compat import anomaly_detection_kept

with anomaly_detection_kept():
    from recbole.model.sequential_recommender import gru4rec, sasrec


class CausalModel(CausalLoss):
    """Loss and prediction out of `forward`, which gives (B, L, D): the user after each event of a row."""

    item_embedding: nn.Embedding

    def gather_indexes(self, output: Tensor, gather_index: Tensor) -> Tensor:
        """All positions: RecBole's models end with this call, and would keep only the last."""
        return output

    def item_vectors(self) -> Tensor:
        """(V, D): a vector for each item."""
        return self.item_embedding.weight

    def item_rows(self, item_U: Tensor) -> Tensor:
        """(U, D): the vectors of some items."""
        own = type(self).item_vectors is not CausalModel.item_vectors  # then the embedding is not all there is
        return super().item_rows(item_U) if own else rows_of(self.item_embedding, item_U)

    def users_at(self, interaction, position_P: Tensor) -> Tensor:
        """(P, D): the users after the events with the numbers position_P, counted over B·L."""
        user_BLD = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return user_BLD.flatten(0, 1).index_select(0, position_P)


class GRU4Rec(CausalModel, gru4rec.GRU4Rec):
    """RecBole's GRU4Rec (Tan et al. 2016)."""


class SASRec(CausalModel, sasrec.SASRec):
    """RecBole's SASRec (Kang and McAuley 2018) with full cross-entropy."""


class Mamba4Rec(CausalModel):
    """Item embedding, Mamba layers, and the embedding again as item table."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        hidden, self.dropout_prob = config["hidden_size"], config["dropout_prob"]
        self.initializer_range = config["initializer_range"]
        mamba = mamba_options(config)
        self.item_embedding = nn.Embedding(self.n_items, hidden, padding_idx=0)
        self.LayerNorm = nn.LayerNorm(hidden, eps=1e-12)
        self.mamba_layers = nn.ModuleList(
            MambaLayer(hidden, dropout=self.dropout_prob, **mamba) for _ in range(config["num_layers"])
        )
        if len(self.mamba_layers) == 1:  # as its authors have it
            self.mamba_layers[0].residual = False
            self.register_buffer("no_residual", torch.tensor(True))  # weights that were learned with one do not fit
        self.apply(self._init_weights)
        if config["keep_dt_init"]:
            for layer in self.mamba_layers.modules():
                if isinstance(layer, MambaLayer):
                    layer.mamba.reset_dt_proj()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.data.normal_(0, self.initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            module.bias.data.zero_()

    def forward(self, item_BL: Tensor, _) -> Tensor:
        """(B, L, D): the user after each event."""
        hidden_BLD = residual_norm(self.LayerNorm, self.dropout_prob, None, self.item_embedding(item_BL))
        for layer in self.mamba_layers:
            hidden_BLD = layer(hidden_BLD)
        return hidden_BLD
