"""Run folders and frozen runs, read alike: metrics, ranks in case order, learning curve, examples.

A run folder has cases.csv.gz (`user, target, rank, …`); a frozen run has ranks.csv.gz (`rank` alone, in the same
order) and, in its metrics.json, the hash of its cases.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from sear.console import say
from sear.errors import InputError
from sear.files import find_below, require_file
from sear.report.run import Run
from sear.report.run_checks import (
    FREEZE_AGAIN,
    other_items,
    refuse_different_cases,
    refuse_other_metrics,
    refuse_other_sources,
    unknown_data,
    written_at,
)
from sear.report.variants import name_variants
from sear.runs.folder import read_examples, read_run_folder
from sear.runs.record import read_metrics

MASKED = "rank_history_masked"
FROZEN_RANKS = "ranks.csv.gz"
DONE = "metrics.json"  # is written last


def read_runs(paths: Iterable[Path | str], tell: Callable[[str], object] = say) -> list[Run]:
    """Every finished run in or below `paths`; of several with the same row and seed the newest.

    Args:
        tell: is told of folders that are left out, for they cannot be read, and of what cannot be compared.

    Raises:
        InputError: where there is none, where a file is missing or broken, or where two runs on one data set do not
            hold the same cases, or were trained on other data or by another encoder of the same name.
    """
    folders: dict[Path, None] = {}
    for path in map(Path, paths):
        found = [file.parent for file in find_below(path, (DONE, "last.pth"), tell)] if path.is_dir() else []
        finished = [folder for folder in found if (folder / DONE).exists()]
        if not finished:
            raise InputError(f"{path}: no finished run there (no metrics.json) - name a run folder or a results folder")
        folders.update(dict.fromkeys(finished))
        if unfinished := [folder for folder in found if not (folder / DONE).exists()]:
            others = f" and {len(unfinished) - 1} more" if len(unfinished) > 1 else ""
            tell(f"left out: {unfinished[0]}{others} did not finish - go on with --resume={unfinished[0]}")
    runs = [read_run(folder) for folder in folders if _was_tested(folder)]
    if not runs:
        raise InputError(f"{', '.join(map(str, paths))}: every event trained, so nothing was tested - name other runs")
    for run in runs:
        refuse_other_metrics(run)
    name_variants(runs)
    runs.sort(key=written_at)
    runs = list({(run.dataset, run.label, run.seed): run for run in runs}.values())
    runs.sort(key=lambda run: (run.dataset, run.model, run.ablate, run.variant, run.seed))
    refuse_different_cases(runs)
    refuse_other_sources(runs)
    for line in [*unknown_data(runs), *other_items(runs)]:
        tell(line)
    return runs


def _was_tested(folder: Path) -> bool:
    """Whether anything was left to test: a run with `train_on: all` has no ranks."""
    return (folder / FROZEN_RANKS).exists() or bool(read_metrics(folder).test)


def read_run(folder: Path) -> Run:
    """The run in one folder, frozen or not. Raises InputError naming the file that is missing or broken."""
    if (folder / FROZEN_RANKS).exists():
        return read_frozen(folder)
    found = read_run_folder(folder)
    table = found.cases.sort_values(["user", "target"], ignore_index=True)
    cases = table[["user", "target"]]
    return Run(
        folder,
        found.record,
        _checked_ranks(table["rank"], folder / "cases.csv.gz"),
        cases,
        hash_cases(cases),
        settings=found.config,
        history=found.history,
        examples=read_examples(folder),
        masked_ranks=_masked_ranks(table, folder / "cases.csv.gz"),
    )


def read_frozen(folder: Path) -> Run:
    """What `freeze` kept of a run. Raises InputError naming the file that is missing or broken."""
    record, path = read_metrics(folder, FREEZE_AGAIN), require_file(folder / FROZEN_RANKS)
    missing = [name for name in ("variant", "cases_sha256", "valid_metric") if getattr(record, name) is None]
    if missing:
        raise InputError(f"{folder / 'metrics.json'} has no {missing[0]} - {FREEZE_AGAIN}")
    try:
        table = pd.read_csv(path)
        ranks = table["rank"]
    except (KeyError, ValueError, EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error}) - {FREEZE_AGAIN}") from None
    ranks = _checked_ranks(ranks, path)
    masked = _masked_ranks(table, path)
    assert record.cases_sha256 is not None and record.variant is not None, "see missing"
    return Run(folder, record, ranks, None, record.cases_sha256, variant=record.variant, masked_ranks=masked)


def _checked_ranks(ranks: pd.Series, path: Path) -> np.ndarray:
    if not pd.api.types.is_integer_dtype(ranks) or not len(ranks) or ranks.min() < 1:
        raise InputError(f"{path}: not every rank is a whole number from 1 - restore it, or run again")
    return ranks.to_numpy()


def _masked_ranks(table: pd.DataFrame, path: Path) -> np.ndarray | None:
    return _checked_ranks(table[MASKED], path) if MASKED in table else None


def hash_cases(cases: pd.DataFrame) -> str:
    """Names a set of sorted cases without holding any of their ids."""
    return hashlib.sha256("\n".join(cases["user"] + "\t" + cases["target"]).encode()).hexdigest()
