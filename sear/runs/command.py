"""The command line that makes a run again, for its readers: nothing reads it back."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from sear import processes
from sear.files import CHECKOUT, COMMAND
from sear.settings.rules import dump_value


def started_by(with_restarts: bool = False) -> list[str]:
    """The words that start a command line as this one was: `python custom_trainer.py`, or torchrun before it."""
    launcher = processes.launcher(with_restarts)
    if not launcher:
        return [*COMMAND]
    return [*launcher, *(COMMAND[1:] if CHECKOUT else ("--no-python", *COMMAND))]


def without_going_on(error: Exception) -> str:
    """What ended a run, without the command that goes on with that run: for who goes on with more than it."""
    return re.split(r"; (?:then )?go on with: ", str(error))[0]


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
    return shlex.join([*started_by(), *(f"--{key}={dump_value(value)}" for key, value in told.items())])
