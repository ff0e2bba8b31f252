"""Ranks -> one row of metrics per test case -> overall means and groups (SEAR's method: Protocol).

Pure functions: arrays in, plain Python out.
"""

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from sear.errors import InputError
from sear.files import DAY
from sear.recbole_compat import restore_old_names


def metrics_by_row(
    ranks: np.ndarray, metrics: Iterable[str] = ("Hit", "NDCG", "MRR"), topk: int | Sequence[int] = (10,)
) -> dict[str, np.ndarray]:
    """`{"hit@10": float64 (n,), …}` in the order metrics × topk: RecBole's metrics for one target item per case.

    Args:
        ranks: int (n,), 1 = first.
        metrics: any of RecBole's top-k metrics that judge a list by itself: Hit, NDCG, MRR, Recall, Precision, MAP.

    Raises:
        InputError: for a metric that is none of these, or a cut-off that is no positive number.

    >>> metrics_by_row(np.array([1, 2, 11]), ["MRR"])["mrr@10"].tolist()
    [1.0, 0.5, 0.0]
    """
    ranks = np.asarray(ranks)
    assert ranks.ndim == 1 and (not len(ranks) or ranks.min() >= 1), "ranks count from 1"
    topk = [topk] if isinstance(topk, int) else list(topk)
    if not topk or any(not isinstance(k, int) or k < 1 for k in topk):
        raise InputError(f"topk is {topk} - give one or more whole numbers from 1")
    deepest = max(topk)
    by_rank = {name.lower(): _values_by_rank(name.lower(), deepest) for name in metrics}
    row_of_rank = np.minimum(ranks, deepest + 1) - 1
    return {f"{name}@{k}": values[row_of_rank, k - 1] for name, values in by_rank.items() for k in topk}


@lru_cache
def _values_by_rank(name: str, deepest: int) -> np.ndarray:
    """float64 (deepest + 1, deepest): row r holds the metric at 1..deepest for rank r + 1, the last row for a miss.

    With one target a case is its rank, so RecBole's metric need judge only these lists instead of one per case.
    """
    from recbole.evaluator import TopkMetric, metrics_dict

    judged = {key: kind for key, kind in metrics_dict.items() if issubclass(kind, TopkMetric)}
    judged = {key: kind for key, kind in judged.items() if kind.metric_need == ["rec.topk"]}
    if name not in judged:
        raise InputError(f"metrics: {name} is no metric of one ranked target - choose from {', '.join(judged)}")
    restore_old_names()
    metric = judged[name]({"metric_decimal_place": None, "topk": [deepest]})
    lists = {"pos_index": np.eye(deepest + 1, deepest, dtype=bool), "pos_len": np.ones(deepest + 1, dtype=np.int64)}
    asked = inspect.signature(metric.metric_info).parameters  # Hit, MRR and Precision do not ask for the positives
    return np.asarray(metric.metric_info(**{key: lists[key] for key in asked}), dtype=np.float64)


def summarise(rows: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """Each metric's mean over the cases, None without cases. Exact sums: the order of the cases does not matter.

    >>> summarise({"hit@10": np.array([1.0, 0.0, 0.0, 1.0])})
    {'hit@10': 0.5}
    """
    return {name: math.fsum(values) / len(values) if len(values) else None for name, values in rows.items()}


def grouped(rows: Mapping[str, np.ndarray], values: np.ndarray, edges: Sequence[int]) -> list[dict]:
    """`[{"group": "[0,5)", "cases": 2, "hit@10": 0.5, …}, …]`: the means of the cases whose value lies in each group.

    Args:
        values: (n,), what the cases are grouped by; a case below edges[0] is in no group.
        edges: each group's lower end; the last group is open: "[20,∞)".

    Raises:
        InputError: edges do not rise.
    """
    if not len(edges) or any(low >= high for low, high in zip(edges[:-1], edges[1:], strict=True)):
        raise InputError(f"groups {list(edges)} - give lower ends that rise, such as [0, 5, 10]")
    group_of_case = np.searchsorted(edges, np.asarray(values), side="right") - 1
    ends = [*map(str, edges[1:]), "∞"]
    groups = []
    for number, (low, high) in enumerate(zip(edges, ends, strict=True)):
        chosen = group_of_case == number
        means = summarise({name: row[chosen] for name, row in rows.items()})
        groups.append({"group": f"[{low},{high})", "cases": int(chosen.sum()), **means})
    return groups


def metrics_table(cases: int, metrics: Mapping[str, Mapping[str, float | None] | None]) -> str:
    """A line for each set of metrics, such as `{"test": {...}, "seen items filtered": {...}}`; None is skipped."""
    lines = [{"": title, "cases": cases, **means} for title, means in metrics.items() if means is not None]
    return _table(lines)


def groups_table(title: str, groups: Sequence[Mapping]) -> str:
    """The groups of `grouped` that hold a case, for the terminal, under the name of what they are grouped by."""
    found = [{title: group["group"]} | {key: group[key] for key in group if key != "group"} for group in groups]
    return _table([line for line in found if line["cases"]] or found)


def _table(lines: list[dict]) -> str:
    from tabulate import tabulate

    texts = [[_text(value) for value in line.values()] for line in lines]
    align = ["left"] + ["right"] * (len(lines[0]) - 1)
    return tabulate(texts, headers=list(lines[0]), tablefmt="simple", colalign=align, disable_numparse=True)


def _text(value: str | int | float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


GROUPS = {  # -> column of the cases
    "history_length": "history_length",
    "item_popularity": "target_training_count",
    "days_since_last": "days_since_last",
}
YEAR = 365  # days


def case_rows(part, ranks: np.ndarray, masked_ranks: np.ndarray | None) -> dict[str, np.ndarray]:
    """The columns of cases.csv.gz; `part` is the SEARDataset that was tested."""
    user, target = part.rows.user, part.rows.start + part.rows.length
    item = part.events.item[target]
    cases = {
        "user": part.field2id_token[part.uid_field][user + 1],
        "target": part.field2id_token[part.iid_field][item],
        "rank": ranks,
        "history_length": target - part.events.offsets[user],
        "target_training_count": part.training_item_counts[item],
    }
    day, day_before = (np.floor(part.events.time[event] / DAY) for event in (target, target - 1))
    if len(day) and day.max() >= YEAR * 3:  # else the times are a mere order, such as the numbers of a file's lines
        cases["days_since_last"] = (day - day_before).astype(np.int64)
    return cases if masked_ranks is None else cases | {"rank_history_masked": masked_ranks}


def metrics_of_cases(cases: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The test metrics of metrics.json, from the ranks alone."""
    asked = settings["metrics"], settings["topk"]
    rows = metrics_by_row(cases["rank"], *asked)
    masked = cases.get("rank_history_masked")
    metrics: dict[str, Any] = {
        "test": summarise(rows),
        "test_history_masked": None if masked is None else summarise(metrics_by_row(masked, *asked)),
    }
    for group, column in GROUPS.items():
        values = cases.get(column)
        metrics[f"test_by_{group}"] = None if values is None else grouped(rows, values, settings[f"{group}_groups"])
    return metrics


def metric_tables(cases: int, metrics: Mapping[str, Any]) -> Sequence[str]:
    """The test metrics as tables for the terminal."""
    titles = {"test": metrics["test"], "seen items filtered": metrics["test_history_masked"]}
    groups = {
        "history length": metrics["test_by_history_length"],
        "target's training events": metrics["test_by_item_popularity"],
        "days since the event before": metrics["test_by_days_since_last"],
    }
    return (
        metrics_table(cases, titles),
        *(groups_table(title, found) for title, found in groups.items() if found is not None),
    )
