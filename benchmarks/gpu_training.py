"""Trainings side by side on one card: small models leave a GPU idle most of the time, so several share it.

Each is an ordinary `custom_trainer.py` in a process of its own with one CPU thread; what it leaves is a run folder.
"""

import os
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path
from time import perf_counter, sleep

from benchmarks.measure import say
from sear.files import PROJECT_ROOT

CHECKPOINTS = ("best.pth", "last.pth")


def train_jobs(lines: list[str], folder: Path, workers: int, seconds: float, device: str) -> int:
    """Run the command lines' trainings, `workers` at a time, and pack what they left into `folder`.tar.gz.

    Args:
        lines: the arguments of one custom_trainer.py each, such as `--dataset=ml-1m --model=SEAR --seed=1`; an empty
            line or one with # is none.
        seconds: after these, running trainings are stopped as by Ctrl-C, and no further one begins; they can be
            gone on with, where their checkpoints are kept.

    Returns:
        How many did not finish.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    waiting = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    running: dict[subprocess.Popen, tuple[str, float]] = {}
    started, unfinished, number = perf_counter(), 0, 0
    while waiting or running:
        late = perf_counter() - started > seconds
        while waiting and not late and len(running) < workers:
            line, number = waiting.pop(0), number + 1
            log = open(folder / f"job-{number:03d}.log", "w", encoding="utf-8")
            running[_start(line, folder, device, log)] = (line, perf_counter())
        if late:
            unfinished += len(waiting)
            waiting = []
            for process in running:
                process.send_signal(2)  # a run that is interrupted says how to go on
        for process in [process for process in running if process.poll() is not None]:
            line, since = running.pop(process)
            unfinished += process.returncode != 0
            say(
                f"{perf_counter() - started:5.0f} s  {perf_counter() - since:5.0f} s  exit {process.returncode}  {line}"
            )
        if late and running:
            _wait_or_kill(list(running), 20)
        sleep(0.2)
    _pack(folder)
    return unfinished


def _start(line: str, folder: Path, device: str, log) -> subprocess.Popen:
    command = [sys.executable, str(PROJECT_ROOT / "custom_trainer.py"), *shlex.split(line)]
    command += [f"--results_path={folder / 'results'}", "--threads=1", "--show_progress=False"]
    command += [] if device == "cuda" else ["--use_gpu=False"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=log, stderr=subprocess.STDOUT, env=environment)


def _wait_or_kill(processes: list[subprocess.Popen], seconds: float) -> None:
    end = perf_counter() + seconds
    while perf_counter() < end and any(process.poll() is None for process in processes):
        sleep(0.1)
    for process in processes:
        if process.poll() is None:
            process.kill()


def _pack(folder: Path) -> None:
    """Everything but the checkpoints, which are the largest part and can be trained again."""
    with tarfile.open(folder.with_suffix(".tar.gz"), "w:gz") as packed:
        packed.add(folder, folder.name, filter=lambda entry: None if Path(entry.name).name in CHECKPOINTS else entry)
