"""The tables of a report: quality, ablations, variants, tests of significance, cost, groups, data sets."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from sear.errors import InputError
from sear.report.rows import Row, Tests, compare_rows, deviation, main_metric, mean, seeds_above
from sear.report.tables import Entry, Table, best_in_column, p_value, percent, signed, with_deviation

GROUPS = {
    "test_by_history_length": "history length",
    "test_by_item_popularity": "item popularity",
    "test_by_days_since_last": "days since the event before",
}
ONE_SEED = "A row with one seed is tested as that one training; two seeds of one model may differ significantly, too."
NAMES = {"hit": "Hit", "ndcg": "NDCG", "mrr": "MRR", "map": "MAP", "recall": "Recall", "precision": "Precision"}


def metric_name(metric: str) -> str:
    """`ndcg@10` -> `NDCG@10`."""
    name, at, k = metric.partition("@")
    return f"{NAMES.get(name, name)}{at}{k}"


def without_note(what: str, labels: Sequence[str]) -> str:
    """What a table or figure says of the rows that are not in it: "" where all are."""
    return f" No {what}: {', '.join(labels)}." if labels else ""


def quality_table(
    name: str,
    title: str,
    rows: Sequence[Row],
    metrics: Sequence[str],
    tests: Tests,
    note: str,
    against: Row | None = None,
    validated: bool = True,
) -> Table:
    """Mean ± deviation of each test metric per row, best in bold, significance marks.

    Args:
        against: the row that the last column measures the main metric's change from; None for no such column.
        validated: whether a column tells the validation metric that chose the epochs, where one chose them all.
    """
    main = main_metric(metrics)
    columns, entries, numbers = _rows_and_seeds(rows)
    for metric in metrics:
        columns.append(metric_name(metric))
        _add_values(entries, numbers, metric, rows, ("test", metric), tests)
    if validated:
        _add_validation(columns, entries, numbers, rows)
    if against:
        base = mean(against.values("test", main))
        columns.append(f"{metric_name(main)} against {against.label}")
        numbers["change"] = numbers[main] / base - 1 if base else np.nan
        for entry, row, value in zip(entries, rows, numbers["change"], strict=True):
            entry.append(Entry("–" if row is against else percent(value)))
    return Table(name, title, columns, entries, numbers, f"{note}{_from_ranks_note(rows)}".strip())


def _rows_and_seeds(rows: Sequence[Row]) -> tuple[list[str], list[list[Entry]], pd.DataFrame]:
    """The first two columns of a table of models: heads, entries, numbers."""
    labels, seeds = [row.label for row in rows], [len(row.runs) for row in rows]
    entries = [[Entry(label), Entry(str(count))] for label, count in zip(labels, seeds, strict=True)]
    return ["model", "seeds"], entries, pd.DataFrame({"model": labels, "seeds": seeds})


def _add_values(
    entries: list[list[Entry]],
    numbers: pd.DataFrame,
    column: str,
    rows: Sequence[Row],
    path: tuple[str, str],
    tests: Tests,
) -> None:
    """A column of means ± deviations: of the number of metrics.json that `path` names."""
    values = [row.values(*path) for row in rows]
    numbers[column], numbers[f"{column}_sd"] = [*map(mean, values)], [*map(deviation, values)]
    texts = map(with_deviation, numbers[column], numbers[f"{column}_sd"])
    for entry, row, text, is_best in zip(entries, rows, texts, best_in_column(numbers[column]), strict=True):
        test = tests.get((row.label, path[1]))
        entry.append(Entry(text, is_best, test.mark if test else ""))


def _add_validation(columns: list[str], entries: list[list[Entry]], numbers: pd.DataFrame, rows: Sequence[Row]) -> None:
    """The validation metric that chose the epochs, where one chose them all."""
    chosen_by = {run.valid_metric for row in rows for run in row.runs}
    if len(chosen_by) == 1:
        (metric,) = chosen_by
        columns.append(f"validation {metric_name(metric)}")
        _add_values(entries, numbers, f"valid_{metric}", rows, ("valid", metric), {})


def protocols_table(name: str, title: str, rows: Sequence[Row], reference: Row, metrics: Sequence[str]) -> Table:
    """Seen items kept beside seen items filtered, for rows that have both; and in how many seeds a row is better.

    Args:
        metrics: of each, both protocols stand side by side; the last one is compared seed by seed.
    """
    columns, entries, numbers = _rows_and_seeds(rows)
    protocols = {"kept": list(rows), "filtered": [masked for row in rows if (masked := row.masked)]}
    assert all(len(found) == len(rows) for found in protocols.values())
    tests = {
        protocol: compare_rows(found, next(row for row in found if row.label == reference.label), metrics)
        for protocol, found in protocols.items()
    }
    for metric in metrics:
        for protocol, found in protocols.items():
            columns.append(f"{metric_name(metric)} {protocol}")
            _add_values(entries, numbers, f"{metric}_{protocol}", found, ("test", metric), tests[protocol])
    _add_validation(columns, entries, numbers, rows)
    columns.append("seeds above")  # whom, the note says: a label may be long
    at = next(place for place, row in enumerate(rows) if row is reference)
    for place, entry in enumerate(entries):
        told = []
        for protocol, found in protocols.items():
            above, pairs = seeds_above(found[place], found[at], metrics[-1])
            numbers.loc[place, [f"seeds_above_{protocol}", f"seeds_paired_{protocol}"]] = above, pairs
            told.append(f"{above} of {pairs}" if pairs else "–")
        entry.append(Entry("–" if place == at else " / ".join(dict.fromkeys(told))))
    note = f"{marks_note(rows, reference, tests['kept'])} Seeds above {reference.label}: in how many of the seeds that "
    note += f"both have {metric_name(metrics[-1])} is higher; kept / filtered where the two differ."
    return Table(name, title, columns, entries, numbers, note.strip())


def _from_ranks_note(rows: Sequence[Row]) -> str:
    """Which metrics a run was not asked for, "" where all have all."""
    lacking = {row.label: dict.fromkeys(name for run in row.runs for name in run.from_ranks) for row in rows}
    told = [f"{', '.join(map(metric_name, names))} of {label}" for label, names in lacking.items() if names]
    return f" Worked out of the ranks, which metrics.json lacks: {'; '.join(told)}." if told else ""


def marks_note(rows: Sequence[Row], reference: Row, tests: Tests) -> str:
    """What ± and the marks mean, where there are any."""
    note = "Mean ± standard deviation over seeds. " if any(len(row.runs) > 1 for row in rows) else ""
    if tests:
        note += f"† (‡): differs from {reference.label} with p < 0.05 (0.01) in both the paired t-test and "
        note += "the Wilcoxon signed-rank test over test cases, Holm-corrected. "
        if any(len(row.runs) == 1 for row in (*rows, reference)):
            note += ONE_SEED
    return note.strip()


def significance_table(name: str, title: str, rows: Sequence[Row], reference: Row, tests: Tests) -> Table:
    """Every row against the reference on every metric: effect, its 95 % interval, corrected p-values."""
    found = [(row, metric, test) for row in rows for (label, metric), test in tests.items() if label == row.label]
    entries, numbers = [], []
    for row, metric, test in found:
        c = test.comparison
        interval = f"{signed(c.low, '.4f')} to {signed(c.high, '.4f')}"
        texts = [row.label, metric_name(metric), signed(c.difference, ".4f"), interval, percent(c.relative)]
        entries.append([*map(Entry, [*texts, p_value(test.t_p), p_value(test.wilcoxon_p), test.mark])])
        numbers.append(
            {"model": row.label, "metric": metric, "cases": c.cases, "difference": c.difference, "low": c.low,
             "high": c.high, "relative": c.relative, "t_p": c.t_p, "t_p_holm": test.t_p,
             "wilcoxon_p": c.wilcoxon_p, "wilcoxon_p_holm": test.wilcoxon_p}
        )  # fmt: skip
    columns = ["model", "metric", "difference", "95 % interval", "relative", "p (t-test)", "p (Wilcoxon)", ""]
    rivals = len({row.label for row, _, _ in found})
    note = f"Model − {reference.label}, paired over the same test cases, each averaged over seeds; p-values Holm-"
    note += f"corrected over the {rivals} comparisons on a metric," if rivals > 1 else "corrected (one comparison),"
    note += " intervals each for its comparison alone."
    if any(len(row.runs) == 1 for row in (*(row for row, _, _ in found), reference)):
        note += f" {ONE_SEED}"
    return Table(name, title, columns, entries, pd.DataFrame(numbers), note, texts=2)


def cost_table(name: str, title: str, rows: Sequence[Row], metric: str) -> Table:
    """Seconds, epochs and memory beside quality, means over seeds."""
    wanted: dict[str, tuple[Callable[[Row], np.ndarray], str]] = {
        metric_name(metric): (lambda row: row.values("test", metric), ".4f"),
        "train s": (lambda row: row.values("seconds", "train"), ",.1f"),
        "test s": (lambda row: row.values("seconds", "test"), ",.2f"),
        "epochs": (lambda row: row.values("epochs"), ".1f"),
        "s per epoch": (lambda row: row.values("seconds", "train") / row.values("epochs"), ",.2f"),
        "parameters": (lambda row: row.values("parameters"), ",.0f"),
        "peak MB": (lambda row: row.values("peak_memory_mb"), ",.0f"),
    }
    numbers = pd.DataFrame({"model": [row.label for row in rows]})
    entries = [[Entry(row.label)] for row in rows]
    for column, (values, form) in wanted.items():
        numbers[column] = [mean(values(row)) for row in rows]
        for entry, value in zip(entries, numbers[column], strict=True):
            entry.append(Entry("–" if np.isnan(value) else format(value, form)))
    return Table(name, title, ["model", *wanted], entries, numbers, "Means over seeds; training with its validations.")


def group_numbers(rows: Sequence[Row], key: str, metric: str) -> pd.DataFrame:
    """Long table `model, group, cases, mean, sd` of a metric in the groups of `test_by_history_length` or the like.

    Groups without a case are left out, and rows of which a run has no such groups.

    Raises:
        InputError: runs of one row that have other groups than each other.
    """
    found = []
    for row in rows:
        runs = [run for run in row.runs if (own := getattr(run.record, key)) and metric in own[0]]
        if len(runs) < len(row.runs):  # else its mean would be over other seeds than in the tables beside it
            continue
        names = [[group["group"] for group in getattr(run.record, key)] for run in runs]
        for run, own in zip(runs, names, strict=True):
            if own != names[0]:
                raise InputError(
                    f"{run.folder}: {key} has the groups {', '.join(own)}, and {runs[0].folder} has "
                    f"{', '.join(names[0])} - report on them apart, or run one of them again with the other's groups"
                )
        for groups in zip(*(getattr(run.record, key) for run in runs), strict=True):
            values = np.array([np.nan if group[metric] is None else group[metric] for group in groups], dtype=float)
            if not groups[0]["cases"]:  # by the data set: in no run
                continue
            first = {"model": row.label, "group": groups[0]["group"], "cases": groups[0]["cases"]}
            found.append({**first, "mean": mean(values), "sd": deviation(values)})
    return pd.DataFrame(found, columns=["model", "group", "cases", "mean", "sd"])


def group_table(name: str, title: str, rows: Sequence[Row], key: str, metric: str) -> Table:
    """A metric by group: a row per model, a column per group."""
    numbers = group_numbers(rows, key, metric)
    heads = numbers.drop_duplicates("group")
    entries = []
    for row in rows:
        own = numbers[numbers["model"] == row.label].set_index("group").reindex(heads["group"])
        entries.append([Entry(row.label), *map(Entry, map(with_deviation, own["mean"], own["sd"]))])
    columns = ["model", *(f"{head.group} · {head.cases:,}" for head in heads.itertuples())]
    without = [row.label for row in rows if row.label not in set(numbers["model"])]
    note = f"Heads: group and its number of test cases.{without_note('groups', without)}"
    return Table(name, title, columns, entries, numbers, note)


def dataset_table(rows: Sequence[Row]) -> Table:
    """Each data set's statistics, as its first run saw them."""
    forms = {
        "users": ",.0f", "items": ",.0f", "interactions": ",.0f", "sparsity": ".4%",
        "avg_interactions_per_user": ".2f", "avg_interactions_per_item": ".2f",
    }  # fmt: skip
    first = {row.dataset: row for row in reversed(rows)}
    numbers, entries = [], []
    for dataset in sorted(first):
        known = first[dataset].runs[0].record.statistics or {}
        numbers.append({"dataset": dataset, **{key: known.get(key) for key in forms}})
        texts = ["–" if known.get(key) is None else format(known[key], form) for key, form in forms.items()]
        entries.append([*map(Entry, [dataset, *texts])])
    columns = ["data set", "users", "items", "interactions", "sparsity", "per user", "per item"]
    return Table("datasets", "Statistics after filtering", columns, entries, pd.DataFrame(numbers))
