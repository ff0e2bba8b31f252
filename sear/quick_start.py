"""run_sear: from a data set's name to a run folder; resume and evaluate: from a run folder on."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sear.errors import InputError
from sear.runs.folder import is_finished, read_config, read_run_folder
from sear.runs.lock import clear_lock
from sear.runs.log import RunLog, Terminal
from sear.runs.summary import append_summary
from sear.runs.training_run import TrainingRun, train_in_new_folder
from sear.settings.keys import MEASURED
from sear.settings.recbole_config import SEARConfig, build_config, config_from_settings, effective_settings

logger = logging.getLogger("sear")


def run_sear(
    dataset: str = "ml-100k", model: str | type = "SEAR", config_files: Iterable[Path | str] = (), **overrides: Any
) -> dict[str, Any]:
    """Train, test and report one model on one data set.

    Args:
        dataset: name of a config/data/*.yaml.
        model: "SEAR", a config/model/*.yaml, a RecBole sequential model, "my_package.my_module:MyModel", or a class.
        config_files: extra YAML files, later ones stronger.
        overrides: any key of the configuration, strongest of all.

    Returns:
        What metrics.json holds, and `run_folder`, where the run lies (results/DATASET/MODEL/RUN_ID).

    Raises:
        InputError: a setting or a file is at fault; nothing is left behind.
    """
    return train(build_config(dataset, model, overrides, config_files))


def train(config: SEARConfig, variant: Sequence[str] = (), reuse: bool = False) -> dict[str, Any]:
    """Train, test and report the run that a Config describes; returns as run_sear.

    Args:
        variant: what tells the run from others of its grid, such as "learning_rate=0.003"; its folder is named so.
        reuse: whether the training of a finished run is taken over, where it is this very one: only what is mixed into
            the scores afterwards is chosen anew, and tested.
    """
    with Terminal(config["state"]), RunLog() as log:
        return train_in_new_folder(config, log, variant, reuse=reuse)


def resume(
    run_folder: Path | str,
    changes: Mapping[str, Any] | None = None,
    places: Mapping[str, Any] | None = None,
    reuse: bool = False,
) -> dict[str, Any]:
    """Go on with a run that was stopped, at any moment, to the end it would have had; returns as run_sear.

    Args:
        changes: settings in place of the run's own that do not change its result, such as use_gpu or threads. A GPU
            that they ask for must be there.
        places: the same, weaker, as a grid has them that was started anew; they insist on no GPU.
        reuse: as for `train`, where the run has finished no epoch of its own.

    Raises:
        InputError: the folder is no run's, or its checkpoint cannot be read.
    """
    folder = Path(os.path.abspath(run_folder))
    config = _config_of(folder, changes, places)
    with Terminal(config["state"]), RunLog() as log:
        _tell_age(config, folder)
        if is_finished(folder):
            logger.info(f"{folder} is finished already: nothing to go on with")
            record = read_run_folder(folder).record
            clear_lock(folder)
            append_summary(folder, record)  # the stop may have come before this row was written
            return record.to_dict() | {"run_folder": str(folder)}
        run = TrainingRun(config, folder, begun=True)
        run.reuse = reuse
        return run.train(log)


def evaluate(run_folder: Path | str, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Test a run's best checkpoint again, without training and without changing the run; returns the test metrics.

    Args:
        changes: mask_history, topk, metrics or groups in place of the run's own; also what `resume` takes.
    """
    measured = {key: value for key, value in (changes or {}).items() if key in MEASURED}
    others = {key: value for key, value in (changes or {}).items() if key not in MEASURED}
    folder = Path(os.path.abspath(run_folder))
    config = _config_of(folder, others)
    if measured:  # the settings that the checkpoint was trained with stay
        settings = effective_settings(config) | measured
        best = f"{_first(settings['metrics'])}@{_first(settings['topk'])}"  # chose the epoch; nothing is chosen here
        asked = config_from_settings(settings | {"valid_metric": best}, "command line")
        for key in measured:
            config[key] = asked[key]
    with Terminal(config["state"]):
        _tell_age(config, folder)
        return TrainingRun(config, folder).test_again()


def _tell_age(config: SEARConfig, folder: Path) -> None:
    if config.older_than:
        keys = ", ".join(config.older_than)
        logger.info(f"{folder} is a run of an earlier SEAR, without {keys}: taken as in the YAML files")


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _config_of(
    folder: Path, changes: Mapping[str, Any] | None = None, places: Mapping[str, Any] | None = None
) -> SEARConfig:
    path = folder / "config.yaml"
    if not path.is_file():
        raise InputError(f"{path} is missing - name a run folder: results/DATASET/MODEL/RUN_ID")
    return config_from_settings(read_config(folder) | dict(places or {}), str(path), changes)
