"""Processes of torchrun killed at random moments: `python -m tests.campaigns.ranks --count=50 --seed=1`.

Small trainings by two or three processes, of which one dies (SIGKILL) by the clock, whichever and whenever chance says.
Some are started anew by torchrun (`--max-restarts`), the others are gone on with as a user would. Each must end with
the same checkpoints, metrics, history and cases as one that nobody stopped, bit for bit; all processes of the time of
the kill must be gone within a minute, and none may be left at the end. The exit code is 1 where any of it is not so.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from tests.campaigns.kills import difference, ends, moment
from tests.helpers import toy_command

SECONDS = 900  # for one command; one that takes longer hangs
A_MINUTE = 60
NOBODY = "done before the moment came"  # nobody was killed
KINDS = {"SEAR": ("--model=SEAR", "--ema_decay=0.9"), "SASRec": ("--model=SASRec",), "BERT4Rec": ("--model=BERT4Rec",)}


@dataclass(frozen=True)
class Victims:
    """What is trained by how many processes, and whether torchrun starts them anew."""

    kind: str
    count: int
    restarts: bool


def start(folder: Path, victims: Victims, words: list[str]) -> subprocess.Popen:
    options = ["--standalone", f"--nproc_per_node={victims.count}", f"--max-restarts={int(victims.restarts)}"]
    command = [sys.executable, "-m", "torch.distributed.run", *options, "-m", toy_command.MODULE, str(folder), *words]
    settings = os.environ | {"OMP_NUM_THREADS": "1"}
    with open(folder / "said", "a", encoding="utf-8") as said:
        return subprocess.Popen(command, cwd=toy_command.ROOT, env=settings, stdout=said, stderr=said)


def members(folder: Path) -> dict[int, int]:
    """rank -> process id of the processes that train in the folder now."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (path / "cmdline").read_bytes():
                told = dict(line.split("=", 1) for line in (path / "environ").read_text().split("\0") if "=" in line)
                if "TORCHELASTIC_RUN_ID" in told:
                    found[int(told["RANK"])] = int(path.name)
        except (OSError, ValueError):  # it has ended meanwhile
            continue
    return found


def is_there(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def exit_code(torchrun: subprocess.Popen, folder: Path, seconds: float = SECONDS) -> int | None:
    """Of a training that ends; of one that hangs None, and all of its processes are killed."""
    try:
        return torchrun.wait(seconds)
    except subprocess.TimeoutExpired:
        torchrun.kill()
        torchrun.wait()
        for process in members(folder).values():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return None


def run_folders(results: Path) -> list[Path]:
    return sorted(path.parent for path in results.glob("tiny/*/*/config.yaml"))


def unstopped_seconds(folder: Path, victims: Victims) -> tuple[float, float]:
    """Seconds that a training takes which nobody stops: until it has a run folder, and from there on."""
    begun, there = time.monotonic(), 0.0
    torchrun = start(folder, victims, list(KINDS[victims.kind]))
    while torchrun.poll() is None:
        if not there and run_folders(folder / "results"):
            there = time.monotonic()
        assert time.monotonic() - begun < SECONDS, "hangs"
        time.sleep(0.02)
    assert torchrun.returncode == 0, (folder / "said").read_text()
    return there - begun, time.monotonic() - there


def killed(folder: Path, victims: Victims, rng: random.Random, seconds: tuple[float, float]) -> tuple[str, float, str]:
    """Train, kill a process and bring the training to its end; three of four once there is a run folder.

    Args:
        seconds: as of unstopped_seconds.

    Returns:
        What the kill found done, after how many seconds all processes of its time were gone, and what is wrong, "" for
        nothing.
    """
    results, words = folder / "results", list(KINDS[victims.kind])
    torchrun = start(folder, victims, words)
    begun, later, rank = time.monotonic(), rng.random() < 0.75, rng.randrange(victims.count)
    at, since = rng.random() * seconds[later], 0.0 if later else begun
    while torchrun.poll() is None:
        there = members(folder)
        if not since and run_folders(results):
            since = time.monotonic()
        if since and time.monotonic() - since >= at and rank in there:
            break
        if time.monotonic() - begun > SECONDS:
            exit_code(torchrun, folder, 0)
            return NOBODY, 0.0, f"hangs: none of the processes was process {rank} in {SECONDS} s"
        time.sleep(0.02)
    else:
        return NOBODY, 0.0, difference(alone(folder), ends(results))
    found, there = moment(results), members(folder) | there
    os.kill(there[rank], signal.SIGKILL)
    struck = time.monotonic()
    while any(map(is_there, there.values())):
        if time.monotonic() - struck > A_MINUTE:
            left = [process for process in there.values() if is_there(process)]
            exit_code(torchrun, folder, 0)
            return found, A_MINUTE, f"after a minute there are still {left}"
        time.sleep(0.02)
    gone = time.monotonic() - struck
    code = exit_code(torchrun, folder)
    if not victims.restarts and code:
        left = run_folders(results)
        again = start(folder, victims, [f"--resume={left[0]}"] if left else words)
        code = exit_code(again, folder)
    if code != 0:
        how = f"hangs after {SECONDS} s" if code is None else f"exit code {code}"
        return found, gone, f"{how}\n{(folder / 'said').read_text()[-3000:]}"
    return found, gone, difference(alone(folder), ends(results))


def alone(folder: Path) -> dict:
    """What a training of these processes left that nobody stopped; it lies beside the folder."""
    return ends(Path((folder / "unstopped").read_text()))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.ranks", description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=50, help="how many trainings (default 50)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="this training alone, with what it said")
    asked = parser.parse_args()
    started, rows, escaped = time.time(), Counter(), {}
    longest, unstopped = 0.0, {}
    with tempfile.TemporaryDirectory(prefix="ranks-") as name:
        for number in range(asked.count) if asked.only is None else [asked.only]:
            rng = random.Random(f"{asked.seed}:{number}")
            victims = Victims(rng.choice(list(KINDS)), rng.choice([2, 2, 3]), rng.random() < 0.5)
            made = victims.kind, victims.count
            if made not in unstopped:
                folder = Path(name) / f"unstopped-{len(unstopped)}"
                folder.mkdir()
                toy_command.make(folder)
                unstopped[made] = folder / "results", unstopped_seconds(folder, Victims(*made, False))
            folder = Path(name) / f"training-{number}"
            folder.mkdir()
            toy_command.make(folder)
            (folder / "unstopped").write_text(str(unstopped[made][0]))
            found, gone, wrong = killed(folder, victims, rng, unstopped[made][1])
            if left := members(folder):
                wrong += f"; left behind: {left}"
            longest = max(longest, gone)
            way = "torchrun starts anew" if victims.restarts else "gone on with by hand"
            became = "otherwise than unstopped" if wrong else "as unstopped"
            rows[f"{victims.kind}, {victims.count} processes", found, way, became] += 1
            print(f"{number}: {victims}, {found}: {became}, all gone after {gone:.1f} s", flush=True)
            if wrong:
                escaped[number] = wrong
            if asked.only is not None:
                print((folder / "said").read_text())
    for place, head in ((0, "training"), (1, "moment"), (2, "way")):
        shown = Counter()
        for key, count in rows.items():
            shown[key[place], key[3]] += count
        print(tabulate([(*key, count) for key, count in sorted(shown.items())], (head, "ended", "trainings"), "github"))
        print()
    kills = sum(count for (_, found, *_), count in rows.items() if found != NOBODY)
    whole = f"{kills} kills in {rows.total()} trainings, seed {asked.seed}, {time.time() - started:.0f} s"
    print(f"{whole}: {len(escaped)} ended otherwise than unstopped; all were gone after {longest:.1f} s at most")
    for number, told in escaped.items():
        print(f"--seed={asked.seed} --only={number}: {told}")
    return int(bool(escaped))


if __name__ == "__main__":
    sys.exit(main())
