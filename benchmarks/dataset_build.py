"""Loading, filtering and splitting 2.09 million events: SEARDataset against RecBole's SequentialDataset.

Each build has a process of its own, so that its memory is its own; seconds begin when everything is imported.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.measure import PeakMemory, Request, Row, Skipped, Turn, compare, say
from benchmarks.synthetic import SUPPLIES, TOY, write_atomic_files
from sear.files import PROJECT_ROOT

NAME = "Amazon_Pet_Supplies"
COLUMNS = ["user_id", "item_id", "rating", "timestamp"]
OURS, BASELINE = "SEARDataset", "RecBole's SequentialDataset"
GOAL = 10
MOST_SECONDS, MOST_BYTES = 30, 2e9  # for ours, the whole process counted
ROUNDS = 3  # RecBole takes minutes
PADDED_LENGTHS = (100, 50, 20)
BYTES_PER_PADDED_EVENT = 40  # of RecBole at its peak: int64 items, float32 ratings and times, and their copies


@dataclass(frozen=True)
class Build:
    """Seconds to load (read, filter, sort) and to build (split, windows, loaders); bytes at the peak.

    above: above the imports; whole: of the whole process. None where the system does not say.
    """

    load: float
    build: float
    above: float | None
    whole: float | None

    @property
    def turn(self) -> Turn:
        return Turn(self.load + self.build, self.above)


def rows(request: Request) -> Iterator[Row]:
    sizes = TOY if request.quick else SUPPLIES
    length = affordable_length(sizes.events)
    with tempfile.TemporaryDirectory(prefix="sear-benchmark-") as folder:
        say("dataset-build: data")
        write_atomic_files(sizes, Path(folder), NAME)
        builds: dict[str, list[Build]] = {OURS: [], BASELINE: []}
        for number in range(1 if request.quick else ROUNDS):
            for side, found in builds.items():
                found.append(build_in_own_process(side, folder, length))
                say(f"  round {number + 1}, {side}: {found[-1].turn.seconds:.4g} s")
    row = compare(
        "dataset build", BASELINE, {side: [one.turn for one in found] for side, found in builds.items()}, GOAL
    )
    note = f"{sizes.events:,} events, MAX_ITEM_LIST_LENGTH {length}; peaks are above the imports"
    if length < PADDED_LENGTHS[0]:
        note += f" ({PADDED_LENGTHS[0]} would not fit this machine's memory in RecBole's form)"
    if row.peak_mb and row.baseline_peak_mb:
        note += f"; {row.baseline_peak_mb / row.peak_mb:.3g} times less memory (goal: {GOAL})"
    loads = "; ".join(
        f"{side} {_middle(found, 'load')} + {_middle(found, 'build')} s" for side, found in builds.items()
    )
    whole = [one.whole for one in builds[OURS] if one.whole is not None]
    note += f"; load + build: {loads}; {OURS}, whole process: "
    yield replace(row, note=note + held(row.seconds, MOST_SECONDS, median(whole) if whole else None, MOST_BYTES))


def _middle(builds: list[Build], part: str) -> str:
    return f"{median(getattr(one, part) for one in builds):.3g}"


def held(seconds: float, most_seconds: float, peak: float | None, most_bytes: float) -> str:
    """Whether both limits of a task were kept, as a note says it."""
    time = f"{most_seconds:g} s {'held' if seconds <= most_seconds else 'NOT held'} ({seconds:.3g} s)"
    if peak is None:
        return f"{time}, {most_bytes / 1e9:g} GB unknown here"
    return f"{time}, {most_bytes / 1e9:g} GB {'held' if peak <= most_bytes else 'NOT held'} ({peak / 1e9:.2f} GB)"


def affordable_length(events: int) -> int:
    """The longest of PADDED_LENGTHS at which RecBole's padded rows fit into the memory that is free."""
    free = free_memory()
    fitting = [length for length in PADDED_LENGTHS if free is None or events * length * BYTES_PER_PADDED_EVENT < free]
    if not fitting:
        raise Skipped(f"RecBole's rows of {events:,} events do not fit into {free / 1e9:.1f} GB of free memory")
    return fitting[0]


def free_memory() -> float | None:
    """Bytes that a new process can have without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def build_in_own_process(side: str, folder: str, length: int) -> Build:
    command = [sys.executable, "-m", "benchmarks.dataset_build", side, folder, str(length)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, text=True, stdout=subprocess.PIPE)
    if done.returncode:
        raise Skipped(f"the process that builds {side} ended with code {done.returncode} (-9: out of memory)")
    return Build(**json.loads(done.stdout.splitlines()[-1]))


def build(side: str, folder: str, length: int) -> Build:
    """Three loaders from the atomic file, by one of the two."""
    import warnings

    from recbole.data import data_preparation
    from recbole.data.dataset import SequentialDataset

    from sear.data.dataset import SEARDataset
    from sear.settings.recbole_config import build_config

    warnings.filterwarnings("ignore")
    settings = {"data_path": folder, "load_col": {"inter": COLUMNS}, "MAX_ITEM_LIST_LENGTH": length, "use_gpu": False}
    config = build_config(NAME, "SEAR" if side == OURS else "SASRec", settings | {"text_init": False})
    kind = SEARDataset if side == OURS else SequentialDataset
    memory, started = PeakMemory(), perf_counter()
    dataset = kind(config)
    loaded = perf_counter()
    loaders = data_preparation(config, dataset)
    assert len(loaders) == 3
    ended, above = perf_counter(), memory.above_start()
    return Build(loaded - started, ended - loaded, above, None if above is None else memory.start + above)


if __name__ == "__main__":
    _, side, folder, length = sys.argv
    print(json.dumps(asdict(build(side, folder, int(length)))))
