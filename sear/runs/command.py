"""The command line that makes a run again, for its readers: nothing reads it back."""

import shlex
from collections.abc import Mapping
from typing import Any

from sear.files import COMMAND
from sear.settings.rules import dump_value


def command_of(
    dataset: str, model: str, seed: int, ablate: str | list[str] | None, overrides: Mapping[str, Any] | None
) -> str | None:
    """`python custom_trainer.py --dataset=…`: names, seed, and the settings that the YAML files do not have.

    None where no overrides are known. An ablation's command makes the whole model too, as `--ablate` always does.
    """
    if overrides is None:
        return None
    told: dict[str, Any] = {"dataset": dataset, "model": model} | ({"ablate": ablate} if ablate else {})
    told |= {"seed": seed} | dict(overrides)
    return shlex.join([*COMMAND, *(f"--{key}={dump_value(value)}" for key, value in told.items())])
