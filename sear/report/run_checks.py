"""What must hold of runs before they are compared: metrics that their ranks bear out, the same test cases."""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sear.errors import InputError
from sear.runs.record import other_data, other_encoder

if TYPE_CHECKING:
    from sear.report.run import Run

FREEZE_AGAIN = "freeze that run again"
MOST_NAMED = 5  # folders in one message


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
    """Raises InputError where runs on one data set were tested on other cases than the newest of them."""

    def same(newest: "Run", run: "Run") -> bool:
        return bool(run.cases_hash) and run.cases_hash == newest.cases_hash and len(run.ranks) == len(newest.ranks)

    for own in _groups(runs, lambda run: run.dataset):
        _refuse_unlike(own, same, "were not tested on the same cases", _first_difference)


def refuse_other_sources(runs: Sequence["Run"]) -> None:
    """Raises InputError where runs on one data set had other data than the newest, or other encoders of one name.

    Texts count only between runs that read some, see `other_items` for the rest. What an earlier SEAR did not record
    cannot be compared, see `unknown_data`.
    """
    known = [run for run in runs if run.record.data is not None]
    encoded = [run for run in runs if run.record.text_encoder is not None]
    reading = [run for run in known if run.record.text_encoder is not None]
    for suffix, some in (("inter", known), ("item", reading)):

        def same(newest: "Run", run: "Run", suffix: str = suffix) -> bool:
            return suffix not in other_data(newest.record.data or {}, run.record.data or {})

        for own in _groups(some, lambda run: run.dataset):
            _refuse_unlike(own, same, f"were trained on other data than each other (their .{suffix} files)")

    def encoder(run: "Run") -> dict:
        return run.record.text_encoder or {}

    for own in _groups(encoded, lambda run: (run.dataset, Path(str(encoder(run).get("path"))).name)):
        _refuse_unlike(
            own,
            lambda newest, run: not other_encoder(encoder(newest), encoder(run)),
            "were trained by text encoders of one name that are not the same",
        )


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


def written_at(run: "Run") -> int:
    """When a run's metrics.json was written, in ns: what makes one run newer than another."""
    return (run.folder / "metrics.json").stat().st_mtime_ns


def _groups(runs: Iterable["Run"], key: Callable[["Run"], Hashable]) -> Iterable[list["Run"]]:
    groups: dict[Hashable, list[Run]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return groups.values()


def _refuse_unlike(
    runs: Sequence["Run"],
    same: Callable[["Run", "Run"], bool],
    why: str,
    example: Callable[["Run", "Run"], str] = lambda older, newest: "",
) -> None:
    """Raises InputError naming the runs that are not the `same` as the newest, the oldest first.

    The newest counts as right: the usual cause is that the data changed, and that older runs were left beside it.
    """
    newest = max(runs, key=written_at)
    older = sorted((run for run in runs if not same(newest, run)), key=written_at)
    if older:
        named = ", ".join(f"{run.folder} ({_date(run)})" for run in older[:MOST_NAMED])
        more = f" and {len(older) - MOST_NAMED} more" if len(older) > MOST_NAMED else ""
        raise InputError(
            f"{named}{more} and the newest run, {newest.folder} ({_date(newest)}), {why}{example(older[0], newest)}"
            " - move the older folders elsewhere, or run them again"
        )


def _date(run: "Run") -> str:
    return f"{datetime.fromtimestamp(written_at(run) / 1e9):%Y-%m-%d %H:%M}"


def _first_difference(one: "Run", other: "Run") -> str:
    if one.cases is None or other.cases is None:
        return ""
    if len(one.cases) != len(other.cases):
        return f" ({len(one.cases)} and {len(other.cases)})"
    row = int((one.cases != other.cases).any(axis=1).to_numpy().argmax())
    seen = [f"user {user}, target {target}" for user, target in (one.cases.loc[row], other.cases.loc[row])]
    return f" (for example {' and '.join(seen)})"
