"""results/summary.csv: one row per finished run, whoever else is writing."""

import csv
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sear.errors import InputError
from sear.files import csv_text, require_file, write_text, writing
from sear.runs.record import RunRecord

logger = logging.getLogger("sear")
KEY = ("dataset", "model", "run_id")  # one row each


def append_summary(run_folder: Path, record: RunRecord) -> None:
    """The run's row in RESULTS/summary.csv; a run that is already there is replaced in its place.

    A metric that the file has no column for yet adds one, empty in the older rows.

    Raises:
        InputError: summary.csv is not one that SEAR wrote.
    """
    results = results_above(run_folder, record)
    if results is None:
        logger.info(f"{run_folder} lies in no RESULTS/{record.dataset}/{_folder_of(record)}: no row in a summary.csv")
        return
    path = results / "summary.csv"
    row = {
        key: "" if value is None else str(value)
        for key, value in _summary_row(Path(os.path.abspath(run_folder)).name, record).items()
    }
    with _locked(path.with_name(".summary.lock")):
        columns, rows = read_summary(path) if path.exists() else ([], [])
        keys = [tuple(old[key] for key in KEY) for old in rows]
        key = tuple(row[key] for key in KEY)
        if key in keys:
            rows[keys.index(key)] = row
        else:
            rows.append(row)
        write_text(path, csv_text(list(dict.fromkeys([*columns, *row])), rows))


def results_above(run_folder: Path, record: RunRecord) -> Path | None:
    """The results folder that a run lies in; None where its folder was moved out of DATASET/MODEL."""
    folder = Path(os.path.abspath(run_folder))
    where = folder.parent.parent.name, folder.parent.name
    return folder.parents[2] if where == (record.dataset, _folder_of(record)) else None


def _folder_of(record: RunRecord) -> str:
    return record.model.replace(":", ".")


def read_summary(path: Path | str) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a summary.csv, all text. Raises InputError where it is not one that SEAR wrote."""
    path = require_file(Path(path))
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval=None)
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error}) - rename it, and a new one is begun") from None
    if not set(KEY) <= set(columns):
        raise InputError(f"{path}, line 1: no columns {', '.join(KEY)} - rename it, and a new one is begun")
    for line, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise InputError(
                f"{path}, line {line}: not {len(columns)} columns as in the header - mend or remove the line"
            )
    return columns, rows


def _summary_row(run_id: str, record: RunRecord) -> dict[str, Any]:
    row: dict[str, Any] = {"dataset": record.dataset, "model": record.model, "run_id": run_id, "ablate": record.ablate}
    row |= {"seed": record.seed, "epochs": record.epochs, "best_epoch": record.best_epoch}
    for part in ("valid", "test", "test_history_masked"):
        row |= {f"{part}_{name}": value for name, value in (getattr(record, part) or {}).items()}
    row |= {f"seconds_{name}": value for name, value in (record.seconds or {}).items()}
    return row | {key: (record.environment or {}).get(key) for key in ("device", "commit")}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone among this machine's processes while the block runs; where the system has no such lock, without."""
    with writing(path):
        file = open(path, "w")
    with file:
        with suppress(ImportError, OSError):  # Windows; some network drives
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
