"""One table of ratios against stated baselines: python -m benchmarks.run [--only NAME] [--json] (see README.md)."""

import argparse
import importlib
import json
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter

import torch
from tabulate import tabulate

from benchmarks.measure import Request, Row, Skipped, say
from sear.runs.machine import environment

# name -> module and what its rows() is given besides the request
BENCHMARKS = {
    "scan": ("scan",),
    "epoch-ml-100k": ("epoch", "ml-100k"),
    "epoch-ml-1m": ("epoch", "ml-1m"),
    "epoch-beauty": ("epoch", "beauty"),
    "processes": ("processes",),
    "bfloat16": ("bfloat16",),
    "additions": ("additions",),
    "conversion": ("conversion",),
    "dataset-build": ("dataset_build",),
    "full-ranking": ("full_ranking",),
    "loss": ("loss",),
    "sampled-softmax": ("sampled_softmax",),
    "encoding": ("encoding",),
    "recommend": ("recommend",),
}
HEADERS = "row|baseline|ours, s|baseline, s|times as fast|lowest - highest|ours, MB|baseline, MB|rounds|goal".split("|")


def chosen_rows(only: str | None) -> list[str]:
    """The names that begin with one of the given, comma-separated beginnings. Raises ValueError for a wrong one."""
    beginnings = only.split(",") if only else [""]
    for beginning in beginnings:
        if not any(name.startswith(beginning) for name in BENCHMARKS):
            raise ValueError(f"no row is called {beginning} - choose from {', '.join(BENCHMARKS)}")
    return [name for name in BENCHMARKS if name.startswith(tuple(beginnings))]


def measure(names: list[str], request: Request) -> Iterator[Row | str]:
    """The rows of each benchmark; for a benchmark that cannot be measured here, a line that says why."""
    for name in names:
        module, *rest = BENCHMARKS[name]
        started = perf_counter()
        try:
            for row in importlib.import_module(f"benchmarks.{module}").rows(request, *rest):
                yield replace(row, goal=None) if request.quick else row
        except Skipped as reason:
            yield f"{name}: skipped, {reason}"
        say(f"{name}: {perf_counter() - started:.0f} s")


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table, their notes below."""
    notes = list(dict.fromkeys(row.note for row in rows if row.note))
    cells = [_cells(row, notes) for row in rows]
    alignment = ("left", "left", *("right",) * (len(HEADERS) - 2))
    text = tabulate(cells, HEADERS, tablefmt="github", disable_numparse=True, colalign=alignment if cells else None)
    return "\n".join([text, "", *(f"[{number}] {note}" for number, note in enumerate(notes, 1))])


def _cells(row: Row, notes: list[str]) -> list[str]:
    name = f"{row.name} [{notes.index(row.note) + 1}]" if row.note else row.name
    spread = f"{row.lowest:.3g} - {row.highest:.3g}"
    peaks = ["-" if peak is None else f"{peak:,.0f}" for peak in (row.peak_mb, row.baseline_peak_mb)]
    seconds = [f"{value:.4g}" for value in (row.seconds, row.baseline_seconds)]
    goal = "" if row.goal is None else f"{row.goal:g}: {'met' if row.ratio >= row.goal else 'not met'}"
    return [name, row.baseline, *seconds, f"{row.ratio:.3g}", spread, *peaks, str(row.rounds), goal]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--only", metavar="NAME", help=f"rows that begin so, commas between: {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--quick", action="store_true", help="toy sizes: shows that everything runs, measures nothing")
    parser.add_argument("--rounds", type=int, default=Request.rounds, help="turns of each side (default: %(default)s)")
    parser.add_argument("--budget", type=float, default=Request.budget, help="seconds per comparison, about")
    parser.add_argument("--encoder", type=Path, default=Request.encoder, help="folder of a sentence encoder")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    asked = parser.parse_args(arguments)
    try:
        names = chosen_rows(asked.only)
    except ValueError as error:
        parser.error(str(error))
    if asked.threads:
        torch.set_num_threads(asked.threads)
        os.environ["OMP_NUM_THREADS"] = str(asked.threads)  # for the rows that start processes of their own
    warnings.filterwarnings("ignore", module="recbole|torch|pandas")
    found = list(measure(names, Request(asked.quick, asked.rounds, asked.budget, asked.encoder)))
    rows, skipped = [row for row in found if isinstance(row, Row)], [line for line in found if isinstance(line, str)]
    machine = environment("cpu")
    if asked.json:
        lines = [asdict(row) for row in rows]
        print(json.dumps({"environment": machine, "quick": asked.quick, "rows": lines, "skipped": skipped}, indent=2))
    else:
        print(", ".join(f"{key} {value}" for key, value in machine.items()), end="\n\n")
        print(table(rows), *skipped, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
