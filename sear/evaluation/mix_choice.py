"""Which weights of what is mixed into a model's scores rank a part's targets best: all of a small grid are tried.

B cases, V items incl. padding id 0.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction

from sear.evaluation.ranks import ranks_from_scores

SCORES = 1 << 25  # of all items for some cases at a time, in each of the few tables that are compared
Mix = tuple[float, float]  # weight, floor
Score = Callable[[np.ndarray, np.ndarray | None], float]


@torch.no_grad()
def choose_mix(
    model,
    eval_data,
    to_device: Callable[[Interaction], Interaction],
    batch: int,
    grid: tuple[Iterable[float], Iterable[float]],
    score: Score,
    filters: bool,
) -> tuple[Mix, dict[Mix, float]]:
    """The best pair and the score of every one; of equal ones the first, which has the smallest weight.

    The model encodes each case once; its `transition_prior` is left as it was.

    Args:
        grid: weights and floors; with weight 0 the floor does nothing, and it is tried once.
        score: makes one number of all ranks and, with `filters`, those with seen items filtered.
    """
    model.eval()
    weights, floors = (sorted(set(part)) for part in grid)
    pairs = [(w, f) for w, f in product(weights, floors) if w or f == floors[0]]
    prior = model.transition_prior
    before = prior.mix.clone()
    prior.mix[0] = 0

    def mixed(interaction: Interaction) -> Iterator[tuple[Mix, torch.Tensor]]:
        score_BV, share_BV = model.full_sort_predict(interaction), prior.shares(interaction[model.ITEM_SEQ])
        for weight, floor in pairs:
            said_BV = torch.log1p(share_BV / floor).to(score_BV.dtype)
            yield (weight, floor), score_BV.add(said_BV, alpha=weight)

    scores = _scores(model, mixed, eval_data, to_device, batch, score, filters)
    prior.mix.copy_(before)
    return max(pairs, key=scores.__getitem__), scores


@torch.no_grad()
def choose_weight(
    model,
    said: Callable[[Interaction], torch.Tensor],
    eval_data,
    to_device: Callable[[Interaction], Interaction],
    batch: int,
    weights: Iterable[float],
    score: Score,
    filters: bool,
) -> tuple[float, dict[float, float]]:
    """The best weight of what is added to a model's scores, and the score of every weight; of equal ones the smallest.

    Args:
        model: its transition prior, if any, is in its scores.
        said: gives float (B, V), what is to be added with each of the weights.
        score, filters: as for `choose_mix`.
    """
    model.eval()
    weights = sorted(set(weights))

    def mixed(interaction: Interaction) -> Iterator[tuple[float, torch.Tensor]]:
        score_BV, said_BV = model.full_sort_predict(interaction), said(interaction)
        for weight in weights:
            yield weight, score_BV.add(said_BV, alpha=weight)

    scores = _scores(model, mixed, eval_data, to_device, batch, score, filters)
    return max(weights, key=scores.__getitem__), scores


def _scores(
    model,
    mixed: Callable[[Interaction], Iterable[tuple[Any, torch.Tensor]]],
    eval_data,
    to_device: Callable[[Interaction], Interaction],
    batch: int,
    score: Score,
    filters: bool,
) -> dict[Any, float]:
    """The score of each way to mix; `mixed` gives all of them, with their (B, V), for some cases."""
    dataset, ranks = eval_data._dataset, defaultdict(list)
    batch = max(1, min(batch, SCORES // model.n_items))
    for start in range(0, len(dataset), batch):
        index = np.arange(start, min(start + batch, len(dataset)))
        history = dataset.full_history(index) if filters else None
        for way, mixed_BV in mixed(to_device(eval_data.collate_fn(index)[0])):
            ranks[way].append(ranks_from_scores(mixed_BV, dataset.targets(index), history))
    return {way: score(*_joined(parts)) for way, parts in ranks.items()}


def _joined(parts: list) -> tuple[np.ndarray, np.ndarray | None]:
    kept, filtered = zip(*parts, strict=True)
    return np.concatenate(kept), None if filtered[0] is None else np.concatenate(filtered)
