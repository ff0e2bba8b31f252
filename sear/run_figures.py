"""What a run's test comes to: a row per case, the overall figures, and the groups (SEAR's method: Protocol)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sear.evaluation import figures_table, grouped, groups_table, metrics_by_row, summarise

GROUPS = {"history_length": "history_length", "item_popularity": "target_training_count"}  # -> column of the cases


def case_rows(part, ranks: np.ndarray, masked_ranks: np.ndarray | None) -> dict[str, np.ndarray]:
    """The columns of cases.csv.gz; `part` is the SEARDataset that was tested."""
    user, target = part.rows.user, part.rows.start + part.rows.length
    item = part.inter_feat[part.iid_field].numpy()[target]
    cases = {
        "user": part.field2id_token[part.uid_field][user + 1],
        "target": part.field2id_token[part.iid_field][item],
        "rank": ranks,
        "history_length": target - part.offsets[user],
        "target_training_count": part.training_item_counts[item],
    }
    return cases if masked_ranks is None else cases | {"rank_history_masked": masked_ranks}


def case_figures(cases: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The test figures of metrics.json, from the ranks alone."""
    asked = settings["metrics"], settings["topk"]
    rows = metrics_by_row(cases["rank"], *asked)
    masked = cases.get("rank_history_masked")
    figures = {
        "test": summarise(rows),
        "test_history_masked": None if masked is None else summarise(metrics_by_row(masked, *asked)),
    }
    for group, column in GROUPS.items():
        figures[f"test_by_{group}"] = grouped(rows, cases[column], settings[f"{group}_groups"])
    return figures


def tables(cases: int, figures: Mapping[str, Any]) -> Sequence[str]:
    """The figures as tables for the terminal."""
    titles = {"test": figures["test"], "history left out": figures["test_history_masked"]}
    return (
        figures_table(cases, titles),
        groups_table("history length", figures["test_by_history_length"]),
        groups_table("target's training events", figures["test_by_item_popularity"]),
    )
