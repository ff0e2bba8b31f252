"""The command line that makes a run again, whether it came from one, from a grid or from Python.

An ablation's command makes the whole model too, as `--ablate` always does.
"""

import shlex

from recbole.config import Config

from sear.errors import InputError
from sear.files import COMMAND
from sear.runs.find import NOT_OF_THE_RESULT
from sear.settings.recbole_config import effective_settings, usual_settings
from sear.settings.rules import dump_value


def command_of(config: Config) -> str | None:
    """`python custom_trainer.py --dataset=…`: names, seed, and each setting that the YAML files do not have.

    None where the YAML files no longer describe the data set or the model.
    """
    settings = effective_settings(config)
    dataset, model = settings["dataset"], settings["model_name"]
    ablation = {"ablate": settings["ablate"]} if settings.get("ablate") else {}
    try:
        usual = usual_settings(dataset, model, ablation)
    except InputError:
        return None
    told = {"dataset": dataset, "model": model} | ablation | {"seed": settings["seed"]}
    left_out = {"dataset", "model", "model_name", "seed"} | NOT_OF_THE_RESULT
    told |= {key: settings[key] for key in sorted(set(settings) - left_out) if settings[key] != usual.get(key)}
    return shlex.join([*COMMAND, *(f"--{key}={dump_value(value)}" for key, value in told.items())])
