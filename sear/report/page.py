"""report.html: everything known about some runs in one file that needs no network, no script and no other file."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from sear.files import CHECKOUT
from sear.report.figure_style import css_variables
from sear.report.run import Run
from sear.report.sections import Section
from sear.report.tables import Entry, Table
from sear.runs.machine import commit

HERE = Path(__file__).parent
MADE_WITH = ("matplotlib", "numpy", "pandas", "scipy")


def render(sections: Sequence[Section], datasets: Table, runs: Sequence[Run], command: str) -> str:
    """The page's HTML; every text from a run is escaped."""
    import jinja2

    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("page.html").render(
        sections=sections,
        datasets=datasets,
        runs=runs_table(runs),
        machines=machines_table(runs),
        command=command,
        made_with=[("python", platform.python_version()), *((name, version(name)) for name in MADE_WITH)],
        commit=commit(CHECKOUT),
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        light=css_variables(0),
        dark=css_variables(1),
        models=list(dict.fromkeys(run.model for run in runs)),
    )


def runs_table(runs: Sequence[Run]) -> Table:
    """Every run with the command that made it."""
    columns = ["data set", "row", "seed", "epochs", "command"]
    entries = []
    for run in runs:
        epochs, command = run.record.epochs, run.record.command or "not recorded"
        entries.append([*map(Entry, map(str, [run.dataset, run.label, run.seed, epochs, command]))])
    return Table("runs", "Runs", columns, entries, pd.DataFrame(), texts=len(columns))


def machines_table(runs: Sequence[Run]) -> Table:
    """Every environment that runs were made in, and how many were."""
    keys = list(dict.fromkeys(key for run in runs for key in run.record.environment or {}))
    counts: dict[tuple[str, ...], int] = {}
    for run in runs:
        found = run.record.environment or {}
        machine = tuple(_told(found.get(key)) for key in keys)
        counts[machine] = counts.get(machine, 0) + 1
    entries = [[*map(Entry, [str(count), *machine])] for machine, count in counts.items()]
    return Table("machines", "Machines and versions", ["runs", *keys], entries, pd.DataFrame(), texts=len(keys) + 1)


def _told(value: object) -> str:
    return "–" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
