"""Runs that differ only in their seed make one row of a table: means, deviations and tests of significance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sear.evaluation.significance import Comparison, compare, holm
from sear.report.run import Run


@dataclass
class Row:
    """The runs of one model (or ablation, or variant) on one data set, one per seed.

    Attributes:
        alone: whether its model has no row with the settings of the YAML files for it to be a variant of.
    """

    runs: list[Run]
    alone: bool = False

    def __post_init__(self):
        first = self.runs[0]
        self.dataset, self.label, self.model = first.dataset, first.label, first.model
        self.ablate, self.variant = first.ablate, first.variant

    @property
    def whole(self) -> bool:
        """Neither an ablation nor a variant of a row beside it."""
        return not self.ablate and (self.alone or not self.variant)

    @property
    def baseline(self) -> bool:
        """A model of others, to be measured against."""
        class_name = self.runs[0].record.class_name
        return self.whole and (class_name != "SEAR" if class_name else not self.model.startswith("SEAR"))

    def values(self, *path: str) -> np.ndarray:
        """float (seeds,): a number of metrics.json, such as `values("test", "hit@10")`; NaN where it is missing."""
        field, *keys = path
        found = []
        for run in self.runs:
            value = getattr(run.record, field)
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            found.append(np.nan if value is None else value)
        return np.array(found, dtype=np.float64)

    @property
    def masked(self) -> "Row | None":
        """The runs that were also ranked with seen items filtered, by those ranks alone; None without any."""
        runs = [
            replace(run, ranks=run.masked_ranks, record=replace(run.record, test=run.record.test_history_masked or {}))
            for run in self.runs
            if run.masked_ranks is not None
        ]
        return Row(runs, self.alone) if runs else None

    def by_case(self, metric: str) -> np.ndarray:
        """float (cases,): each test case's metric, averaged over the seeds."""
        return np.mean([run.by_case(metric) for run in self.runs], axis=0)


def mean(values: np.ndarray) -> float:
    return float(np.mean(values))


def deviation(values: np.ndarray) -> float:
    """Standard deviation over seeds (ddof 1); NaN for a single seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def seeds_above(row: Row, reference: Row, metric: str) -> tuple[int, int]:
    """In how many of the seeds that both have a test metric of the row is higher, and how many these are."""
    values, others = (
        dict(zip([run.seed for run in each.runs], each.values("test", metric), strict=True))
        for each in (row, reference)
    )
    common = [seed for seed in values.keys() & others.keys() if not np.isnan(values[seed] + others[seed])]
    return sum(bool(values[seed] > others[seed]) for seed in common), len(common)


def rows_of(runs: Sequence[Run]) -> list[Row]:
    """A row for each data set and label, best first within a data set (by the main metric)."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.dataset, run.label), []).append(run)
    plain = {(run.dataset, run.model) for run in runs if not run.ablate and not run.variant}
    rows = [Row(group, (group[0].dataset, group[0].model) not in plain) for group in groups.values()]
    main = main_metric(metrics_of(runs))
    return sorted(rows, key=lambda row: (row.dataset, -mean(row.values("test", main))))


def metrics_of(runs: Sequence[Run]) -> list[str]:
    """The test metrics that all runs have, see `with_same_metrics`, in the order of the first run."""
    return [name for name in runs[0].record.test if all(name in run.record.test for run in runs)]


def main_metric(metrics: Sequence[str]) -> str:
    """The metric that figures show and rows are sorted by."""
    return "ndcg@10" if "ndcg@10" in metrics else metrics[0]


def find_reference(rows: Sequence[Row], wanted: str | None = None) -> Row:
    """The row that the others on its data set are tested against: the one asked for, else SEAR, else the best.

    The one asked for need not be there: a report may have data sets that it was not run on.
    """
    asked = next((row for row in rows if row.label == wanted), None)
    whole = [row for row in rows if row.whole] or list(rows)
    return asked or next((row for row in whole if row.model == "SEAR"), whole[0])


@dataclass(frozen=True)
class CorrectedTest:
    """A comparison with its p-values after Holm's correction over the rows compared on one metric."""

    comparison: Comparison
    t_p: float
    wilcoxon_p: float

    @property
    def mark(self) -> str:
        """‡ or † where both tests stay below 0.01 or 0.05 after correction."""
        worst = max(self.t_p, self.wilcoxon_p)
        return "‡" if worst < 0.01 else "†" if worst < 0.05 else ""


Tests = Mapping[tuple[str, str], CorrectedTest]  # by label and metric


def compare_rows(rows: Sequence[Row], reference: Row, metrics: Sequence[str]) -> Tests:
    """(label, metric) -> every row of the reference's data set against the reference; none on a single test case."""
    others = [row for row in rows if row is not reference and len(reference.runs[0].ranks) > 1]
    tested = {}
    for metric in metrics:
        base = reference.by_case(metric)
        found = [compare(row.by_case(metric), base) for row in others]
        corrected = zip(holm([c.t_p for c in found]), holm([c.wilcoxon_p for c in found]), strict=True)
        for row, comparison, (t_p, wilcoxon_p) in zip(others, found, corrected, strict=True):
            tested[row.label, metric] = CorrectedTest(comparison, float(t_p), float(wilcoxon_p))
    return tested
