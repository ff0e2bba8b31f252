"""An epoch of SEAR by two processes with a thread each, on one machine and on two, against one with two threads.

Each turn is a training of two epochs in processes of its own; the second epoch counts, without validation. The two
machines are network namespaces of this one with a cable between them (benchmarks.machines).
"""

import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from benchmarks import machines
from benchmarks.measure import LEAST_ROUNDS, Request, Row, Turn, compare, say
from sear.files import PROJECT_ROOT

ONE, TWO, APART = "1 process, 2 threads", "2 processes, 1 thread each", "2 processes on 2 machines, 1 thread each"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
TOY = ("--hidden_size=8", "--num_layers=1", "--num_heads=2", "--d_state=4", "--MAX_ITEM_LIST_LENGTH=10")
GOAL, PORT = 1, 29517


def rows(request: Request) -> Iterator[Row]:
    fault = machines.fault()
    turns: dict[str, list[Turn]] = {name: [] for name in (ONE, TWO, *(() if fault else (APART,)))}
    with nullcontext([]) if fault else machines.two_machines() as places:
        for number in range(1 if request.quick else max(request.rounds, LEAST_ROUNDS)):
            for name in turns:
                turns[name].append(Turn(epoch_seconds(commands(name, places), TOY if request.quick else ()), None))
                say(f"  round {number + 1}, {name}: {turns[name][-1].seconds:.4g} s")
    note = f"two machines are left out: {fault}" if fault else ""
    yield compare(f"epoch of ml-100k, {TWO}", ONE, {TWO: turns[TWO], ONE: turns[ONE]}, GOAL, note)
    if not fault:
        yield compare(f"epoch of ml-100k, {APART}", ONE, {APART: turns[APART], ONE: turns[ONE]})


def commands(name: str, places: list[machines.Machine]) -> list[list[str]]:
    """The words that start the training, one command for each machine."""
    if name == ONE:
        return [[sys.executable]]
    if name == TWO:
        return [[*TORCHRUN, "--standalone", "--nproc_per_node=2"]]
    apart = [
        *TORCHRUN,
        "--nnodes=2",
        "--nproc_per_node=1",
        f"--master_addr={places[0].address}",
        f"--master_port={PORT}",
    ]
    return [place.command([*apart, f"--node_rank={number}"]) for number, place in enumerate(places)]


def epoch_seconds(started_by: list[list[str]], words: tuple[str, ...]) -> float:
    """Seconds of the second epoch of a training."""
    threads = "2" if len(started_by[0]) == 1 else "1"
    with tempfile.TemporaryDirectory(prefix="sear-benchmark-") as folder:
        asked = [
            "custom_trainer.py",
            f"--epochs={1 if words else 2}",
            "--use_gpu=False",
            f"--results_path={folder}",
            *words,
        ]
        settings = {"cwd": PROJECT_ROOT, "env": os.environ | {"OMP_NUM_THREADS": threads}}
        running = [
            subprocess.Popen([*start, *asked], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **settings)
            for start in started_by
        ]
        said = [process.communicate()[1] for process in running]
        assert not any(process.returncode for process in running), "\n".join(said)
        (path,) = Path(folder).glob("ml-100k/SEAR/*/history.csv")
        with open(path, encoding="utf-8", newline="") as file:
            return float(list(csv.DictReader(file))[-1]["seconds"])
