"""Seconds and peak memory of several ways to do one thing, turn about, so that a drifting machine wrongs none."""

import ctypes
import gc
import json
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from sear.files import PROJECT_ROOT, write_text

LEAST_ROUNDS = 3
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Skipped(Exception):
    """A row cannot be measured here; the message says why and how it could be."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for. quick: toy sizes, to see that everything runs; its figures mean nothing."""

    quick: bool = False
    rounds: int = 5
    budget: float = 240.0  # seconds of a comparison after which no further round begins; three are run in any case
    encoder: Path = PROJECT_ROOT / "all-mpnet-base-v2"


@dataclass(frozen=True)
class Side:
    """One way to do it. scale: the whole job is so many times what `run` does (1: all of it)."""

    run: Callable[[], object]
    scale: float = 1.0


@dataclass(frozen=True)
class Turn:
    """Seconds of the whole job in one round; bytes of peak memory, its own or an earlier run's, None where unknown."""

    seconds: float
    peak: float | None


@dataclass(frozen=True)
class Row:
    """A line of the table: `ours` against `baseline`, medians over the rounds; `ratio` above 1: ours is faster."""

    name: str
    baseline: str
    seconds: float
    baseline_seconds: float
    ratio: float
    lowest: float
    highest: float
    peak_mb: float | None
    baseline_peak_mb: float | None
    rounds: int
    goal: float | None = None
    note: str = ""


def alternate(sides: Mapping[str, Side], request: Request) -> dict[str, list[Turn]]:
    """Turns taken A B C A B C …, after one run of each side that warms it up and one that tells its memory."""
    peaks = {name: peak_when_warm(side) for name, side in sides.items()}
    turns: dict[str, list[Turn]] = {name: [] for name in sides}
    started, rounds = perf_counter(), 1 if request.quick else max(request.rounds, LEAST_ROUNDS)
    for number in range(rounds):
        if number >= LEAST_ROUNDS and perf_counter() - started > request.budget:
            break
        for name, side in sides.items():
            turns[name].append(Turn(seconds_of(side, 0.0 if request.quick else 0.5), peaks[name]))
            say(f"  round {number + 1}, {name}: {turns[name][-1].seconds:.4g} s")
    return turns


def peak_when_warm(side: Side) -> float | None:
    """Bytes of a second run: only the first one compiles, imports and allocates what later ones keep."""
    side.run()
    return peak_of(side)


def peak_of(side: Side) -> float | None:
    """Bytes of memory that one run needs above what is held before."""
    gc.collect()
    memory = PeakMemory()
    side.run()
    return memory.above_start()


def seconds_of(side: Side, least_seconds: float = 0.5) -> float:
    """Seconds of the whole job, from one run, or where that is short from the mean of more."""
    gc.collect()
    started = perf_counter()
    side.run()
    seconds = perf_counter() - started
    if seconds < least_seconds:
        repeats = int(least_seconds / seconds) + 1
        started = perf_counter()
        for _ in range(repeats):
            side.run()
        seconds = (perf_counter() - started) / repeats
    return seconds * side.scale


def compare(
    name: str, baseline: str, turns: Mapping[str, list[Turn]], goal: float | None = None, note: str = ""
) -> Row:
    """The row of the first side of `turns` against the one called `baseline`; ratios are those of the single rounds."""
    ours, theirs = next(iter(turns.values())), turns[baseline]
    ratios = [b.seconds / a.seconds for a, b in zip(ours, theirs, strict=True)]
    return Row(
        name,
        baseline,
        median(turn.seconds for turn in ours),
        median(turn.seconds for turn in theirs),
        median(ratios),
        min(ratios),
        max(ratios),
        _median_mb(ours),
        _median_mb(theirs),
        len(ours),
        goal,
        note,
    )


def _median_mb(turns: list[Turn]) -> float | None:
    peaks = [turn.peak for turn in turns if turn.peak is not None]
    return median(peaks) / 1e6 if peaks else None


class PeakMemory:
    """Follows this process's resident memory from now on, where the kernel can (Linux)."""

    def __init__(self):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)  # what earlier work left unused would hide what this work needs
        try:
            CLEAR_REFS.write_text("5", encoding="ascii")  # the high-water mark falls to what is resident now
            self.start = _status_bytes("VmHWM")
        except OSError:
            self.start = None

    def above_start(self) -> float | None:
        """Bytes: the highest since the start, above the start."""
        return None if self.start is None else _status_bytes("VmHWM") - self.start


def _status_bytes(field: str) -> float:
    return float(re.search(rf"{field}:\s+(\d+) kB", STATUS.read_text(encoding="ascii"))[1]) * 1024


def say(line: str) -> None:
    """A sign of life, beside the table."""
    print(line, file=sys.stderr, flush=True)


def write_json(found: object, out: Path | None) -> None:
    """What was measured as JSON, to a file or to standard output."""
    text = json.dumps(found, indent=1) + "\n"
    if out:
        write_text(out, text)
    else:
        print(text, end="")
