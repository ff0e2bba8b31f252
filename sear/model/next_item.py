"""What every model with user vectors shares: loss, scores and prediction are defined here and nowhere else.

score(user, item) = user vector · row of the item table, plus the repeat bias for items that the user has met before.
B batch, L length of its rows, D width of a user vector, V items incl. padding id 0, P positions that carry loss,
K soft-label length.
"""

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from sear.model.loss import loss_targets, soft_label_loss
from sear.model.repeat_bias import EarlierItems, add_bias_, items_before


class NextItemModel(SequentialRecommender):
    """A model that says a user's vector after an event; a subclass gives `user_vectors` and `item_table`."""

    input_type = InputType.POINTWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        bias = nn.Parameter(torch.zeros(())) if config["repeat_bias"] else None
        self.register_parameter("repeat_bias", bias)

    def user_vectors(self, interaction) -> Tensor:
        """(B, D): the user after the last event of each history, which has one at least."""
        raise NotImplementedError

    def item_table(self) -> Tensor:
        """(V, D): what user vectors are multiplied with."""
        raise NotImplementedError

    def _whole_histories(self, interaction) -> Tensor:
        """int64 (B, H): the distinct items of each case's whole history, 0 = none."""
        length_B = interaction[self.ITEM_SEQ_LEN]
        row_B = torch.arange(len(length_B), device=length_B.device)
        return items_before(interaction, row_B, length_B).of(slice(None))

    def full_sort_predict(self, interaction) -> Tensor:
        """(B, V): every item's score for the next event of each history, padding id 0 included."""
        score_BV = self.user_vectors(interaction) @ self.item_table().T
        if self.repeat_bias is not None:
            add_bias_(score_BV, self._whole_histories(interaction), self.repeat_bias)
        return score_BV

    def predict(self, interaction) -> Tensor:
        """(B,): the score of each row's own `item_id`."""
        item_B = interaction[self.ITEM_ID]
        score_B = (self.user_vectors(interaction) * self.item_table()[item_B]).sum(-1)
        if self.repeat_bias is not None:
            score_B = score_B + self.repeat_bias * (self._whole_histories(interaction) == item_B[:, None]).any(1)
        return score_B


class CausalLoss(NextItemModel):
    """A model that looks back only, trained at every position of a row; a subclass gives `users_at`."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.soft_label_decay = config["soft_label_decay"]

    def users_at(self, interaction, position_P: Tensor) -> Tensor:
        """(P, D): the users after the events with the numbers position_P, counted over B·L."""
        raise NotImplementedError

    def user_vectors(self, interaction) -> Tensor:
        """(B, D): the user after the last event of each history, which has one at least."""
        item_BL, length_B = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        row_B = torch.arange(len(item_BL), device=item_BL.device)
        return self.users_at(interaction, row_B * item_BL.shape[1] + length_B - 1)

    def calculate_loss(self, interaction) -> Tensor:
        """Mean soft-label loss over the batch's positions whose `target_id_list` begins with an item."""
        at = interaction.interaction.get("loss_position")
        position_P, target_PK = loss_targets(interaction["target_id_list"], at)
        user_PD, item_VD = self.users_and_items(interaction, position_P)
        earlier = self._items_up_to(interaction, position_P)
        return soft_label_loss(user_PD, item_VD, target_PK, self.soft_label_decay, self.repeat_bias, earlier)

    def users_and_items(self, interaction, position_P: Tensor) -> tuple[Tensor, Tensor]:
        """(P, D) and (V, D) of a training step; overridden where both are made of the same."""
        return self.users_at(interaction, position_P), self.item_table()

    def _items_up_to(self, interaction, position_P: Tensor) -> EarlierItems | None:
        if self.repeat_bias is None:
            return None
        length = interaction[self.ITEM_SEQ].shape[1]
        return items_before(interaction, position_P // length, position_P % length + 1)
