"""The run that tells one with `train_on: all` how long to train: the same with the last events held out."""

import logging
from pathlib import Path
from typing import Any

from sear.data.dataset import data_hashes
from sear.errors import InputError, OtherDataError
from sear.runs.find import find_runs
from sear.runs.log import RunLog
from sear.runs.record import RunRecord, read_metrics
from sear.settings.recbole_config import SEARConfig, config_from_settings, effective_settings

logger = logging.getLogger("sear")


def validated_run(config: SEARConfig) -> RunRecord:
    """What the run with these settings and `train_on: split` on the same data tells; it is trained where it is missing.

    Raises:
        InputError: it was not validated.
    """
    own = config_from_settings(effective_settings(config) | {"train_on": "split"}, "train_on: all")
    finished, unfinished = find_runs(effective_settings(own), data_hashes(own))
    if not finished:
        logger.info("first with the last events held out: validation says for how many epochs")
        finished = Path(_trained(own, unfinished)["run_folder"])
    record = read_metrics(finished)
    if record.best_epoch is None:
        raise InputError(
            f"{finished} was not validated, so nothing says how long to train on all events - set eval_step to 1"
        )
    logger.info(f"every event trains, for {record.best_epoch + 1} epochs, as {finished} chose")
    return record


def _trained(config: SEARConfig, unfinished: Path | None) -> dict[str, Any]:
    from sear.runs.training_run import TrainingRun, train_in_new_folder

    if unfinished:
        try:
            with RunLog() as log:
                return TrainingRun(config, unfinished, begun=True).train(log)
        except OtherDataError as error:  # such as the run of a night that was killed, and new orders since
            logger.info(f"{str(error).partition(' - ')[0]}: it begins anew")
    with RunLog() as log:
        return train_in_new_folder(config, log)
