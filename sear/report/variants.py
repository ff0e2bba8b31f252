"""How runs of one model that are no repetitions of each other are named."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sear.settings.gather import sear_yaml
from sear.settings.keys import Role, with_role
from sear.settings.rules import read_settings

if TYPE_CHECKING:
    from sear.report.run import Run

# none names a variant: which run it is, where its data lie, and what adds metrics without changing any
NO_VARIANT = with_role(Role.NAME | Role.DATA | Role.ADDS_METRICS | Role.PLACE | Role.UNUSED)
FOLDERS = ("item_sem_embedding_model_path",)  # keys that hold one
UNKNOWN = object()  # equal to no value: plain for a key that every run was given, or that plain runs are too old for


def name_variants(runs: Iterable["Run"]) -> None:
    """Set `variant` where a run has other settings than the YAML files, whether or not a plain run stands beside it.

    A run is named by its settings that are not the plain ones: those of the runs of its model and ablation that were
    not given them. A frozen run keeps the name under which it was frozen, unless that lacks a setting it was given.
    """
    families: dict[tuple, list[Run]] = {}
    for run in runs:
        if run.settings:
            families.setdefault((run.dataset, run.model, run.ablate), []).append(run)
        else:
            run.variant = _frozen_name(run)
    for family in families.values():
        given = [given_settings(run) for run in family]
        values = [_values(run) for run in family]
        plain = {key: _plain(key, given, values) for key in {key for own in values for key in own}}
        for run, own in zip(family, values, strict=True):
            names = {key: value for key, value in own.items() if value != plain[key] and not _is_usual(run, key)}
            run.variant = ", ".join(f"{key}={names[key]}" for key in sorted(names))


def _frozen_name(run: "Run") -> str:
    told = {key: value for key, value in sorted(given_settings(run).items()) if not _is_usual(run, key)}
    parts = [f"{key}={value}" for key, value in told.items()]
    return run.variant if all(f", {part}, " in f", {run.variant}, " for part in parts) else ", ".join(parts)


def _plain(key: str, given: list[dict], values: list[dict]) -> Any:
    """The value of a key that names nothing."""
    untold = [own[key] for told, own in zip(given, values, strict=True) if key not in told and key in own]
    return max(untold, key=untold.count) if untold else UNKNOWN  # the values need not be hashable


def _is_usual(run: "Run", key: str) -> bool:
    """Whether a folder was given that is called as SEAR.yaml's own: the same files, elsewhere on a machine."""
    given, usual = (run.record.overrides or {}).get(key), read_settings(sear_yaml())[0].get(key)
    return key in FOLDERS and without_place(given) == usual


def given_settings(run: "Run") -> dict[str, Any]:
    """What the run was given beside the YAML files; of a path that is one machine's the last name."""
    overrides = run.record.overrides or {}
    return {key: without_place(value) for key, value in overrides.items() if key not in NO_VARIANT}


def _values(run: "Run") -> dict[str, Any]:
    return {key: without_place(value) for key, value in run.settings.items() if key not in NO_VARIANT}


def without_place(value: Any) -> Any:
    """The value; of an absolute path its last name."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
