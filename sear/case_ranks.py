"""The ranks of all cases of an evaluation, by any model: rows cut out, encoded and ranked, one batch at a time.

B rows of a batch, D vector width.
"""

from collections.abc import Callable

import numpy as np
import torch
from recbole.data.interaction import Interaction
from tqdm import tqdm

from sear.ranking import ranks_from_scores, target_ranks

ENCODED_EVENTS = 8192  # encoded at once: enough for full-speed products, small enough for the caches
Move = Callable[[Interaction], Interaction]


@torch.no_grad()
def case_ranks(
    model, eval_data, to_device: Move, batch: int, mask_history: bool, show_progress: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """Each target's rank among all items and, with `mask_history`, among those not in the user's full earlier history.

    Args:
        model: with `user_vectors` and `item_table` no score outlives its chunk; else `full_sort_predict` is asked.
        eval_data: a RecBole loader over the validation or test part of a SEARDataset.
        to_device: brings a batch to where the model is.
        batch: cases at a time.

    Returns:
        Two int64 arrays (cases,), in row order; None for the second without `mask_history`.
    """
    model.eval()
    dataset = eval_data._dataset
    parts = []
    for start in tqdm(
        range(0, len(dataset), batch), desc="evaluate", disable=None if show_progress else True, leave=False
    ):
        index = np.arange(start, min(start + batch, len(dataset)))
        history = dataset.full_history(index) if mask_history else None
        if hasattr(model, "user_vectors"):
            users = _user_vectors(model, eval_data, index, to_device)
            parts.append(target_ranks(users, model.item_table(), dataset.targets(index), history))
        else:
            scores = model.full_sort_predict(to_device(eval_data.collate_fn(index)[0]))
            parts.append(ranks_from_scores(scores, dataset.targets(index), history))
    ranks, masked = zip(*parts, strict=True)
    return np.concatenate(ranks), np.concatenate(masked) if mask_history else None


def _user_vectors(model, eval_data, index: np.ndarray, to_device: Move) -> torch.Tensor:
    """(B, D) of the rows `index`, encoded a few at a time with rows of similar length: little is padded."""
    lengths = eval_data._dataset.rows.length[index]
    order = np.argsort(lengths, kind="stable")
    groups = np.cumsum(lengths[order]) // ENCODED_EVENTS
    parts = np.split(order, np.flatnonzero(np.diff(groups)) + 1)
    vectors = torch.cat([model.user_vectors(to_device(eval_data.collate_fn(index[part])[0])) for part in parts])
    users = torch.empty_like(vectors)
    users[torch.from_numpy(order).to(vectors.device)] = vectors
    return users
