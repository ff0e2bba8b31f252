"""The run that tells one with `train_on: all` how long to train and how good it is: the last events are held out."""

import logging
from pathlib import Path
from typing import Any

from sear.data.data_files import data_hashes
from sear.errors import InputError, OtherDataError
from sear.runs.find import find_runs
from sear.runs.log import RunLog
from sear.runs.record import RunRecord, read_metrics
from sear.runs.warm_start import validated_start
from sear.settings.recbole_config import SEARConfig, config_from_settings, effective_settings

logger = logging.getLogger("sear")


def validated_run(config: SEARConfig) -> tuple[Path, RunRecord]:
    """The run with these settings and `train_on: split` on the same data; it is trained where it is missing.

    Raises:
        InputError: it was not validated.
    """
    settings = effective_settings(config) | {"train_on": "split"}
    if settings.get("warm_start"):
        settings["warm_start"] = validated_start(settings["warm_start"])
    own = config_from_settings(settings, "train_on: all")
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
    return finished, record


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
