"""From histories to the best items: the trained network, its item table, and what scores depend on besides.

The definitions are those of training and evaluation (sear.model). B users, L history length, D width of a user vector,
V items incl. padding id 0, C candidates, P pairs of a user and an item.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sear.model.network import SEARNetwork
from sear.model.stacked_streams import StackedStreams
from sear.model.text_match import TextMatch
from sear.recommend.top_items import best_items
from sear.runs.model_folder import PRIOR, TEXT_MATCH, TrainedModel, UserHistories

if TYPE_CHECKING:
    from sear.model.transition_prior import TransitionPrior

ENCODED_EVENTS = 8192  # encoded at once, as in the evaluation
FEW_EVENTS = 512  # up to so many, padding included, the streams are faster together
CHUNK_BYTES = 32 << 20  # of scores that exist at a time
HERE = {"mamba_kernel": "auto", "text_init": False}  # in place of the run's own: the device may be another


@dataclass
class Selection:
    """What may be recommended. Item numbers; `allowed` rising, None = every item."""

    k: int
    filter_seen: bool = True
    allowed: np.ndarray | None = None
    excluded: np.ndarray | None = None


class Scorer:
    """Scores as the evaluation makes them.

    Attributes:
        table_VD: the items as they are scored.
        length: MAX_ITEM_LIST_LENGTH, how many of a history's last events the network sees.
    """

    def __init__(self, model: TrainedModel, device: torch.device):
        settings = model.settings | HERE | {"device": device}
        weights = {name: tensor.to(device) for name, tensor in model.weights.items()}
        prior = {name.removeprefix(PRIOR): weights.pop(name) for name in list(weights) if name.startswith(PRIOR)}
        match = {
            name.removeprefix(TEXT_MATCH): weights.pop(name) for name in list(weights) if name.startswith(TEXT_MATCH)
        }
        text_match = TextMatch(match, settings["text_match_half_life"]) if match else None
        text_Vd = None if model.projected_text is None else model.projected_text.to(device)
        items = len(model.item_ids) + 1
        self.network = SEARNetwork.trained(settings, items, weights, text_Vd, text_match)
        self.device, self.length = device, settings["MAX_ITEM_LIST_LENGTH"]
        self.prior = _prior(prior, items, settings["transition_half_life"]) if prior and prior["mix"][0] else None
        self.renew_table()

    @cached_property
    def stacked(self) -> StackedStreams:
        """The network for few events at a time."""
        return StackedStreams(self.network)

    @torch.no_grad()
    def renew_table(self) -> None:
        """Make the table anew, after the network's items have changed."""
        self.table_VD = self.network.item_table().contiguous()

    @property
    def learned_VD(self) -> Tensor:
        """The table without what is added for texts like the history's."""
        match = self.network.text_match
        return self.table_VD if match is None else self.table_VD[:, : -match.item_VR.shape[1]]

    @torch.no_grad()
    def user_vectors(self, histories: UserHistories) -> Tensor:
        """(B, D), as they are scored; every history has an event."""
        length_B = np.minimum(np.diff(histories.offsets), self.length)
        order = np.argsort(length_B, kind="stable")
        groups = np.cumsum(length_B[order]) // ENCODED_EVENTS
        parts = []
        for rows in np.split(order, np.flatnonzero(np.diff(groups)) + 1):
            item_BL, rating_BL = self.padded(histories, rows)
            last_B = torch.from_numpy(np.arange(len(rows)) * item_BL.shape[1] + length_B[rows] - 1).to(self.device)
            if item_BL.numel() <= FEW_EVENTS:
                parts.append(self.stacked.users(item_BL, rating_BL, last_B))
            else:
                parts.append(self.network.scored_users(self.network(item_BL, rating_BL, last_B)))
        vectors = torch.cat(parts)
        users_BD = torch.empty_like(vectors)
        users_BD[torch.from_numpy(order).to(self.device)] = vectors
        return users_BD

    def padded(self, histories: UserHistories, rows: np.ndarray | slice = slice(None)) -> tuple[Tensor, Tensor]:
        """The last events of these rows as the network reads them: items and ratings (B, L), 0 after a row's end."""
        end_B = histories.offsets[1:][rows]
        length_B = np.minimum(end_B - histories.offsets[:-1][rows], self.length)
        step_L = np.arange(length_B.max(initial=1))
        real_BL = step_L < length_B[:, None]
        at_BL = np.where(real_BL, (end_B - length_B)[:, None] + step_L, 0)
        item_BL = np.where(real_BL, histories.item[at_BL], 0).astype(np.int64)
        rating_BL = np.where(real_BL, histories.rating[at_BL], np.float32(0))
        return torch.from_numpy(item_BL).to(self.device), torch.from_numpy(rating_BL).to(self.device)

    @torch.no_grad()
    def best(self, user_BD: Tensor, histories: UserHistories, selection: Selection) -> tuple[np.ndarray, np.ndarray]:
        """Scores and item numbers (B, k) of the best items, -inf where nothing is left.

        Args:
            user_BD: as `user_vectors` gives them.
            histories: whole ones, of the same users.
        """
        allowed, column_V = selection.allowed, None
        if allowed is not None:
            column_V = np.full(len(self.table_VD), -1)
            column_V[allowed] = np.arange(len(allowed))
        found = []
        for chunk in self._chunks(len(user_BD), len(self.table_VD) if allowed is None else len(allowed)):
            part = _part(histories, chunk)
            row_P, item_P = _met(part)
            score_BC = self._scores(user_BD[chunk], part, row_P, item_P, column_V)
            if allowed is None:
                score_BC[:, 0] = -torch.inf
            if selection.excluded is not None:
                score_BC[:, self._columns(selection.excluded, column_V)[0]] = -torch.inf
            if selection.filter_seen:
                self._change(score_BC, row_P, item_P, column_V, -torch.inf)
            found.append(best_items(score_BC, min(selection.k, score_BC.shape[1])))
        score_Bk, column_Bk = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return score_Bk, column_Bk if allowed is None else allowed[column_Bk]

    @torch.no_grad()
    def scores(self, user_BD: Tensor, histories: UserHistories) -> Tensor:
        """(B, V): every item's score, the padding's included; arguments as for `best`."""
        return self._scores(user_BD, histories, *_met(histories), None)

    @staticmethod
    def _chunks(users: int, columns: int) -> Iterator[slice]:
        rows = max(1, CHUNK_BYTES // (4 * columns))
        return (slice(first, min(first + rows, users)) for first in range(0, users, rows))

    def _scores(
        self,
        user_BD: Tensor,
        part: UserHistories,
        row_P: np.ndarray,
        item_P: np.ndarray,
        column_V: np.ndarray | None,
    ) -> Tensor:
        """(B, C): product, repeat bias and transition prior; column_V: the column of each item, -1 = none."""
        there_C = None if column_V is None else torch.from_numpy(np.flatnonzero(column_V >= 0)).to(self.device)
        score_BC = user_BD @ (self.table_VD if there_C is None else self.table_VD[there_C]).T
        if self.network.repeat_bias is not None:
            self._change(score_BC, row_P, item_P, column_V, self.network.repeat_bias)
        if self.prior is not None:
            item_BL, counted = self.padded(part)[0], self.prior.rules.shape[0]
            share_BV = self.prior.shares(item_BL.masked_fill_(item_BL >= counted, 0))  # of new items nothing is counted
            share_BV = torch.nn.functional.pad(share_BV, (0, len(self.table_VD) - counted))
            score_BC = self.prior.mixed_with(score_BC, share_BV if there_C is None else share_BV[:, there_C])
        return score_BC

    def _change(
        self, score_BC: Tensor, row_P: np.ndarray, item_P: np.ndarray, column_V: np.ndarray | None, by: Tensor | float
    ) -> None:
        """Add a number to the scores of pairs of a user and an item, in place; once, however often a pair comes."""
        column_P, there = self._columns(item_P, column_V)
        score_BC[torch.from_numpy(row_P[there]).to(self.device), column_P] += by  # reads, adds, then writes

    def _columns(self, item_P: np.ndarray, column_V: np.ndarray | None) -> tuple[Tensor, np.ndarray]:
        """The columns of these items, those without one left out; and which have one."""
        columns = item_P if column_V is None else column_V[item_P]
        there = columns >= 0
        return torch.from_numpy(columns[there].astype(np.int64)).to(self.device), there


def _prior(weights: dict[str, Tensor], items: int, half_life: float) -> "TransitionPrior":
    from sear.model.transition_prior import TransitionPrior  # here, because it imports scipy

    prior = TransitionPrior(items, half_life)
    prior.load_state_dict(weights)
    return prior.to(weights["mix"].device)


def _part(histories: UserHistories, chunk: slice) -> UserHistories:
    offsets = histories.offsets[chunk.start : chunk.stop + 1]
    events = slice(offsets[0], offsets[-1])
    return UserHistories([], offsets - offsets[0], histories.item[events], histories.rating[events])


def _met(part: UserHistories) -> tuple[np.ndarray, np.ndarray]:
    """int64 (P,) each: rows and items of all events of the whole history; a pair may come twice."""
    return np.repeat(np.arange(len(part.offsets) - 1), np.diff(part.offsets)), part.item.astype(np.int64)
