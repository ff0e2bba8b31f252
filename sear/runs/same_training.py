"""A training that a finished run has done: it is taken over where only what is mixed in afterwards is another."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sear.errors import InputError
from sear.files import shown
from sear.runs.folder import read_history
from sear.runs.model_folder import PRIOR
from sear.runs.record import RunRecord, read_metrics
from sear.trainer.checkpoint import Checkpoints, save_checkpoint

if TYPE_CHECKING:
    from sear.runs.training_run import Prepared

logger = logging.getLogger("sear")
SAME = 1e-3  # other processors round otherwise, and a few ranks change by it


def take_over(folders: Sequence[Path], prepared: "Prepared", checkpoints: Checkpoints) -> RunRecord | None:
    """Make the first training that can be used the prepared run's own: its weights, its history, its best.pth.

    A run whose files are damaged, or whose weights do not rank the validation as they once did, such as after a change
    of the code, is passed over.

    Args:
        folders: of finished runs with the same training (sear.runs.find.find_trainings).

    Returns:
        The record of the run taken, `training_of` being the one that trained; None where none can be used: then the
        model is as it was.
    """
    model = prepared.trainer.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for folder in folders:
        try:
            record = _take(folder, prepared, checkpoints)
        except InputError as error:
            logger.info(f"not taken over: {error}")
            continue
        logger.info(f"trained already in {shown(folder)}: only what is mixed in after training is another")
        return record
    model.load_state_dict(before)
    return None


def _take(folder: Path, prepared: "Prepared", checkpoints: Checkpoints) -> RunRecord:
    trainer, record = prepared.trainer, read_metrics(folder)
    history = read_history(folder, record).to_dict("records")
    files = folder / "best.pth", folder / "last.pth"
    theirs = Checkpoints(checkpoints.model, checkpoints.dataset, *files, checkpoints.device)
    theirs.events_hash = prepared.dataset.events_hash
    theirs.refuse_untested(record.weights, record.best_epoch, record.valid)
    best = checkpoints.adopt(theirs, trainer.model, PRIOR)
    if record.valid:
        _refuse_others(folder, record.valid, trainer.validation(prepared.loaders[1]))
    checkpoints.commits, checkpoints.began_with = best["commits"], record.began_with
    save_checkpoint(checkpoints.best, best)
    rows = [{name: value for name, value in row.items() if value == value} for row in history]  # NaN: an empty cell
    trainer.know_training(best, rows, (record.seconds or {}).get("train", 0.0))
    return replace(record, training_of=record.training_of or folder.name)


def _refuse_others(folder: Path, then: Mapping[str, float | None], now: Mapping[str, float]) -> None:
    """Raises InputError where the weights do not give the metrics that they once gave."""
    for name, value in then.items():
        if value is not None and (name not in now or abs(now[name] - value) > SAME):
            found = f"{now[name]:.4f}" if name in now else "unknown"
            raise InputError(f"{folder} validates otherwise by now ({name} {found}, once {value:.4f}) - train anew")
