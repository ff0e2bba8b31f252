"""Trainings killed at random moments and gone on with: `python -m tests.campaigns.kills --count=100 --seed=1`.

Small trainings of several kinds are killed (SIGKILL), some by the clock, some at a random file operation of theirs
(between the writing of a file and its renaming, say), then gone on with as a user would, perhaps killed again, and at
last compared with one that nobody stopped: checkpoints, metrics, history, cases, examples and the row of summary.csv,
bit for bit, and no temporary file left. A kill is made again by its number: `--only=NUMBER` with the same seed. The
exit code is 1 where any end differs.
"""

import argparse
import csv
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tabulate import tabulate

import sear  # noqa: F401  (before torch, for its thread settings)

# isort: split
import torch

from sear.cli.main import main as sear_main
from sear.quick_start import run_sear  # noqa: F401  (imported once, for all children)
from sear.report import figures
from tests.conftest import TOY, fake_sentence_vectors, random_histories, tiny_config_root, write_atomic_files

SECONDS = 900  # for one process; one that takes longer hangs
PER_RUN = ("seconds", "peak_memory_mb", "peak_memory_since", "environment")  # of metrics.json: may differ


@dataclass(frozen=True)
class Victim:
    """A training that is killed: its words on the command line."""

    name: str
    words: tuple[str, ...]

    @property
    def grid(self) -> bool:
        """Several runs, gone on with by the same command; a single one by --resume."""
        return any("," in word for word in self.words if word.startswith(("--seed", "--model")))


VICTIMS = [
    Victim("SEAR", ("--model=SEAR", "--seed=1")),
    Victim("SEAR, averaged, warm-up", ("--model=SEAR", "--seed=2", "--ema_decay=0.9", "--warmup_steps=5")),
    Victim("BERT4Rec", ("--model=BERT4Rec", "--seed=1")),
    Victim("RecBole's NARM", ("--model=NARM", "--seed=1")),
    Victim("ItemKNN", ("--model=ItemKNN", "--seed=1")),
    Victim("grid", ("--model=Pop,SASRec", "--seed=1,2", "--epochs=2")),
]  # fmt: skip


def train(results: Path, config: Path, words: Sequence[str]) -> int:
    """The command line in this process, on the tiny data set; figures are left out, for they take longest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sear.settings.gather.CONFIG_ROOT", config.parent / "config")
        patch.setattr("sear.data.text_cache.sentence_vectors", fake_sentence_vectors)
        patch.setattr("sear.runs.machine.commit", lambda root: "0" * 40)  # someone may commit meanwhile
        for name in ("group_bars", "learning_curves", "quality_by_cost", "effects"):
            patch.setattr(figures, name, lambda *_: None)
        return sear_main([*words])


def command(victim: Victim, results: Path, config: Path) -> list[str]:
    return ["--dataset=tiny", f"--config={config}", f"--results_path={results}", *victim.words]


def going_on(victim: Victim, results: Path, config: Path) -> list[str]:
    """How a user goes on after a kill: --resume where a single run left something to go on with, else once more."""
    begun = sorted(results.glob("tiny/*/*/config.yaml"))
    return command(victim, results, config) if victim.grid or not begun else [f"--resume={begun[0].parent}"]


def child(folder: Path, work: Callable[[], int]) -> int:
    """The id of a new process that does the work; what it says goes to FOLDER/said."""
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.stdout = sys.stderr = open(1, "w", encoding="utf-8", buffering=1, closefd=False)
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def wait(process: int, seconds: float) -> int | None:
    """The exit code, negative for a signal's; None where the process is still there after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            return None
        time.sleep(0.002)


def on_file_operations(folder: Path, act: Callable[[int], None]) -> None:
    """Call `act` with the number of each opening for writing, renaming and removal below the folder, before it."""
    count = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        writes = event in ("os.rename", "os.remove", "os.mkdir", "os.truncate")
        if event == "open":
            writes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR)) if isinstance(arguments[2], int) else False
        if writes and str(folder) in str(arguments[0]):
            count += 1
            act(count)

    sys.addaudithook(hook)


def ends(results: Path) -> dict[str, Any]:
    """What a finished training left, by file, without what differs between two of the same command."""
    found: dict[str, Any] = {}
    for folder in sorted(path.parent for path in results.glob("tiny/*/*/config.yaml")):
        seed = folder.name.split("seed")[-1].partition("-")[0]
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()  # files of the trained model lie in a folder of their own
            found[f"{folder.parent.name}, seed {seed}: {name}"] = content(path)
    with open(results / "summary.csv", encoding="utf-8", newline="") as file:
        rows = [(row["model"], row["seed"], row["epochs"], row["test_ndcg@10"]) for row in csv.DictReader(file)]
    return found | {"summary.csv": sorted(rows)}


def content(path: Path) -> Any:
    """What has to be the same of one file."""
    if path.suffix == ".pth":
        return _plain(torch.load(path, weights_only=True))
    if path.name == "metrics.json":
        record = json.loads(path.read_text(encoding="utf-8"))
        return {key: value for key, value in record.items() if key not in PER_RUN}
    if path.name == "history.csv":
        with open(path, encoding="utf-8", newline="") as file:
            return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]
    if path.name in ("run.log", "config.yaml"):  # with times, and the place
        return "there"
    return path.read_bytes()


def _plain(state: Any) -> Any:
    """A checkpoint with tensors as bytes, without seconds and what follows from them."""
    if isinstance(state, torch.Tensor):
        return str(state.dtype), tuple(state.shape), state.contiguous().numpy().tobytes()
    if isinstance(state, dict):
        skipped = ("seconds", "fit_seconds", "digest", "environment")
        return {key: _plain(value) for key, value in state.items() if key not in skipped}
    return [_plain(entry) for entry in state] if isinstance(state, (list, tuple)) else state


def moment(results: Path) -> str:
    """What a kill found done, by what it left."""
    folders = sorted(path for path in results.glob("tiny/*/*") if path.is_dir())
    torn = ", while writing" if list(results.rglob("*.tmp")) else ""
    if not folders:
        return f"before the run folder{torn}"
    left = {path.name for path in folders[-1].iterdir()}
    for name, told in (
        ("metrics.json", "after metrics.json"),
        ("cases.csv.gz", "between cases and metrics"),
        ("last.pth", "between two epochs kept"),
        ("best.pth", "between best.pth and the first last.pth"),
        ("config.yaml", "before the first checkpoint"),
    ):
        if name in left:
            return f"{told}{torn}"
    return f"before config.yaml{torn}"


@dataclass
class Unstopped:
    """A victim left alone: what it ended with, its seconds and its file operations."""

    ends: dict[str, Any]
    seconds: float
    operations: int


def unstopped(victim: Victim, folder: Path, config: Path) -> Unstopped:
    counted = folder / "counted"

    def work() -> int:
        on_file_operations(folder / "results", lambda number: counted.write_text(str(number)))
        return train(folder / "results", config, command(victim, folder / "results", config))

    started = time.monotonic()
    code = wait(child(folder, work), 10 * SECONDS)
    assert code == 0, f"{victim.name}: exit code {code}\n{(folder / 'said').read_text()}"
    return Unstopped(ends(folder / "results"), time.monotonic() - started, int(counted.read_text()))


def killed(victim: Victim, alone: Unstopped, rng: random.Random, folder: Path, config: Path) -> tuple[list, str]:
    """(each kill's kind and moment, what is wrong with the end: "" for nothing)."""
    results, kills = folder / "results", []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        words = going_on(victim, results, config)
        by_clock, at = rng.random() < 0.5, rng.random()
        operation = 1 + int(at * alone.operations)

        def work(words=words, by_clock=by_clock, operation=operation) -> int:
            if not by_clock:
                die = lambda number: number == operation and os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
                on_file_operations(results, die)
            return train(results, config, words)

        process = child(folder, work)
        code = wait(process, at * alone.seconds if by_clock else SECONDS)
        if code is None:
            os.kill(process, signal.SIGKILL)
            code = os.waitpid(process, 0)[1] and -signal.SIGKILL
        if code != -signal.SIGKILL:
            if code != 0:
                return kills, f"exit code {code} instead of an end\n{(folder / 'said').read_text()}"
            break  # done before the moment came
        kills.append(("by the clock" if by_clock else "at a file operation", moment(results)))
    words = going_on(victim, results, config)
    code = wait(child(folder, lambda: train(results, config, words)), SECONDS)
    if code != 0:
        return kills, f"exit code {code} of the last going on\n{(folder / 'said').read_text()}"
    return kills, difference(alone.ends, ends(results))


def difference(wanted: dict[str, Any], found: dict[str, Any]) -> str:
    """Which files are not those of the run that nobody stopped."""
    names = sorted({name for name in {*wanted, *found} if wanted.get(name) != found.get(name)})
    return "" if not names else f"other than unstopped: {'; '.join(names)}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.kills", description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=100, help="how many kills at least (default 100)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="this training alone, with what it said")
    asked = parser.parse_args()
    torch.set_num_threads(1)  # no thread may be there when a child is forked
    started, counts, escaped = time.time(), Counter(), {}
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        place = Path(name)
        write_atomic_files(place, "tiny", random_histories())
        tiny_config_root(place)
        config = place / "toy.yaml"
        config.write_text(json.dumps(TOY | {"epochs": 3, "threads": 1, "seed": 1, "state": "INFO"}), encoding="utf-8")
        alone: dict[str, Unstopped] = {}
        number = asked.only or 0
        while asked.only == number or (asked.only is None and counts.total() < asked.count):
            victim, rng = VICTIMS[number % len(VICTIMS)], random.Random(f"{asked.seed}:{number}")
            folder = place / f"training-{number}"
            folder.mkdir()
            if victim.name not in alone:
                (place / victim.name).mkdir()
                alone[victim.name] = unstopped(victim, place / victim.name, config)
            kills, wrong = killed(victim, alone[victim.name], rng, folder, config)
            counts.update((victim.name, kind, at) for kind, at in kills)
            if wrong:
                escaped[number] = f"{victim.name}, {kills}: {wrong}"
            print(f"{number}: {victim.name}, {kills}{': WRONG' if wrong else ''}", file=sys.stderr, flush=True)
            if asked.only is not None:
                print(f"{victim.name}, {kills}\n{(folder / 'said').read_text()}")
            number += 1
    for place_of, head in ((0, "training"), (1, "kill"), (2, "moment")):
        shown = Counter()
        for key, count in counts.items():
            shown[key[place_of]] += count
        print(tabulate(sorted(shown.items()), (head, "kills"), "github"), end="\n\n")
    whole = f"{counts.total()} kills in {number} trainings, seed {asked.seed}, {time.time() - started:.0f} s"
    print(f"{whole}: {len(escaped)} ended otherwise than unstopped")
    for number, told in escaped.items():
        print(f"--seed={asked.seed} --only={number}: {told}")
    return int(bool(escaped))


if __name__ == "__main__":
    sys.exit(main())
