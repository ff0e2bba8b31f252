"""Samples of the catalogue for the softmax of one training step (`loss_type: sampled`).

Every item comes into a step's sample by chances of its own, and stands there for 1 / chance items (Horvitz and Thompson
1952), which is the log-q correction of a sampled softmax: where all chances are 1, sample and correction are gone and
the loss is the full one. V items incl. padding id 0, U items that a step uses, P positions, K targets of a position.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sear.ops.shares import current


class Sample(NamedTuple):
    """The items that a step uses: the sample, the padding, and the targets, which need not be in the sample."""

    item_U: Tensor  # int64, rising; item_U[0] is 0
    chance_U: Tensor  # float64: each one's chance to be in the sample; 0 for a target that is not in it

    def numbers(self, item: Tensor) -> Tensor:
        """The items' places in item_U, of any shape; 0 for items that are not there."""
        place = torch.searchsorted(self.item_U, item).clamp_(max=len(self.item_U) - 1)
        return place.masked_fill_(self.item_U[place] != item, 0)


class ItemSampler:
    """Draws the sample of each step; several sources add up, each on its own.

    - uniform: `size` items on average, all with the same chance.
    - popularity: `size` items on average, with chances in proportion to 1 + an item's training events, at most 1.
    - in_batch: the next items of the batch. An item that is the next one n times in an epoch is among them with chance
      1 - (1 - f)^n, f being the batch's part of an epoch; that a history's items come together is left out of account.
    """

    def __init__(self, sources: Sequence[str], size: int, count_V: np.ndarray, target_V: np.ndarray):
        """count_V: each item's training events; target_V: how many of them may be a batch's next items."""
        self.in_batch, self.epoch_targets = "in_batch" in sources, int(target_V.sum())
        self.target_V = torch.from_numpy(target_V).to(torch.float64)
        weight_V = {"uniform": np.ones(len(count_V)), "popularity": 1.0 + count_V}
        missed_V = np.ones(len(count_V))
        for source in sources:
            if source in weight_V:
                missed_V[1:] *= 1 - chances(weight_V[source][1:], size)
        missed_V[0] = 0  # a column of the full softmax like any other
        self.chance_V = torch.from_numpy(1 - missed_V)

    def draw(self, target_PK: Tensor, events: int | None = None) -> Sample:
        """A step's sample, on the CPU; drawn there, so alike on every device, and alike for each share of a batch.

        Args:
            target_PK: int64, the targets of the whole batch, 0 = none; column 0 has the next items.
            events: how many different events the next items are; None: one for each position.
        """
        share, target_PK = current(), target_PK.cpu()
        random = share.random if share else None
        drawn_V = torch.rand(len(self.chance_V), dtype=torch.float64, generator=random) < self.chance_V
        drawn_S = drawn_V.nonzero().squeeze(1)
        item_U = torch.unique(torch.cat([drawn_S, target_PK.flatten()]))
        chance_U = self.chance_V[item_U]
        if self.in_batch:
            part = min(1.0, (len(target_PK) if events is None else events) / self.epoch_targets)
            chance_U = 1 - (1 - chance_U) * (1 - part) ** self.target_V[item_U]
            drawn_V[target_PK[:, 0]] = True  # the later targets of a position are in the sample by chance only
        chance_U = chance_U * drawn_V[item_U]
        return Sample(item_U, chance_U)


def chances(weight_N: np.ndarray, size: int) -> np.ndarray:
    """float64 (N,): chances in proportion to the weights, at most 1, that add up to `size`, or to N if that is less.

    >>> chances(np.array([1.0, 1.0, 6.0]), 2).tolist()
    [0.5, 0.5, 1.0]
    """
    if size >= len(weight_N):
        return np.ones(len(weight_N))
    certain_N = np.zeros(len(weight_N), dtype=bool)
    while True:
        scale = (size - certain_N.sum()) / weight_N[~certain_N].sum()
        chance_N = np.where(certain_N, 1.0, weight_N * scale)
        if not (chance_N > 1).any():
            return chance_N
        certain_N |= chance_N > 1
