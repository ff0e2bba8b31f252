"""How a user and an item make a score, defined here and nowhere else, without RecBole.

score = user vector · row of the item table, plus the repeat bias where the user has met the item before. With
`cosine_scale` both vectors have length 1 and the product has a learned factor. B batch, D width of a user vector,
V items incl. padding id 0, H longest history, P positions.
"""

import math

import torch
from torch import Tensor, nn

from sear.ops.earlier_items import add_to_items


def rows_of(table: nn.Embedding, item_U: Tensor) -> Tensor:
    """(U, D): rows of an item table, that of the padding as trainable as in a product with the whole table."""
    return nn.functional.embedding(item_U, table.weight, sparse=table.sparse)


class ScoringModule(nn.Module):
    """A network with a vector per item; a subclass gives `item_vectors`, and users of the same width.

    Attributes:
        repeat_bias: (), what items of a user's history get on top of their score; None where it is off.
        log_scale: (), the logarithm of the factor of the cosine; None where scores are plain products.
    """

    repeat_bias: nn.Parameter | None
    log_scale: nn.Parameter | None

    def start_scoring(self, config) -> None:
        """The two learned numbers, as `repeat_bias` and `cosine_scale` ask for them."""
        bias, scale = config["repeat_bias"], config["cosine_scale"]
        self.register_parameter("repeat_bias", nn.Parameter(torch.zeros(())) if bias else None)
        self.register_parameter("log_scale", nn.Parameter(torch.tensor(math.log(scale))) if scale else None)

    def item_vectors(self) -> Tensor:
        """(V, D): a vector for each item, of any length."""
        raise NotImplementedError

    def item_rows(self, item_U: Tensor) -> Tensor:
        """(U, D): some of `item_vectors`; overridden where these need not all be made for it."""
        return self.item_vectors()[item_U]

    def item_table(self) -> Tensor:
        """(V, D): what user vectors are multiplied with."""
        return self.scored_items(self.item_vectors())

    def scored_items(self, item_VD: Tensor) -> Tensor:
        """Item vectors as they are scored."""
        return item_VD if self.log_scale is None else nn.functional.normalize(item_VD, dim=-1)

    def scored_users(self, user_PD: Tensor) -> Tensor:
        """User vectors as they are scored."""
        return user_PD if self.log_scale is None else nn.functional.normalize(user_PD, dim=-1) * self.log_scale.exp()

    def all_scores(self, user_BD: Tensor, history_BH: Tensor | None) -> Tensor:
        """(B, V): every item's score, padding id 0 included.

        Args:
            user_BD: as they are scored.
            history_BH: int64, the distinct items of each user's whole history, 0 = none; only the bias reads it.
        """
        score_BV = user_BD @ self.item_table().T
        if self.repeat_bias is None:
            return score_BV
        assert history_BH is not None, "the repeat bias is for the items of a history"
        return add_to_items(score_BV, history_BH, self.repeat_bias)

    def scores_of(self, user_BD: Tensor, item_B: Tensor, history_BH: Tensor | None) -> Tensor:
        """(B,): the score of one item for each user; arguments as in `all_scores`."""
        score_B = (user_BD * self.item_table()[item_B]).sum(-1)
        if self.repeat_bias is None:
            return score_B
        assert history_BH is not None, "the repeat bias is for the items of a history"
        return score_B + self.repeat_bias * history_BH.eq(item_B[:, None]).any(1)
