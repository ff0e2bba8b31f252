"""What a published table rests on, small enough to commit: each cell's metrics.json and its bare ranks, no ids."""

import gzip
import io
import json
import shlex
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from sear.errors import InputError
from sear.files import write_aside
from sear.report.read_runs import MASKED
from sear.report.run import Run
from sear.report.tables import file_name
from sear.report.variants import given_settings


def freeze(runs: Iterable[Run], folder: Path | str) -> list[Path]:
    """Write `folder/DATASET/ROW/seed-N/{metrics.json, ranks.csv.gz}` for each run; returns the cells' folders.

    The ranks stand in the order of user, then target, which is the same for all cells of a data set; the ids stay
    behind, and a hash of them shows that cells belong together. So do the command's absolute paths, which are one
    machine's. The same runs give the same bytes.

    Raises:
        InputError: two rows differ only in signs that no folder's name can hold; nothing is written then.
    """
    runs, written = list(runs), []
    cells = [Path(folder) / run.dataset / file_name(run.label) / f"seed-{run.seed}" for run in runs]
    for run, cell in zip(runs, cells, strict=True):
        if cells.count(cell) > 1:
            raise InputError(
                f"{cell} would hold {run.label} and another row of that spelling - freeze one of them to another folder"
            )
    for run, cell in zip(runs, cells, strict=True):
        known = {"ablate": run.ablate, "variant": run.variant, "cases_sha256": run.cases_hash}
        ranks = {"rank": run.ranks} | ({} if run.masked_ranks is None else {MASKED: run.masked_ranks})
        known |= {"given": given_settings(run), "valid_metric": run.valid_metric}
        known["command"] = without_absolute_paths(run.metrics.get("command"))
        with write_aside(cell / "ranks.csv.gz") as aside, open(aside, "wb") as file:
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:  # no clock in the header
                with io.TextIOWrapper(packed, encoding="utf-8", newline="") as text:
                    pd.DataFrame(ranks).to_csv(text, index=False, lineterminator="\n")
        with write_aside(cell / "metrics.json") as aside:
            aside.write_text(json.dumps(run.metrics | known, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(cell)
    return written


def without_absolute_paths(command: str | None) -> str | None:
    """The command line less its options that name a place on one machine."""
    if command is None:
        return None
    return shlex.join(word for word in shlex.split(command) if not Path(word.partition("=")[2]).is_absolute())
