"""A process's share of a batch: some of its rows, and what has to be drawn for all of them alike.

Several processes that each compute a share make the step that one process makes of the whole batch. So whatever is
drawn at random for a row must follow from its place in the whole batch. B rows of the whole batch, R of the share, L
the events of the share's longest row, W those of the batch's, M hidden size, T tokens, P positions that carry loss.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch


@dataclass
class Share:
    """Which rows of a batch this process computes, and what it has to know of the others.

    Attributes:
        place_R: int64, the share's rows by their places in the whole batch.
        length_B: int64, the events of every row.
        loss_count_B: int64, how many positions of every row carry loss.
        width: W, to which one process would pad the batch.
        random: gives every process the same numbers, those that one process would draw.
        whole: gives the Interaction of the whole batch, on the CPU, for what depends on every row of it.
        idle: the batch has too few rows; to take part, the process computes one of another's, without weight.
        weight: the share's part in the mean over the batch's positions that carry loss.
    """

    place_R: np.ndarray
    length_B: np.ndarray
    loss_count_B: np.ndarray
    width: int
    random: torch.Generator
    whole: Callable[[], Any]
    idle: bool = False
    weight: float = field(init=False)

    def __post_init__(self):
        self.weigh(int(self.loss_count_B[self.place_R].sum()), int(self.loss_count_B.sum()))

    def weigh(self, own: int, whole: int) -> None:
        """Set the weight, where other positions carry loss than those of the rows: the share's, and the batch's."""
        self.weight = 0.0 if self.idle else own / whole

    def rows(self, copies: int) -> np.ndarray:
        """int64 (copies · R,): the share's rows in the whole batch, where all its rows stand so often one after
        another."""
        return (np.arange(copies)[:, None] * len(self.length_B) + self.place_R).ravel()

    def token_numbers(self, shape: torch.Size) -> np.ndarray | None:
        """uint32 (T,): which numbers the tokens of a tensor (R, L, M) or (P, M) have in the whole batch.

        None for a tensor of another shape, whose tokens nobody knows.
        """
        if len(shape) == 3 and shape[0] == len(self.place_R):
            return (self.place_R[:, None] * self.width + np.arange(shape[1])).astype(np.uint32).ravel()
        if len(shape) == 2 and shape[0] == len(self._position_numbers):
            return self._position_numbers
        return None

    @cached_property
    def _position_numbers(self) -> np.ndarray:
        """uint32 (P,): the positions that carry loss, counted over those of the whole batch."""
        first_B = np.cumsum(self.loss_count_B) - self.loss_count_B
        count_R = self.loss_count_B[self.place_R]
        own = np.arange(count_R.sum()) - np.repeat(np.cumsum(count_R) - count_R, count_R)
        return (np.repeat(first_B[self.place_R], count_R) + own).astype(np.uint32)


_current: Share | None = None


def current() -> Share | None:
    """The share that is being computed; None where a batch is computed whole."""
    return _current


@contextmanager
def computing(share: Share | None) -> Iterator[None]:
    """In the block, what is drawn at random is drawn for this share."""
    global _current
    before, _current = _current, share
    try:
        yield
    finally:
        _current = before
