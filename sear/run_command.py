"""The command line that makes a run again, whether it came from one, from a grid or from Python."""

import shlex
from pathlib import Path

from recbole.config import Config

from sear.configuration import build_config, effective_settings
from sear.errors import InputError
from sear.experiment import NOT_OF_THE_RESULT
from sear.setting_rules import dump_value
from sear.settings import gather_settings


def command_of(config: Config) -> str | None:
    """`python custom_trainer.py --dataset=…`: names, seed, and each setting that the YAML files do not have.

    None where the YAML files no longer describe the data set or the model.
    """
    settings = effective_settings(config)
    dataset, model = settings["dataset"], settings["model_name"]
    given = {key: settings[key] for key in ("ablate", "data_path") if settings.get(key)}
    try:
        usual_path = gather_settings(dataset, model).get("data_path")
        plain = effective_settings(build_config(dataset, model, given))
    except InputError:
        return None
    if "data_path" in given and Path(given["data_path"]) == Path(usual_path):
        del given["data_path"]
    told = {"dataset": dataset, "model": model} | given | {"seed": settings["seed"]}
    left_out = {"dataset", "model", "model_name", "seed", *NOT_OF_THE_RESULT}
    told |= {key: value for key, value in settings.items() if key not in left_out and value != plain.get(key)}
    return shlex.join(["python", "custom_trainer.py", *(f"--{key}={dump_value(value)}" for key, value in told.items())])
