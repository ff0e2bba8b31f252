"""What a report says about one data set: its tables and figures, written to a folder and gathered for the page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sear.report import figures as draw
from sear.report import summaries as summary
from sear.report.examples import shared_examples
from sear.report.figure_style import Figure, looks_of
from sear.report.rows import Row, Tests, compare_rows, find_reference, main_metric, mean
from sear.report.summaries import GROUPS, metric_name
from sear.report.tables import Table, file_name, percent, signed, write_table


@dataclass
class Section:
    """One data set; `tiles` are its headline figures: (small head, number, small print)."""

    dataset: str
    tiles: list[tuple[str, str, str]]
    tables: dict[str, Table] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    examples: list[dict] = field(default_factory=list)


def make_section(
    dataset: str, rows: Sequence[Row], metrics: Sequence[str], wanted: str | None, out: Path, everywhere: Sequence[str]
) -> Section:
    """The section of one data set's rows; its tables go to `tables` in the folder `out`, its figures to `figures`.

    Args:
        wanted: label of the reference row, see `find_reference`.
        everywhere: the models on all data sets; one that is missing here is told.
    """
    main, reference = main_metric(metrics), find_reference(rows, wanted)
    tests = compare_rows(rows, reference, metrics)
    whole = [row for row in rows if row.whole] or list(rows)
    section = Section(dataset, _tiles(rows, whole, reference, tests, main))
    section.tables = _tables(dataset, rows, whole, metrics, reference, tests)
    there = {row.model for row in rows}
    absent = summary.without_note("run on this data set", [model for model in everywhere if model not in there])
    section.tables["models"].note = (section.tables["models"].note + absent).strip()
    for table in section.tables.values():
        write_table(table, out / "tables")
    section.figures = _figures(dataset, rows, whole, main, reference, tests, out / "figures")
    section.examples = shared_examples(whole)
    return section


def _tiles(
    rows: Sequence[Row], whole: Sequence[Row], reference: Row, tests: Tests, metric: str
) -> list[tuple[str, str, str]]:
    """The best model, the reference against the best baseline, how much was measured."""
    best, name = whole[0], metric_name(metric)
    found = [("Best model", best.label, f"{name} {mean(best.values('test', metric)):.4f}")]
    rivals = [row for row in rows if row.baseline and row is not reference]
    if rivals and tests:
        c = tests[rivals[0].label, metric].comparison
        base = mean(rivals[0].values("test", metric))
        change, low, high = (  # all three in one unit: relative where there is something to relate to
            percent(-value / base) if base else signed(-value, ".4f") for value in (c.difference, c.high, c.low)
        )
        small = f"{name}, 95 % interval {low} to {high}"
        found.append((f"{reference.label} against {rivals[0].label}", change, small))
    runs = [run for row in rows for run in row.runs]
    seeds = len({run.seed for run in runs})
    found.append(("Test cases", f"{len(runs[0].ranks):,}", "one held-out event per user, all items ranked"))
    found.append(
        (
            "Runs",
            str(len(runs)),
            f"{len(rows)} row{'s' * (len(rows) > 1)}, {'one seed' if seeds == 1 else f'up to {seeds} seeds'}",
        )
    )
    return found


def _tables(
    dataset: str, rows: Sequence[Row], whole: Sequence[Row], metrics: Sequence[str], reference: Row, tests: Tests
) -> dict[str, Table]:
    main, stem = main_metric(metrics), file_name(dataset)
    note, title = summary.marks_note(whole, reference, tests), f"Models on {dataset}"
    tables = {"models": summary.quality_table(f"{stem}-models", title, whole, metrics, tests, note)}
    for kind, title in (("ablate", "Ablations"), ("variant", "Variants")):
        for model in dict.fromkeys(row.model for row in rows if getattr(row, kind) and not row.whole):
            family = [row for row in rows if row.model == model and (row.whole or getattr(row, kind))]
            against = next((row for row in family if row.whole), family[0])
            name, heading = f"{stem}-{title.lower()}-{file_name(model)}", f"{title} of {model} on {dataset}"
            note = summary.marks_note(family, reference, tests)
            family = [against, *(row for row in family if row is not against)]
            table = summary.quality_table(name, heading, family, metrics, tests, note, against)
            tables[f"{kind} {model}"] = table
    if tests:
        title = f"Tests against {reference.label} on {dataset}"
        tables["significance"] = summary.significance_table(f"{stem}-significance", title, rows, reference, tests)
    tables |= _masked_tables(dataset, rows, metrics, reference)
    tables["cost"] = summary.cost_table(f"{stem}-cost", f"Cost beside quality on {dataset}", rows, main)
    for key, what in _groups(whole).items():
        name, title = f"{stem}-by-{what.replace(' ', '-')}", f"{metric_name(main)} by {what} on {dataset}"
        tables[key] = summary.group_table(name, title, whole, key, main)
    return tables


def _masked_tables(dataset: str, rows: Sequence[Row], metrics: Sequence[str], reference: Row) -> dict[str, Table]:
    """The rows that were also ranked with seen items filtered, by those ranks, and their tests."""
    main = main_metric(metrics)
    masked = sorted(filter(None, (row.masked for row in rows)), key=lambda row: -mean(row.values("test", main)))
    if not masked:
        return {}
    against = find_reference(masked, reference.label)
    tests = compare_rows(masked, against, metrics)
    note = f"Ranks among the items that the user had not seen. {summary.marks_note(masked, against, tests)}"
    there = {row.label for row in masked}
    note = note.strip() + summary.without_note("such ranks", [row.label for row in rows if row.label not in there])
    name, title = f"{file_name(dataset)}-seen-filtered", f"Seen items filtered on {dataset}"
    tables = {"masked": summary.quality_table(name, title, masked, metrics, tests, note, validated=False)}
    tables["protocols"] = _protocols_table(dataset, rows, metrics, against.label)
    if tests:
        name, title = f"{name}-significance", f"{title}: tests against {against.label}"
        tables["masked significance"] = summary.significance_table(name, title, masked, against, tests)
    return tables


def _protocols_table(dataset: str, rows: Sequence[Row], metrics: Sequence[str], reference: str) -> Table:
    """Of each row the runs that have both: else its two means would be of different seeds."""
    both = [Row(runs, row.alone) for row in rows if (runs := [run for run in row.runs if run.masked_ranks is not None])]
    against = find_reference(both, reference)
    shown = list(dict.fromkeys([metrics[0], main_metric(metrics)]))
    name, title = f"{file_name(dataset)}-protocols", f"Seen items kept and filtered on {dataset}"
    return summary.protocols_table(name, title, both, against, shown)


def _figures(
    dataset: str, rows: Sequence[Row], whole: Sequence[Row], main: str, reference: Row, tests: Tests, out: Path
) -> dict[str, Figure]:
    drawn: dict[str, Figure | None] = {}
    stem = file_name(dataset)
    looks = looks_of((row.label, row.model) for row in rows)
    most = draw.MOST_MODELS - any(row is reference for row in whole[draw.MOST_MODELS :])
    barred = [row for place, row in enumerate(whole) if place < most or row is reference]
    some = f", {len(barred)} of {len(whole)} models" if len(barred) < len(whole) else ""
    for key, what in _groups(whole).items():
        name, title = f"{stem}-by-{what.replace(' ', '-')}", f"{metric_name(main)} by {what}{some}"
        drawn[key] = draw.group_bars(name, title, barred, looks, key, what, main, out)
    for over, what in (("epoch", "learning curves"), ("seconds", "learning curves by time")):
        title = f"{metric_name(main)}, {what}"
        drawn[over] = draw.learning_curves(f"{stem}-curves-by-{over}", title, whole, looks, main, over, out)
    drawn["cost"] = draw.quality_by_cost(
        f"{stem}-cost", f"{metric_name(main)} and training time", whole, looks, main, out
    )
    if tests:
        title = f"{metric_name(main)}, difference to {reference.label}"
        drawn["effects"] = draw.effects(f"{stem}-effects", title, rows, looks, reference, tests, main, out)
    return {key: figure for key, figure in drawn.items() if figure}


def _groups(rows: Sequence[Row]) -> dict[str, str]:
    """The groupings that some run has metrics for."""
    return {
        key: what for key, what in GROUPS.items() if any(getattr(run.record, key) for row in rows for run in row.runs)
    }
