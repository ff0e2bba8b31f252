"""One learned number added to the scores of the items that a user has met before: how likely a repeat is.

Where nobody buys twice it becomes strongly negative, where people do, positive. The whole earlier history counts, not
only the window that the network sees. P positions, R rows of a batch, C positions of a chunk, H events of the longest
whole history in the batch, V items incl. padding id 0.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from sear.data.history import EARLIER_EVENTS, HISTORY_ITEMS
from sear.errors import InputError


class EarlierItems(NamedTuple):
    """The distinct items before each of P positions: those of `item_RH[row_P[p], :end_P[p]]`, without the zeros."""

    item_RH: Tensor  # int64: each user's items in time order, a repeated one only where it stands first, else 0
    row_P: Tensor
    end_P: Tensor

    def of(self, chunk: slice) -> Tensor:
        """int64 (C, H): the items before each position of the chunk, 0 = none."""
        end_C1 = self.end_P[chunk, None]
        earlier_CH = torch.arange(self.item_RH.shape[1], device=end_C1.device) < end_C1
        return self.item_RH.index_select(0, self.row_P[chunk]) * earlier_CH


def items_before(interaction, row_P: Tensor, step_P: Tensor) -> EarlierItems:
    """The items of the events before event `step_P` of row `row_P`, as a SEARDataset's batch holds them.

    Raises:
        InputError: the batch has no whole histories.
    """
    if HISTORY_ITEMS not in interaction:
        raise InputError(f"the batch has no {HISTORY_ITEMS}, which repeat_bias needs - take it from a SEARDataset")
    return EarlierItems(interaction[HISTORY_ITEMS], row_P, interaction[EARLIER_EVENTS][row_P] + step_P)


def add_bias_(score_CV: Tensor, item_CH: Tensor, bias: Tensor) -> Tensor:
    """Add the bias to the scores of each row's items, in place; item 0 gets nothing."""
    return score_CV.scatter_add_(1, item_CH, bias.to(score_CV.dtype) * (item_CH != 0))


def bias_gradient(score_grad_CV: Tensor, item_CH: Tensor) -> Tensor:
    """The bias's share of the scores' gradient: a number."""
    return (score_grad_CV.gather(1, item_CH) * (item_CH != 0)).sum()
