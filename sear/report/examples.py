"""A few test cases one can read: what the user rated last, what came next, and what a model put first.

examples.json in a run folder: [{"user": "12", "history": [{"title": "Alien (1979)", "rating": 5.0}, …],
"target": "Aliens (1986)", "rank": 3, "top": ["The Terminator (1984)", …]}, …]; the last event of a history comes last,
a rating that is missing is null, rank 1 is first.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sear.report.rows import Row
from sear.run_folder import write_text

EXAMPLES = 12
HISTORY_SHOWN = 8
TOP_SHOWN = 5


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


def shared_examples(rows: Sequence[Row], most: int = EXAMPLES) -> list[dict]:
    """The examples of one data set with every row's answer, of each row's first seed that has any.

    Returns:
        [{user, history, target, answers: [{label, rank, top}]}], answers in the order of the rows.
    """
    found: dict[tuple[str, str], dict] = {}
    for row in rows:
        for example in next((run.examples for run in row.runs if run.examples), []):
            case = {key: example[key] for key in ("user", "history", "target")}
            case = found.setdefault((case["user"], case["target"]), case | {"answers": []})
            case["answers"].append({"label": row.label, "rank": example["rank"], "top": example["top"]})
    return list(found.values())[:most]


def write_examples(run_folder: Path, found: Sequence[dict]) -> None:
    """examples.json of a run folder, written aside and renamed."""
    write_text(Path(run_folder) / "examples.json", json.dumps(list(found), indent=1, ensure_ascii=False) + "\n")
