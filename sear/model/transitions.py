"""Counted transitions: how often an item followed another within a few steps, and what a history says of each.

Pure functions on arrays and sparse tables, after the sequential rules of Ludewig and Jannach (2018, arXiv 1803.09587).
E events, V items incl. padding id 0, B histories, L their length.
"""

import numpy as np
import torch
from scipy.sparse import csr_matrix, diags
from torch import Tensor, nn


def training_events(dataset) -> tuple[np.ndarray, np.ndarray]:
    """int64 (events,) each: items and users of the training events, user after user in time order."""
    events = dataset.events
    return events.item[events.training], events.user[events.training]


def transition_counts(item_E: np.ndarray, user_E: np.ndarray, item_num: int, steps: int) -> csr_matrix:
    """float64 (V, V): row i, column j holds the sum of 1 / distance over all pairs in which j came after i.

    Args:
        item_E: items, each user's in time order and all of one user together.
        user_E: whose events they are.
        steps: pairs further apart do not count; neighbours are 1 apart.
    """
    counts_VV = csr_matrix((item_num, item_num))
    for distance in range(1, min(steps, len(item_E) - 1) + 1):
        pair = np.flatnonzero(user_E[distance:] == user_E[:-distance])
        if not len(pair):
            break  # no history is longer
        places = item_E[pair], item_E[pair + distance]
        counts_VV = counts_VV + csr_matrix((np.full(len(pair), 1 / distance), places), counts_VV.shape)
    return counts_VV


def popularity(counts_VV: csr_matrix) -> np.ndarray:
    """float64 (V,): what all items together say of each one, 1 at least."""
    return np.maximum(np.asarray(counts_VV.sum(axis=0)).ravel(), 1)


def normalised(counts_VV: csr_matrix, power: float) -> csr_matrix:
    """float32 (V, V): every column divided by its popularity to this power, or popular items would lead every list."""
    return csr_matrix(counts_VV @ diags(popularity(counts_VV) ** -power), dtype=np.float32)


def recency_weights(item_BL: Tensor, half_life: float | None) -> Tensor:
    """float32 (B, L): 1 for a history's last event, half as much `half_life` events earlier; padding 0.

    Without a half-life every event weighs 1.
    """
    event_BL = item_BL != 0
    if half_life is None:
        return event_BL.float()
    age_BL = event_BL.sum(1, keepdim=True) - event_BL.cumsum(1)
    return torch.exp2(-age_BL / half_life) * event_BL


def history_matrix(item_BL: Tensor, item_num: int, half_life: float | None) -> csr_matrix:
    """float32 (B, V): the weights of each history's items; a repeated item adds its weights."""
    item, weight = item_BL.cpu().numpy(), recency_weights(item_BL, half_life).cpu().numpy()
    row, place = np.nonzero(weight)
    return csr_matrix((weight[row, place], (row, item[row, place])), (len(item), item_num))


def because(item_L: np.ndarray, target: int, rules_VV: csr_matrix, half_life: float | None, most: int = 3) -> list[int]:
    """The items of a history that speak loudest for `target`, the loudest first; those that say nothing are left out.

    Args:
        item_L: one history, the last event at its end.
    """
    history_1V = history_matrix(torch.from_numpy(np.asarray(item_L))[None], rules_VV.shape[0], half_life)
    item, said = history_1V.indices, history_1V.data * rules_VV[history_1V.indices, target].toarray().ravel()
    order = np.argsort(-said, kind="stable")[:most]
    return item[order][said[order] > 0].tolist()


class SparseTable(nn.Module):
    """A sparse matrix as buffers, so that a checkpoint holds it; its size may differ from load to load."""

    def __init__(self, rows: int, columns: int):
        super().__init__()
        self.shape, self._matrix = (rows, columns), None
        self.register_buffer("begin", torch.zeros(rows + 1, dtype=torch.int64))
        self.register_buffer("column", torch.zeros(0, dtype=torch.int32))
        self.register_buffer("value", torch.zeros(0))

    def put(self, matrix: csr_matrix) -> None:
        """Hold this matrix instead."""
        matrix.sort_indices()
        for name, values in (("begin", matrix.indptr), ("column", matrix.indices), ("value", matrix.data)):
            old = getattr(self, name)
            setattr(self, name, torch.from_numpy(np.array(values)).to(old.device, old.dtype))
        self._matrix = None

    def matrix(self) -> csr_matrix:
        """The same as a scipy matrix, in the CPU's memory."""
        if self._matrix is None:
            parts = (getattr(self, name).cpu().numpy() for name in ("value", "column", "begin"))
            self._matrix = csr_matrix(tuple(parts), self.shape)
        return self._matrix

    def _load_from_state_dict(self, state_dict, prefix, *arguments) -> None:
        for name in ("column", "value"):
            if (found := state_dict.get(prefix + name)) is not None:
                setattr(self, name, getattr(self, name).new_empty(found.shape))
        self._matrix = None
        super()._load_from_state_dict(state_dict, prefix, *arguments)
