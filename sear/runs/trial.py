"""One run of a search: found finished, gone on with, or begun; its validation scores are told after every epoch."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from optuna import TrialPruned

from sear.data.data_files import data_hashes
from sear.errors import InputError
from sear.runs.find import find_runs
from sear.runs.folder import read_run_folder
from sear.runs.grid import keep_best_checkpoint
from sear.runs.lock import claimed
from sear.runs.log import RunLog
from sear.runs.training_run import TrainingRun, train_in_new_folder
from sear.settings.recbole_config import SEARConfig, build_config, effective_settings

PLACE = "search"
Rows = Sequence[Mapping[str, Any]]  # of history.csv


def best_score(
    dataset: str,
    model: str,
    config_files: Sequence[Path],
    overrides: Mapping[str, Any],
    told: Callable[[int, float], None],
) -> float:
    """Bring one run to its end and return its best validation score.

    Args:
        told: called as (epoch, score) for every validation so far, in order, also for those of an earlier start.

    Raises:
        InputError: a setting is at fault, or there is no validation to go by.
        HeldError: another process works on the run.
        optuna.TrialPruned: where `told` raises it; the run's folder then keeps no checkpoints.
    """
    config = build_config(dataset, model, overrides, config_files, PLACE)
    scored: set[int] = set()

    def on_epoch(history: Rows) -> None:
        for row in history:
            score = validation_score(row, config)
            if score is not None and row["epoch"] not in scored:
                scored.add(row["epoch"])
                told(int(row["epoch"]), score)

    settings, data = effective_settings(config), data_hashes(config)
    with nullcontext() if find_runs(settings, data, lambda line: None)[0] else claimed(settings):
        finished, unfinished = find_runs(settings, data)
        folder = finished or _train(config, unfinished, on_epoch)
    files = read_run_folder(folder)
    history, best = files.history.to_dict("records"), files.record.best_epoch
    on_epoch(history)
    scores = {row["epoch"]: validation_score(row, config) for row in history}
    score = scores.get(best)
    if score is None:
        raise InputError(f"{dataset}, {model}: nothing was validated - set eval_step to 1")
    return score


def _train(
    config: SEARConfig, unfinished: Path | None, on_epoch: Callable[[Sequence[Mapping[str, Any]]], None]
) -> Path:
    """The folder of the run, finished."""

    def prune_or_go_on(folder: Path, history: Rows) -> None:
        try:
            on_epoch(history)
        except TrialPruned:
            for name in ("best.pth", "last.pth"):
                (folder / name).unlink(missing_ok=True)
            raise

    with RunLog() as log:
        if unfinished:
            run = TrainingRun(config, unfinished, begun=True)
            run.on_epoch = prune_or_go_on
            done = run.train(log)
        else:
            done = train_in_new_folder(config, log, on_epoch=prune_or_go_on)
    folder = Path(done["run_folder"])
    keep_best_checkpoint(folder)
    return folder


def validation_score(row: Mapping[str, Any], config: Mapping[str, Any]) -> float | None:
    """What chose the best epoch, from a row of history.csv; None for an epoch that was not validated."""
    smoothed = row.get("valid_score")
    if smoothed is not None and not math.isnan(smoothed):
        return float(smoothed)
    names = {"kept": [""], "filtered": ["filtered_"], "mean": ["", "filtered_"]}[config["valid_protocol"]]
    found = [row.get(f"valid_{name}{config['valid_metric'].lower()}") for name in names]
    values = [float(value) for value in found if value is not None and not math.isnan(value)]
    return sum(values) / len(values) if len(values) == len(names) else None
