"""One run as the report sees it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sear.evaluation.metrics import metrics_by_row
from sear.runs.record import RunRecord


@dataclass
class Run:
    """One finished run.

    Attributes:
        record: its metrics.json.
        ranks: int (cases,), each target's rank, in the order of user, then target.
        masked_ranks: likewise with seen items filtered; None where not asked for.
        from_ranks: the test metrics that metrics.json lacks, worked out of the ranks, see `with_same_metrics`.
        cases: DataFrame of str `user, target`, so ordered; None in a frozen run.
        cases_hash: equal for two runs exactly when they hold the same cases.
        settings: its config.yaml; empty in a frozen run.
        variant: how it differs from the other runs of its model, "" where it does not, see `name_variants`.
        history: its history.csv; None where there is none.
        examples: its examples.json, see sear/report/examples.py.
    """

    folder: Path
    record: RunRecord
    ranks: np.ndarray
    cases: pd.DataFrame | None
    cases_hash: str
    settings: dict = field(default_factory=dict)
    variant: str = ""
    history: pd.DataFrame | None = None
    examples: list[dict] = field(default_factory=list)
    masked_ranks: np.ndarray | None = None
    from_ranks: tuple[str, ...] = ()

    @property
    def dataset(self) -> str:
        return self.record.dataset

    @property
    def model(self) -> str:
        return self.record.model

    @property
    def seed(self) -> int:
        return self.record.seed

    @property
    def valid_metric(self) -> str:
        """What chose the best epoch, such as mrr@10."""
        return (self.record.valid_metric or self.settings["valid_metric"]).lower()

    @property
    def ablate(self) -> str:
        """The part taken out, "" for none; several are joined by +."""
        found = self.record.ablate or self.settings.get("ablate") or ""
        return found if isinstance(found, str) else "+".join(found)

    @property
    def label(self) -> str:
        """What the run's row is called in every table."""
        without = f" without {self.ablate.replace('_', ' ')}" if self.ablate else ""
        return f"{self.model}{without}{f' ({self.variant})' if self.variant else ''}"

    def by_case(self, metric: str) -> np.ndarray:
        """float (cases,): a metric such as ndcg@10 of each test case."""
        name, _, k = metric.partition("@")
        return metrics_by_row(self.ranks, [name], [int(k)])[metric]


def with_same_metrics(runs: Sequence[Run]) -> list[Run]:
    """The runs, each with every test metric that half of them or more were asked for: the ranks hold them all.

    Where no metric is so common, those that most runs were asked for.
    """
    asked = Counter(name for run in runs for name in run.record.test)
    enough = min(len(runs) / 2, max(asked.values()))
    wanted = [name for name, count in asked.items() if count >= enough]
    found = []
    for run in runs:
        lacking = tuple(name for name in wanted if name not in run.record.test)
        record = replace(run.record, test=_metrics(run, run.record.test, wanted))
        if run.masked_ranks is not None and record.test_history_masked is not None:
            masked = replace(run, ranks=run.masked_ranks)
            record.test_history_masked = _metrics(masked, record.test_history_masked, wanted)
        found.append(replace(run, record=record, from_ranks=lacking))
    return found


def _metrics(run: Run, told: Mapping[str, float], wanted: Sequence[str]) -> dict[str, float]:
    return {name: told[name] if name in told else float(run.by_case(name).mean()) for name in wanted}
