"""A finished run's model as a folder of its own, to be taken anywhere."""

from dataclasses import replace
from pathlib import Path

from sear.errors import InputError
from sear.runs.folder import read_config
from sear.runs.model_folder import IN_RUN, TrainedModel, is_model, read_model, write_model

EXPORTABLE = "SEAR and its variants (a config/model/NAME.yaml with the line model: SEAR)"


def export_model(run: Path | str, folder: Path | str, without_users: bool = False) -> None:
    """Write the model of a finished run, or of a model folder, to `folder`.

    A run of an earlier SEAR kept no model for use: it is made of the checkpoint and the data, which must be the same.

    Args:
        without_users: leave out users' ids and histories; the model then serves histories that are given to it.

    Raises:
        InputError: the run is not finished or cannot be exported, or its data have changed.
    """
    model = _model_of(Path(run))
    write_model(Path(folder), replace(model, users=None) if without_users else model)


def _model_of(run: Path) -> TrainedModel:
    for folder in (run, run / IN_RUN):
        if is_model(folder):
            return read_model(folder)
    if not (run / "config.yaml").is_file():
        raise InputError(f"{run} is no run folder - name one: results/DATASET/MODEL/RUN_ID")
    if not (run / "metrics.json").is_file():
        raise InputError(f"{run} is a run that did not finish - go on with --resume={run}")
    settings = read_config(run)
    if settings.get("model") != "SEAR":
        raise InputError(f"{run} is a run of {settings.get('model')} - only {EXPORTABLE} can be exported")
    from sear.runs.training_run import TrainingRun
    from sear.settings.recbole_config import config_from_settings

    return TrainingRun(config_from_settings(settings, str(run / "config.yaml")), run).model_for_use()
