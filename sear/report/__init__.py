"""Tables, figures and one readable page out of finished runs: python -m sear.report RUN_OR_RESULTS_DIR… [--out=DIR]."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from sear.errors import InputError

REPORT = "report"


def make_report(
    paths: Iterable[Path | str],
    out: Path | str | None = None,
    reference: str | None = None,
    command: str = "sear.report.make_report",
) -> Path:
    """Write report.html, and below it figures/ (PNG, SVG) and tables/ (CSV, Markdown, LaTeX).

    Args:
        paths: run folders, results folders or folders of frozen runs.
        out: where to write; default: `report/` in the folder that holds all `paths`.
        reference: label of the row that the others are tested against; default, and where a data set lacks it: SEAR,
            else the best one.
        command: what the page names as its own origin.

    Returns:
        The path of report.html.

    Raises:
        InputError: no finished run, a broken one, runs that were tested on different cases, or no such reference.
    """
    from sear.files import clear_asides, write_text
    from sear.report.page import render
    from sear.report.read_runs import read_runs
    from sear.report.rows import metrics_of, rows_of
    from sear.report.run import with_same_metrics
    from sear.report.sections import make_section
    from sear.report.summaries import dataset_table
    from sear.report.tables import write_table

    folders = [Path(path) for path in paths]
    runs = with_same_metrics(read_runs(folders))
    rows, metrics = rows_of(runs), metrics_of(runs)
    labels = dict.fromkeys(row.label for row in rows)
    if reference and reference not in labels:
        raise InputError(f"--reference={reference}: no such row - choose from {', '.join(labels)}")
    out = Path(out) if out else default_folder(folders)
    for folder in (out, out / "tables", out / "figures"):
        clear_asides(folder)
    datasets = dataset_table(rows)
    write_table(datasets, out / "tables")
    by_dataset: dict[str, list] = {}
    for row in rows:
        by_dataset.setdefault(row.dataset, []).append(row)
    models = list(dict.fromkeys(row.model for row in rows))
    sections = [make_section(name, own, metrics, reference, out, models) for name, own in by_dataset.items()]
    write_text(out / "report.html", render(sections, datasets, runs, command))
    return out / "report.html"


def default_folder(paths: Sequence[Path]) -> Path:
    """`report/` in the folder that holds all paths."""
    return Path(os.path.commonpath([path.absolute() for path in paths])) / REPORT
