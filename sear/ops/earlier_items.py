"""A number added to the scores of items that came earlier, and its gradient: plain torch, and the choice of kernel.

R histories of at most H items, C positions of a chunk, V items incl. padding id 0.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class EarlierItems(NamedTuple):
    """The distinct items before each of P positions: those of `item_RH[row_P[p], :end_P[p]]`, without the zeros."""

    item_RH: Tensor  # int64: each user's items in time order, a repeated one only where it stands first, else 0
    row_P: Tensor
    end_P: Tensor

    def part(self, chunk: slice) -> "EarlierItems":
        """The same for some of the positions."""
        return EarlierItems(self.item_RH, self.row_P[chunk], self.end_P[chunk])

    def items(self) -> Tensor:
        """int64 (P, H): the items before each position, 0 = none."""
        earlier_PH = torch.arange(self.item_RH.shape[1], device=self.end_P.device) < self.end_P[:, None]
        return self.item_RH.index_select(0, self.row_P) * earlier_PH


def add_to_earlier(score_CV: Tensor, earlier: EarlierItems, bias: Tensor) -> None:
    """Add the bias to the scores of each position's earlier items, in place and without a gradient."""
    if score_CV.device.type != "cpu":
        add_to_items(score_CV, earlier.items(), bias)
        return
    from sear.kernels import scores

    scores.add_to_earlier(score_CV, *earlier, bias.item())


def sum_of_earlier(score_CV: Tensor, earlier: EarlierItems) -> Tensor:
    """(): the sum of all positions' earlier items' values, which is the bias's gradient if they are the scores'."""
    if score_CV.device.type != "cpu":
        return sum_of_items(score_CV, earlier.items())
    from sear.kernels import scores

    return scores.sum_of_earlier(score_CV, *earlier).sum()


def add_to_items(score_CV: Tensor, item_CH: Tensor, bias: Tensor) -> Tensor:
    """Add the bias to the scores of each row's items, in place; item 0 gets nothing. Has gradients."""
    return score_CV.scatter_add_(1, item_CH, bias.to(score_CV.dtype) * (item_CH != 0))


def sum_of_items(score_CV: Tensor, item_CH: Tensor) -> Tensor:
    """(): the sum of the values of each row's items other than 0."""
    return (score_CV.gather(1, item_CH) * (item_CH != 0)).sum()
