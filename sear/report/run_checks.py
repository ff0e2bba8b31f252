"""What must hold of runs before they are compared: metrics that their ranks bear out, the same test cases."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sear.errors import InputError
from sear.runs.record import other_data, other_encoder

if TYPE_CHECKING:
    from sear.report.run import Run

FREEZE_AGAIN = "freeze that run again"


def refuse_other_metrics(run: "Run") -> None:
    """Raises InputError where metrics.json holds those of other ranks than the run's."""
    path = run.folder / "metrics.json"
    remedy = FREEZE_AGAIN if run.cases is None else "restore it, or move the folder elsewhere and run again"
    for key, ranks in (("test", run.ranks), ("test_history_masked", run.masked_ranks)):
        told = getattr(run.record, key)
        if (not told) != (ranks is None):
            raise InputError(f"{path}: {key} is {told!r}, which the ranks beside it do not bear out - {remedy}")
        if ranks is None:
            continue
        for name, value in (told or {}).items():
            try:
                found = float(replace(run, ranks=ranks).by_case(name).mean())
            except ValueError as error:  # InputError, too
                raise InputError(
                    f"{path}: {key} has {name!r}, which is no metric of ranks ({error}) - {remedy}"
                ) from None
            if not isinstance(value, float | int) or not math.isclose(value, found, rel_tol=1e-9, abs_tol=1e-12):
                raise InputError(f"{path}: {key} {name} is {value!r}, by the ranks beside it {found!r} - {remedy}")


def refuse_different_cases(runs: Iterable["Run"]) -> None:
    """Raises InputError where two runs on one data set were tested on different cases."""
    first: dict[str, Run] = {}
    for run in runs:
        other = first.setdefault(run.dataset, run)
        same = run.cases_hash == other.cases_hash and len(run.ranks) == len(other.ranks)
        if not same or not run.cases_hash:
            raise _not_together(other, run, f"were not tested on the same cases{_first_difference(other, run)}")


def refuse_other_sources(runs: Iterable["Run"]) -> None:
    """Raises InputError where two runs on one data set were trained on other data, or by other encoders of one name.

    Texts count only between runs that read some, see `other_items` for the rest. What an earlier SEAR did not record
    cannot be compared, see `unknown_data`.
    """
    first: dict[tuple[str, ...], Run] = {}
    for run in runs:
        data, encoder = run.record.data, run.record.text_encoder
        for suffix in () if data is None else ("inter",) if encoder is None else ("inter", "item"):
            other = first.setdefault((suffix, run.dataset), run)
            if suffix in other_data(other.record.data or {}, data or {}):
                told = f"were trained on other data than each other (their .{suffix} files)"
                raise _not_together(other, run, told)
        if encoder is not None:
            other = first.setdefault(("encoder", run.dataset, Path(str(encoder.get("path"))).name), run)
            if other_encoder(other.record.text_encoder or {}, encoder):
                raise _not_together(other, run, "were trained by text encoders of one name that are not the same")


def other_items(runs: Sequence["Run"]) -> list[str]:
    """A line for each data set of which two runs had other .item files, one of them without reading its texts."""
    told = []
    for dataset in dict.fromkeys(run.dataset for run in runs):
        own = [run for run in runs if run.dataset == dataset and run.record.data is not None]
        other = next(
            (run for run in own if "item" in other_data(own[0].record.data or {}, run.record.data or {})), None
        )
        if other:
            told.append(
                f"{dataset}: {own[0].folder} and {other.folder} were made beside other .item files than each other"
                " - run one of them again if both read texts"
            )
    return told


def unknown_data(runs: Sequence["Run"]) -> list[str]:
    """A line for each data set of which some runs, but not all, say what data they were trained on."""
    told = []
    for dataset in dict.fromkeys(run.dataset for run in runs):
        own = [run for run in runs if run.dataset == dataset]
        unknown = [run for run in own if run.record.data is None]
        if 0 < len(unknown) < len(own):
            told.append(
                f"{dataset}: {len(unknown)} of {len(own)} runs do not say which data they were trained on, as those of"
                f" an earlier SEAR, such as {unknown[0].folder} - run them again if the data have changed since"
            )
    return told


def _not_together(one: "Run", other: "Run", why: str) -> InputError:
    return InputError(f"{one.folder} and {other.folder} {why} - report them apart, or run one of them again")


def _first_difference(one: "Run", other: "Run") -> str:
    if one.cases is None or other.cases is None:
        return ""
    if len(one.cases) != len(other.cases):
        return f" ({len(one.cases)} and {len(other.cases)})"
    row = int((one.cases != other.cases).any(axis=1).to_numpy().argmax())
    seen = [f"user {user}, target {target}" for user, target in (one.cases.loc[row], other.cases.loc[row])]
    return f" (for example {' and '.join(seen)})"
