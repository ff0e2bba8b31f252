"""BERT4Rec (Sun et al. 2019): RecBole's network, trained on masked events of whole windows.

RecBole's masking stops one event short of each user's training history and, in testing, drops the first event of
every history; neither is so here. B batch, L events of a row and the one after it, D width of a user vector, V items
incl. padding id 0, P masked positions, numbered over B·L, W rows of a whole batch, of which a process may have a share.
B and W count the copies of a row, too.
"""

import numpy as np
import torch
from torch import Tensor, nn

from sear.model.loss import soft_label_loss
from sear.model.next_item import NextItemModel
from sear.model.repeat_bias import items_before
from sear.model.sampling import ItemSampler, Sample
from sear.model.scoring import rows_of
from sear.ops.earlier_items import EarlierItems
from sear.ops.shares import Share, current
from sear.recbole_compat import anomaly_detection_kept

with anomaly_detection_kept():
    from recbole.model.sequential_recommender import bert4rec


class BERT4Rec(NextItemModel, bert4rec.BERT4Rec):
    """Predicts masked events from both sides; a test case is its history with a mask after it.

    The network has one position more than MAX_ITEM_LIST_LENGTH, so that it sees as many events as every other model.
    With `repeat_bias` the items of the events before a masked one get the bias, masked ones among them too: as in
    testing, the whole earlier history is known and nothing later is, although the network sees later events.
    """

    item_embedding: nn.Embedding
    output_bias: nn.Parameter
    mask_token: int
    mask_ratio: float

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.ft_ratio, self.mask_copies = config["ft_ratio"], config["mask_copies"]
        self.position_embedding = nn.Embedding(self.max_seq_length + 1, self.hidden_size)
        self._init_weights(self.position_embedding)

    def target_counts(self, dataset) -> np.ndarray:
        """int64 (V,): as of every model, and each user's first event, which may be masked like any other."""
        return dataset.training_item_counts

    def start_scoring(self, config) -> None:
        """As of every model, but for the cosine: the items' own biases are part of the product."""
        super().start_scoring({"repeat_bias": config["repeat_bias"], "cosine_scale": 0.0})

    def loss_positions(self, interaction, whole: bool = True) -> Tensor | None:
        """int64 (P,): the masked events of all copies, drawn now; those of a share are drawn with its loss."""
        return _numbers(self._masked(*self._copies(interaction))) if whole else None

    def calculate_loss(self, interaction) -> Tensor:
        """Mean cross-entropy over the masked events; each row is masked `mask_copies` times, each time anew."""
        item_BL, last_B = self._copies(interaction)
        share, position_P = current(), interaction.interaction.get("loss_position")
        if share:
            masked_WL = self._masked_in_batch(share)
            whole_P = _numbers(masked_WL)
            position_P = _numbers(self._masked_in_share(share, masked_WL, item_BL.shape[1])).to(item_BL.device)
        else:
            whole_P = position_P = _numbers(self._masked(item_BL, last_B)) if position_P is None else position_P
        sample = None if self.sampler is None else self._sample(self.sampler, item_BL, share, whole_P)
        target_P1 = item_BL.flatten()[position_P, None]
        hidden_BLD = self.forward(item_BL.flatten().index_fill(0, position_P, self.mask_token).view_as(item_BL))
        user_PD = self._with_one(hidden_BLD.flatten(0, 1).index_select(0, position_P))
        earlier = self._items_before(interaction, position_P, item_BL.shape[1])
        if sample is not None:
            return self.sampled_loss(user_PD, sample, target_P1, 0.0, earlier)
        return soft_label_loss(user_PD, self.item_table(), target_P1, 0.0, self.repeat_bias, earlier)

    def _sample(self, sampler: ItemSampler, item_BL: Tensor, share: Share | None, whole_P: Tensor) -> Sample:
        """The items of a step; whole_P are the masked events of the whole batch."""
        item_WL = self._copies(share.whole())[0] if share else item_BL
        assert not share or item_WL.shape[1] == share.width + 1
        events = whole_P.remainder(item_WL.numel() // self.mask_copies).unique()  # the copies lie row by row
        return sampler.draw(item_WL.flatten()[whole_P, None], len(events))

    def _items_before(self, interaction, position_P: Tensor, length: int) -> EarlierItems | None:
        if self.repeat_bias is None:
            return None
        row_P = position_P // length % len(interaction[self.ITEM_SEQ])  # the copies lie row by row
        return items_before(interaction, row_P, position_P % length)

    def _copies(self, interaction) -> tuple[Tensor, Tensor]:
        """(B, L) and (B,): each row with the item after it, `mask_copies` times, and the place of its last item."""
        length_B = interaction[self.ITEM_SEQ_LEN]
        item_BL = self._append(interaction[self.ITEM_SEQ], length_B, interaction[self.ITEM_ID])
        return item_BL.repeat(self.mask_copies, 1), length_B.repeat(self.mask_copies)

    def _append(self, item_BL: Tensor, length_B: Tensor, next_B: Tensor | int) -> Tensor:
        """The rows with an item after their last one, so one longer."""
        longer_BL = nn.functional.pad(item_BL, (0, 1))
        longer_BL[torch.arange(len(length_B), device=length_B.device), length_B] = next_B
        return longer_BL

    def _masked_in_batch(self, share: Share) -> Tensor:
        """bool (W, L): the events that are masked in all rows of a batch, of which this process has a share."""
        last_W = torch.from_numpy(share.length_B).repeat(self.mask_copies)
        return self._masked(torch.arange(share.width + 1) <= last_W[:, None], last_W, share.random)

    def _masked_in_share(self, share: Share, masked_WL: Tensor, length: int) -> Tensor:
        """bool (B, L): those of them that the share has. Sets its weight, by its part in all masked events."""
        masked_BL = masked_WL[torch.from_numpy(share.rows(self.mask_copies)), :length]
        share.weigh(int(masked_BL.sum()), int(masked_WL.sum()))
        return masked_BL

    def _masked(self, item_BL: Tensor, last_B: Tensor, random: torch.Generator | None = None) -> Tensor:
        """bool (B, L): each event with chance `mask_ratio`; in a share of the rows, as in testing, the last one alone.

        A row that chance left whole has its last event masked. Drawn on the CPU, so the same on every device.
        """
        chosen_BL = (torch.rand(item_BL.shape, generator=random) < self.mask_ratio).to(item_BL.device) & (item_BL != 0)
        like_testing_B = (torch.rand(len(item_BL), generator=random) < self.ft_ratio).to(item_BL.device)
        last_BL = torch.arange(item_BL.shape[1], device=item_BL.device) == last_B[:, None]
        last_only_B = like_testing_B | ~chosen_BL.any(dim=1)
        return torch.where(last_only_B[:, None], last_BL, chosen_BL)

    def user_vectors(self, interaction) -> Tensor:
        """(B, D): what the network makes of the mask after each history, and a 1 for the items' biases."""
        length_B = interaction[self.ITEM_SEQ_LEN]
        hidden_BLD = self.forward(self._append(interaction[self.ITEM_SEQ], length_B, self.mask_token))
        return self._with_one(hidden_BLD[torch.arange(len(length_B), device=length_B.device), length_B])

    def _with_one(self, hidden_PD: Tensor) -> Tensor:
        return nn.functional.pad(hidden_PD, (0, 1), value=1.0)

    def item_vectors(self) -> Tensor:
        """(V, D): item vectors, without that of the mask, and each item's bias."""
        return torch.cat([self.item_embedding.weight[: self.n_items], self.output_bias[:, None]], dim=1)

    def item_rows(self, item_U: Tensor) -> Tensor:
        """(U, D): the same of some items."""
        return torch.cat([rows_of(self.item_embedding, item_U), self.output_bias[item_U, None]], dim=1)


def _numbers(mask_BL: Tensor) -> Tensor:
    """int64 (P,): the positions that a mask has, counted over B·L."""
    return mask_BL.flatten().nonzero().squeeze(1)
