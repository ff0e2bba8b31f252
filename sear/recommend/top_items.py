"""The highest scores of each row, best first and of equal ones the lower item first, as ranks count them."""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from sear.errors import InputError


class TopItems(NamedTuple):
    """The best items of B users, best first, in k places.

    Attributes:
        score_Bk: float32; -inf in places for which nothing is left.
        item_Bk: int64 item numbers, from 1.
        by_model_B: bool; False for a user without any known event, whose items are the popular ones and scores counts.
    """

    score_Bk: np.ndarray
    item_Bk: np.ndarray
    by_model_B: np.ndarray

    def of(self, row: int) -> tuple[list[int], list[float]]:
        """One user's item numbers and scores, as many as there are."""
        there_k = self.score_Bk[row] > -np.inf
        return self.item_Bk[row][there_k].tolist(), self.score_Bk[row][there_k].tolist()


def best_items(score_BV: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and columns (B, k) of the k highest scores of each row; k <= V. -inf marks what must not be taken.

    Raises:
        InputError: a score is NaN.
    """
    wanted = min(k + 1, score_BV.shape[1])  # one more shows whether a tie is cut in two
    value_Bk, column_Bk = (part.cpu().numpy() for part in score_BV.topk(wanted))
    if np.isnan(value_Bk).any():
        raise InputError("scores are NaN - the training diverged: lower learning_rate and train again")
    order_Bk = np.lexsort((column_Bk, -value_Bk), axis=-1)  # topk leaves the order of equal ones open
    value_Bk, column_Bk = (np.take_along_axis(part, order_Bk, 1) for part in (value_Bk, column_Bk))
    if wanted > k:
        cut = (value_Bk[:, k - 1] == value_Bk[:, k]) & np.isfinite(value_Bk[:, k])
        for row in np.flatnonzero(cut):
            column_Bk[row] = score_BV[row].sort(descending=True, stable=True).indices[:wanted].cpu().numpy()
    return value_Bk[:, :k], column_Bk[:, :k]
