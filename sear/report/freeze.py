"""What a published table rests on, small enough to commit: each run's metrics.json and its bare ranks, no ids."""

import gzip
import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from sear.errors import InputError
from sear.files import write_aside
from sear.report.read_runs import MASKED
from sear.report.run import Run
from sear.report.tables import file_name
from sear.report.variants import without_place
from sear.runs.command import command_of
from sear.runs.folder import write_metrics
from sear.runs.record import RunRecord
from sear.settings.keys import Role, with_role


def freeze(runs: Iterable[Run], folder: Path | str) -> list[Path]:
    """Write `folder/DATASET/ROW/seed-N/{metrics.json, ranks.csv.gz}` for each run; returns the folders.

    The ranks stand in the order of user, then target, which is the same for all runs of a data set; the ids stay
    behind, and a hash of them shows that runs belong together. So do the command's absolute paths, which are one
    machine's. The same runs give the same bytes.

    Raises:
        InputError: two rows differ only in signs that no folder's name can hold; nothing is written then.
    """
    runs, written = list(runs), []
    folders = [Path(folder) / run.dataset / file_name(run.label) / f"seed-{run.seed}" for run in runs]
    for run, place in zip(runs, folders, strict=True):
        if folders.count(place) > 1:
            raise InputError(
                f"{place} would hold {run.label} and another row of that spelling - freeze one of them elsewhere"
            )
    for run, place in zip(runs, folders, strict=True):
        ranks = {"rank": run.ranks} | ({} if run.masked_ranks is None else {MASKED: run.masked_ranks})
        with write_aside(place / "ranks.csv.gz") as aside, open(aside, "wb") as file:
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:  # no clock in the header
                with io.TextIOWrapper(packed, encoding="utf-8", newline="") as text:
                    pd.DataFrame(ranks).to_csv(text, index=False, lineterminator="\n")
        write_metrics(place, _frozen(run))
        written.append(place)
    return written


def _frozen(run: Run) -> RunRecord:
    """The run's record with its names in the report, and without what names a place on one machine."""
    names: dict[str, Any] = {"ablate": run.ablate, "variant": run.variant, "valid_metric": run.valid_metric}
    record = replace(run.record, **names, cases_sha256=run.cases_hash)
    if record.overrides is None:  # of an earlier SEAR; only one that was frozen then has lost its places
        return record if run.cases is None else replace(record, command=None)
    portable = {key: value for key, value in record.overrides.items() if without_place(value) == value}
    command = command_of(record.dataset, record.model, record.seed, run.ablate, portable)
    kept = {key: without_place(value) for key, value in record.overrides.items() if key not in with_role(Role.DATA)}
    return replace(record, overrides=kept, command=command)
