"""How runs of one model that are no repetitions of each other are told apart."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sear.experiment import NOT_OF_THE_RESULT
from sear.setting_rules import load_yaml

if TYPE_CHECKING:
    from sear.report.runs import Run

# neither names a variant: which run it is, where its files lie, and what adds figures without changing any
NO_VARIANT = NOT_OF_THE_RESULT | {"dataset", "model", "ablate", "seed", "data_path", "mask_history"}


def name_variants(runs: Iterable["Run"]) -> None:
    """Set `variant` where runs of one model and ablation differ in more than seed and place.

    A run is named by the settings of its own command that not all of them were given, and by those that differ
    from most runs' without a command having said so, as after a change of the YAML files. A frozen name stays.
    """
    families: dict[tuple, list[Run]] = {}
    for run in runs:
        families.setdefault((run.dataset, run.model, run.ablate), []).append(run)
    for family in families.values():
        told = [_told(run) for run in family]
        settings = [{key: run.settings[key] for key in run.settings if key not in NO_VARIANT} for run in family]
        for run, own, given in zip(family, settings, told, strict=True):
            names = {
                key: value
                for key, value in given.items()
                if not all(key in other and other[key] == value for other in told)
            }
            for key in own.keys() - given.keys():
                usual = _most_common([o.get(key) for o, t in zip(settings, told, strict=True) if o and key not in t])
                if own[key] != usual:
                    names[key] = own[key]
            if not run.variant:
                run.variant = ", ".join(f"{key}={names[key]}" for key in sorted(names))


def _told(run: "Run") -> dict:
    """The settings that the run's command gives; those that name a place of one machine are left out."""
    words = [word.removeprefix("--").partition("=") for word in shlex.split(run.metrics.get("command") or "")[2:]]
    return {
        key: run.settings.get(key, load_yaml(text))
        for key, _, text in words
        if key not in NO_VARIANT and not Path(text).is_absolute()
    }


def _most_common(values: list) -> object:
    """The first of the most frequent values, which need not be hashable."""
    return max(values, key=values.count)
