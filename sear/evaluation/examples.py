"""A few test cases one can read: what the user rated last, what came next, and what a model put first.

examples.json in a run folder: [{"user": "12", "history": [{"title": "Alien (1979)", "rating": 5.0}, …],
"target": "Aliens (1986)", "rank": 3, "top": ["The Terminator (1984)", …]}, …]; the last event of a history comes last,
a rating that is missing is null, rank 1 is first.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch

EXAMPLES = 12
HISTORY_SHOWN = 8
TOP_SHOWN = 5


@torch.no_grad()
def run_examples(model, test_data, ranks: np.ndarray, titles: list[str]) -> list[dict]:
    """What examples.json holds ; the cases are the same for every model on a data set."""
    part = test_data._dataset
    chosen = example_cases(len(part))
    interaction = test_data.collate_fn(chosen)[0].to(model.device)
    scores_CV = model.full_sort_predict(interaction).reshape(len(chosen), -1).clone()
    scores_CV[:, 0] = -torch.inf
    top_CV = scores_CV.sort(dim=1, descending=True, stable=True).indices  # the lower id first, as in ranks
    item_H, first_C, end_C = part.full_history(chosen)
    events = [slice(first, end) for first, end in zip(first_C.tolist(), end_C.tolist(), strict=True)]
    return examples(
        users=part.field2id_token[part.uid_field][part.rows.user[chosen] + 1],
        histories=[item_H[event].tolist() for event in events],
        ratings=[part.events.rating[event].tolist() for event in events],
        targets=item_H[end_C].tolist(),
        ranks=ranks[chosen],
        tops=top_CV[:, :TOP_SHOWN].tolist(),
        titles=titles,
    )


def example_cases(case_count: int, count: int = EXAMPLES) -> np.ndarray:
    """int (up to `count`,): test cases spread evenly over all, the same ones for every model on a data set."""
    return np.unique(np.linspace(0, case_count - 1, min(count, case_count)).round().astype(np.int64))


def examples(
    users: Sequence[str],
    histories: Sequence[Sequence[int]],
    ratings: Sequence[Sequence[float]],
    targets: Sequence[int],
    ranks: Sequence[int],
    tops: Sequence[Sequence[int]],
    titles: Sequence[str],
) -> list[dict]:
    """The list that examples.json holds, one entry per case; all arguments but the last have one element per case.

    Args:
        users: the data set's own ids.
        histories: item ids in time order, of which the last HISTORY_SHOWN are kept.
        ratings: one per item of the history, NaN = none.
        tops: item ids, best first, of which the first TOP_SHOWN are kept.
        titles: (V,), by item id.
    """
    found = []
    for user, history, stars, target, rank, top in zip(users, histories, ratings, targets, ranks, tops, strict=True):
        assert len(history) == len(stars), "one rating per event"
        events = list(zip(history, stars, strict=True))[-HISTORY_SHOWN:]
        found.append(
            {
                "user": str(user),
                "history": [{"title": titles[int(item)], "rating": _number(rating)} for item, rating in events],
                "target": titles[int(target)],
                "rank": int(rank),
                "top": [titles[int(item)] for item in top[:TOP_SHOWN]],
            }
        )
    return found


def _number(rating: float) -> float | None:
    return None if math.isnan(rating) else float(rating)
