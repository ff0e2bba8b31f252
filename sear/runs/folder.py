"""What a run leaves in results/DATASET/MODEL/RUN_ID/: its settings, metrics, epochs and cases.

Every file is written aside and renamed, so a file that is there is whole.
"""

import gzip
import io
import json
import re
import shutil
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sear.data.atomic_table import EXACT_FLOATS
from sear.errors import InputError
from sear.files import csv_text, read_json, require_file, write_aside, write_text, writing
from sear.runs.find import recorded_hash
from sear.runs.record import RunRecord, fits, read_metrics
from sear.settings.rules import dump_yaml, read_settings


def write_examples(run_folder: Path, found: Sequence[dict]) -> None:
    """examples.json of a run folder, written aside and renamed."""
    write_text(Path(run_folder) / "examples.json", json.dumps(list(found), indent=1, ensure_ascii=False) + "\n")


EXAMPLE = {"user": str, "history": list[dict[str, Any]], "target": str, "rank": int, "top": list[str]}
EVENT = {"title": str, "rating": float | None}


def read_examples(run_folder: Path) -> list[dict]:
    """examples.json of a run folder; none without the file. Raises InputError where it is broken."""
    path, remedy = run_folder / "examples.json", "restore it, or delete it: a report does without"
    found = read_json(path, remedy) if path.exists() else []
    if not fits(found, list[dict[str, Any]]):
        raise InputError(f"{path} is no list of examples - {remedy}")
    for number, example in enumerate(found):
        if not _has(example, EXAMPLE) or not all(_has(event, EVENT) for event in example["history"]):
            raise InputError(f"{path}: entry {number} is no example - {remedy}")
    return found


def _has(entry: Mapping[str, Any], kinds: Mapping[str, Any]) -> bool:
    """Whether the entry has every key, with a value of its kind."""
    return all(key in entry and fits(entry[key], kind) for key, kind in kinds.items())


def write_config(run_folder: Path, settings: Mapping[str, Any]) -> None:
    """config.yaml: every effective key, sorted; what YAML cannot hold (a device, a path, an enum) as its text."""
    plain = {str(key): _plain(settings[key]) for key in sorted(settings, key=str)}
    write_text(run_folder / "config.yaml", dump_yaml(plain))


def read_config(run_folder: Path) -> dict[str, Any]:
    """config.yaml of a run.

    Raises:
        InputError: it cannot be read, or is not what the run was finished with, as metrics.json knows it.
    """
    path = run_folder / "config.yaml"
    settings = read_settings(require_file(path))[0]
    if is_finished(run_folder):
        known = read_metrics(run_folder).settings
        if known is not None and known != recorded_hash(settings):
            raise InputError(
                f"{path} was changed since the run was finished: its settings are not those in metrics.json"
                " - restore it, or move the folder elsewhere and run again"
            )
    return settings


def is_finished(run_folder: Path) -> bool:
    """Whether a run has its metrics.json, which is written last."""
    return (run_folder / "metrics.json").exists()


def write_metrics(run_folder: Path, record: RunRecord) -> None:
    """metrics.json; never NaN, which JSON does not know."""
    text = json.dumps(_plain(record.to_dict()), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(run_folder / "metrics.json", text + "\n")


def write_history(run_folder: Path, epochs: Sequence[Mapping[str, float]]) -> None:
    """history.csv, one row per epoch: epoch, lr, loss, seconds, then validation metrics (empty where not validated)."""
    columns = list(dict.fromkeys(["epoch", "lr", "loss", "seconds", *(key for row in epochs for key in row)]))
    write_text(run_folder / "history.csv", csv_text(columns, map(_plain, epochs)))


def write_cases(run_folder: Path, cases: Mapping[str, Sequence | np.ndarray]) -> None:
    """cases.csv.gz, one row per test case.

    Args:
        cases: columns of equal length: user and target (the data set's own ids), rank, with mask_history
            rank_history_masked, then history_length, target_training_count and days_since_last.
    """
    table = pd.DataFrame(dict(cases))
    with write_aside(run_folder / "cases.csv.gz") as aside, open(aside, "wb") as file:
        # neither time nor name in the header: two runs of one command agree bit for bit
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed:
            with io.TextIOWrapper(packed, encoding="utf-8", newline="") as text:
                table.to_csv(text, index=False, lineterminator="\n")


@dataclass
class RunFiles:
    """What a finished run left: its config.yaml, metrics.json, history.csv and cases.csv.gz."""

    config: dict[str, Any]
    record: RunRecord
    history: pd.DataFrame
    cases: pd.DataFrame


def read_run_folder(run_folder: Path | str) -> RunFiles:
    """The files of a finished run.

    Raises:
        InputError: a file is missing or truncated, or not one of a run.
    """
    run_folder = Path(run_folder)
    if not (run_folder / "config.yaml").exists():
        raise InputError(f"{run_folder} holds no config.yaml - name a run folder: results/DATASET/MODEL/RUN_ID")
    if not is_finished(run_folder):
        raise InputError(
            f"{run_folder} holds no metrics.json: the run did not finish - go on with --resume={run_folder}"
        )
    record = read_metrics(run_folder)
    history, config = read_history(run_folder, record), read_config(run_folder)
    return RunFiles(config, record, history, _read_table(run_folder / "cases.csv.gz", ["user", "target", "rank"]))


def read_history(run_folder: Path, record: RunRecord) -> pd.DataFrame:
    """history.csv of the run with this metrics.json. Raises InputError where it is none, or another's."""
    history = _read_table(run_folder / "history.csv", ["epoch", "lr", "loss", "seconds"])
    if len(history) != record.epochs:
        place = f"{run_folder / 'history.csv'} has {len(history)} epochs, metrics.json {record.epochs}"
        raise InputError(f"{place} - restore it, or run again")
    return history


def _read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    """A CSV file of a run; ids stay as they are (`NA`, `007`), an empty cell of a number is NaN."""
    as_text = {"user": str, "target": str}
    require_file(path)
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        if not data.endswith(b"\n"):
            raise EOFError("its last line has no end")
        numbers = [name for name in data.partition(b"\n")[0].decode().split(",") if name not in as_text]
        table = pd.read_csv(
            io.BytesIO(data),
            dtype=as_text,
            keep_default_na=False,
            na_values=dict.fromkeys(numbers, ["", "nan"]),
            encoding="utf-8",
            **EXACT_FLOATS,
        )
    except FileNotFoundError:
        raise InputError(f"{path} is missing - restore it, or run again") from None
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error}) - it is truncated; restore it, or run again") from None
    texts = [column for column in table if column not in as_text and not pd.api.types.is_numeric_dtype(table[column])]
    if texts and len(table):  # a table without rows has no types
        raise InputError(f"{path}: not every {texts[0]} is a number - restore it, or run again")
    missing = [column for column in columns if column not in table]
    if missing:
        raise InputError(f"{path} has no column {missing[0]} - it is not a run's {path.name}; restore it, or run again")
    return table


def _plain(value: Any) -> Any:
    """The value in what JSON and YAML know: numbers and text of NumPy's kind become Python's, the rest becomes text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(_plain, value), key=str)
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Enum):
        return value.name
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


LONGEST_VARIANT = 120  # characters of it in a folder's name


def new_run_folder(
    results_directory: Path | str, dataset: str, model: str, seed: int, variant: Sequence[str] = ()
) -> Path:
    """A folder that did not exist before: RESULTS/DATASET/MODEL/RUN_ID, RUN_ID such as 20260131-120509-seed2020.

    A model called MODULE:CLASS has a folder MODULE.CLASS, for not every system allows a colon. `variant` is appended to
    the RUN_ID: 20260131-120509-seed2020-learning_rate=0.003.
    """
    parent = Path(results_directory) / dataset / model.replace(":", ".")
    told = "".join("-" + re.sub(r"[^\w.=+-]+", "_", part) for part in variant)[:LONGEST_VARIANT]
    run_id = f"{datetime.now():%Y%m%d-%H%M%S}-seed{seed}{told}"
    for number in count(1):
        folder = parent / (run_id if number == 1 else f"{run_id}-{number}")
        with writing(folder):
            parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError, FileNotFoundError):  # another run began in this second, or was taken back
                folder.mkdir()
                return folder
    raise AssertionError("the numbers have no end")


def discard_run_folder(run_folder: Path, there: Path) -> None:
    """Take back a folder that `new_run_folder` made, and those above it that are empty then, up to `there`."""
    shutil.rmtree(run_folder, ignore_errors=True)  # Windows keeps a lock file that is open
    with suppress(OSError):  # not empty
        for folder in run_folder.parents[: run_folder.parents.index(there)]:
            folder.rmdir()
