"""The highest scores of each row, best first and of equal ones the lower item first, as ranks count them.

B users, V columns, k wanted.
"""

import numpy as np
import torch
from torch import Tensor

from sear.errors import InputError

BLOCK = 64  # columns whose greatest score is looked at first


def best_items(score_BV: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and columns (B, k) of the k highest scores of each row; k <= V. -inf marks what must not be taken.

    Raises:
        InputError: a score is NaN.
    """
    wanted = min(k + 1, score_BV.shape[1])  # one more shows whether a tie is cut in two
    value_Bk, column_Bk = (part.cpu().numpy() for part in _highest(score_BV, wanted))
    if np.isnan(value_Bk).any():
        raise InputError("scores are NaN - the training diverged: lower learning_rate and train again")
    order_Bk = np.lexsort((column_Bk, -value_Bk), axis=-1)
    value_Bk, column_Bk = (np.take_along_axis(part, order_Bk, 1) for part in (value_Bk, column_Bk))
    if wanted > k:
        cut = (value_Bk[:, k - 1] == value_Bk[:, k]) & np.isfinite(value_Bk[:, k])
        for row in np.flatnonzero(cut):
            column_Bk[row] = score_BV[row].sort(descending=True, stable=True).indices[:wanted].cpu().numpy()
    return value_Bk[:, :k], column_Bk[:, :k]


def _highest(score_BV: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
    """torch.topk, by way of the blocks with the greatest scores where there are many: they hold all that is wanted."""
    blocks = score_BV.shape[1] // BLOCK
    if blocks < 2 * wanted:
        return score_BV.topk(wanted)
    tail = score_BV[:, blocks * BLOCK :]
    block_BNb = score_BV[:, : blocks * BLOCK].unflatten(1, (blocks, BLOCK))
    best_Bw = block_BNb.amax(2).topk(wanted, sorted=False).indices
    found_Bc = block_BNb.gather(1, best_Bw[..., None].expand(-1, -1, BLOCK)).flatten(1)
    inside = torch.arange(BLOCK, device=score_BV.device)
    column_Bc = (best_Bw[..., None] * BLOCK + inside).flatten(1)
    rest = torch.arange(blocks * BLOCK, score_BV.shape[1], device=score_BV.device).expand(len(tail), -1)
    value_Bk, place_Bk = torch.cat([found_Bc, tail], 1).topk(wanted)
    return value_Bk, torch.cat([column_Bc, rest], 1).gather(1, place_Bk)
