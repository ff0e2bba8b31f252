"""How runs of one model that are no repetitions of each other are named."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sear.settings.keys import Role, with_role

if TYPE_CHECKING:
    from sear.report.run import Run

# none names a variant: which run it is, where its data lie, and what adds metrics without changing any
NO_VARIANT = with_role(Role.NAME | Role.DATA | Role.ADDS_METRICS | Role.PLACE | Role.UNUSED)
UNKNOWN = object()  # equal to no value: plain for a key of which it is only known that plain runs were not given it


def name_variants(runs: Iterable["Run"]) -> None:
    """Set `variant` where runs of one model and ablation differ in more than seed and place.

    A run is named by its settings that are not the plain ones: those of the runs that were not given them, or else
    those of frozen runs without a name, or else the most common; of a key that the former are too old for, none. Of a
    frozen run only what it was given is known, so freeze again after a change of the YAML files; the name of a variant
    under which it was frozen stays.
    """
    families: dict[tuple, list[Run]] = {}
    for run in runs:
        families.setdefault((run.dataset, run.model, run.ablate), []).append(run)
    for family in families.values():
        given = [given_settings(run) for run in family]
        values = [_values(run, own) for run, own in zip(family, given, strict=True)]
        plain = {key: _plain(key, family, given, values) for key in {key for own in values for key in own}}
        for run, own in zip(family, values, strict=True):
            names = {key: value for key, value in own.items() if value != plain[key]}
            run.variant = run.variant or ", ".join(f"{key}={names[key]}" for key in sorted(names))


def _plain(key: str, family: list["Run"], given: list[dict], values: list[dict]) -> Any:
    """The value of a key that names nothing."""
    runs = list(zip(family, given, values, strict=True))
    untold = [own for run, told, own in runs if run.settings and key not in told]
    usual = [own[key] for own in untold if key in own]
    if usual:
        return _most_common(usual)
    if untold:  # runs older than the key
        return UNKNOWN
    frozen = [(own, f", {key}=" in f", {run.variant}") for run, _, own in runs if not run.settings]
    known = [own[key] for own, names_it in frozen if key in own and not names_it]
    if known:
        return _most_common(known)
    if frozen:
        return UNKNOWN
    return _most_common([own[key] for own in values if key in own])


def given_settings(run: "Run") -> dict[str, Any]:
    """What the run was given beside the YAML files; of a path that is one machine's the last name."""
    overrides = run.record.overrides or {}
    return {key: without_place(value) for key, value in overrides.items() if key not in NO_VARIANT}


def _values(run: "Run", given: dict[str, Any]) -> dict[str, Any]:
    """All that is known of the run's settings."""
    if not run.settings:
        return given
    return {key: without_place(value) for key, value in run.settings.items() if key not in NO_VARIANT}


def without_place(value: Any) -> Any:
    """The value; of an absolute path its last name."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _most_common(values: list) -> Any:
    """The first of the most frequent values, which need not be hashable."""
    return max(values, key=values.count)
