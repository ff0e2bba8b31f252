"""Counted transitions as a second opinion on any model's scores, mixed in after training.

score + weight · log(1 + share / floor): `share` is an item's part of what all the history's transitions say, in units
of the part that it would have if all items had the same; where they say nothing, the score stays. Up to a constant per
row this is log p + weight · log(floor + share). B cases, L history length, V items incl. padding id 0.
"""

import torch
from torch import Tensor, nn

from sear.model.transitions import (
    SparseTable,
    because,
    history_matrix,
    normalised,
    training_events,
    transition_counts,
)


class TransitionPrior(nn.Module):
    """Counted transitions and how they are mixed in; all of it buffers of a checkpoint.

    Attributes:
        mix: float (2,): weight and floor; a weight of 0, as at the start, changes no score.
    """

    mix: Tensor

    def __init__(self, items: int, half_life: float):
        """No transitions yet; items: V. Events of a history count half after `half_life` further ones."""
        super().__init__()
        self.half_life = half_life
        self.rules = SparseTable(items, items)
        self.register_buffer("mix", torch.tensor([0.0, 1.0]))

    def count(self, dataset, steps: int, popularity: float) -> None:
        """Hold the transitions of a dataset's training events (`transition_counts`, `normalised`)."""
        counts_VV = transition_counts(*training_events(dataset), dataset.item_num, steps)
        self.rules.put(normalised(counts_VV, popularity))

    @property
    def weight(self) -> float:
        return self.mix[0].item()

    def shares(self, item_BL: Tensor) -> Tensor:
        """float (B, V): each item's part of what a history's transitions say, times V - 1; all 0 if nothing."""
        said_BV = history_matrix(item_BL, self.rules.shape[0], self.half_life) @ self.rules.matrix()
        said_BV = torch.from_numpy(said_BV.toarray()).to(item_BL.device)
        total_B1 = said_BV.sum(1, keepdim=True)
        return said_BV / torch.where(total_B1 > 0, total_B1, 1) * (said_BV.shape[1] - 1)

    def mixed(self, score_BV: Tensor, item_BL: Tensor) -> Tensor:
        """(B, V): the scores with the transitions from each history's items."""
        return self.mixed_with(score_BV, self.shares(item_BL))

    def mixed_with(self, score_BV: Tensor, share_BV: Tensor) -> Tensor:
        """The same from shares that are known."""
        return mixed_scores(score_BV, share_BV, *self.mix)

    def because(self, item_L: Tensor, target: int, most: int = 3) -> list[int]:
        """The items of one history whose transitions speak loudest for `target`, the loudest first."""
        return because(item_L.cpu().numpy(), target, self.rules.matrix(), self.half_life, most)


def mixed_scores(score_BV: Tensor, share_BV: Tensor, weight: float | Tensor, floor: float | Tensor) -> Tensor:
    """score + weight · log(1 + share / floor), in the scores' own type."""
    return score_BV + weight * torch.log1p(share_BV.to(score_BV.dtype) / floor)
