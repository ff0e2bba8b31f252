"""How time and memory grow with the events: python -m benchmarks.large_data [--events 1e6,1e7,1e8] [--processes 1,2,4].

A table of synthetic events, written in pieces, is converted, read for the first time, read again (from the arrays that
are kept, where the file is large enough), given text vectors (random ones, in place of an encoder's) and trained on for
some batches: SEAR without its PCA start, the softmax from a sample. Each step has a process of its own; told are its
seconds by the clock, its seconds of CPU time, and its highest resident memory. With --processes, so many processes read
the largest data set and its vectors at once and each cuts its share of an epoch's batches out: told is the sum of their
proportional set sizes (a page that n processes map counts 1/n for each), above that after their imports.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from itertools import chain, count, islice
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from tabulate import tabulate

from benchmarks.measure import say
from sear.files import PROJECT_ROOT

NAME = "Amazon_Pet_Supplies"  # as whose data set the synthetic one is trained on
EVENTS_PER_USER, EVENTS_PER_ITEM = 50, 500
PIECE = 1 << 20
FIRST_TIME = 900_000_000
COLUMNS = ["user_id", "item_id", "rating", "timestamp"]
SETTINGS = {
    "text_init": False, "use_gpu": False, "load_col": {"inter": COLUMNS, "item": ["item_id", "title"]},
    "item_sem_embedding_model_path": "benchmark/random-vectors", "loss_type": "sampled",
}  # fmt: skip
TEXT_WIDTH = 768  # of all-mpnet-base-v2's vectors
STEPS = {"convert": "", "first reading": "load", "reading again": "load", "texts": "texts", "training": "train"}


def write_table(path: Path, events: int, seed: int = 2020) -> None:
    """A CSV table of events in the order of their times, piece by piece; some users and items have many times more
    events than others."""
    random = np.random.default_rng(seed)
    users, items = events // EVENTS_PER_USER, events // EVENTS_PER_ITEM
    with open(path, "w", encoding="utf-8") as file:
        file.write("user,item,stars,time\n")
        for start in range(0, events, PIECE):
            count = min(PIECE, events - start)
            user = (users * random.random(count) ** 1.3).astype(np.int64)
            item = (items * random.random(count) ** 2).astype(np.int64)
            stars, times = random.integers(1, 6, count), FIRST_TIME + np.arange(start, start + count)
            table = pd.DataFrame({"user": user, "item": item, "stars": stars, "time": times})
            table["user"], table["item"] = "u" + table["user"].astype(str), "i" + table["item"].astype(str)
            table.to_csv(file, header=False, index=False)


def write_titles(path: Path, items: int) -> None:
    """The `.item` file of these items."""
    with open(path, "w", encoding="utf-8") as file:
        file.write("item_id:token\ttitle:token_seq\n")
        file.writelines(f"i{item}\tItem {item} of a catalogue that nobody has written\n" for item in range(items))


def measured(command: list[str]) -> tuple[float, float, float]:
    """Seconds, CPU seconds and bytes at the peak of a process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with code {process.returncode}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024.0


def config_of(folder: Path):
    from sear.settings.recbole_config import build_config

    return build_config(NAME, "SEAR", SETTINGS | {"data_path": str(folder)})


def loaders_of(folder: Path):
    """The loaders of the data set in `folder`."""
    from recbole.data import data_preparation

    from sear.data.dataset import SEARDataset

    config = config_of(folder)
    return data_preparation(config, SEARDataset(config))


def put_vectors(folder: Path) -> None:
    """Keep a random vector for each text, as an encoder's are kept."""
    random = np.random.default_rng(2020)

    def encode(_, texts: list[str], *__) -> np.ndarray:
        return random.standard_normal((len(texts), TEXT_WIDTH), dtype=np.float32)

    with patch("sear.data.text_cache.download", lambda encoder: encoder), patch("sear.data.text_cache.encode", encode):
        loaders_of(folder)[0]._dataset.item_text_embedding()


def train(folder: Path, batches: int) -> None:
    from sear.model.sear import SEAR
    from sear.trainer.trainer import SEARTrainer

    class Some:
        """So many batches, of as many epochs as they need, in place of the data set."""

        def __init__(self, loader):
            self._dataset, self.collate_fn = self, loader.collate_fn
            self.rows, self._all = loader._dataset.rows, loader._dataset.epoch_batches

        def epoch_batches(self, seed: int, epoch: int) -> list[np.ndarray]:
            return list(islice(chain.from_iterable(self._all(seed, each) for each in count(epoch)), batches))

    loader = loaders_of(folder)[0]
    config = loader.config
    SEARTrainer(config, SEAR(config, loader._dataset))._train_epoch(Some(loader), 0)


def share(folder: Path, number: int, processes: int) -> None:
    """One of several processes; at each of two points it says its proportional set size and waits for a line."""
    import torch  # noqa: F401
    from recbole.data import data_preparation  # noqa: F401

    from sear.data.dataset import SEARDataset  # noqa: F401
    from sear.trainer.trainer import SEARTrainer  # noqa: F401

    config_of(folder)
    _tell()
    loader = loaders_of(folder)[0]
    loader._dataset.item_text_embedding().sum()  # pages count once they are read
    for batch in loader._dataset.epoch_batches(1, 0)[number::processes]:
        loader.collate_fn(batch)
    _tell()


def _tell() -> None:
    rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    print(int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.M)[1]) * 1024, flush=True)
    sys.stdin.readline()


def shared_memory(folder: Path, count: int) -> float:
    """Bytes that so many processes hold together of the data."""
    command = [sys.executable, "-m", "benchmarks.large_data", "--step", "share", "--folder", str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": PROJECT_ROOT}
    processes = [subprocess.Popen([*command, "--share", f"{one},{count}"], **pipes) for one in range(count)]
    totals = []
    for _ in range(2):
        totals.append(sum(int(process.stdout.readline()) for process in processes))
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
    for process in processes:
        process.communicate()
    return totals[1] - totals[0]


def rows(folder: Path, events: int, batches: int) -> list[list[str]]:
    """A line for each step."""
    raw, data = folder / "raw", folder / f"{events}"
    raw.mkdir(parents=True, exist_ok=True)
    inter = data / NAME / f"{NAME}.inter"
    convert = [sys.executable, "-m", "sear.atomic_files", "synthetic", str(raw), "--format=csv", f"--out={data}"]
    convert += ["--user=user", "--item=item", "--time=time", "--rating=stars", "--overwrite"]
    own = [sys.executable, "-m", "benchmarks.large_data", "--folder", str(data), "--batches", str(batches), "--step"]
    found = []
    for step in STEPS:
        say(f"{events:,} events: {step}")
        if step == "convert":
            shutil.rmtree(data, ignore_errors=True)  # arrays of an earlier time would be read instead of made
            write_table(raw / "events.csv", events)
        figures = measured([*own, STEPS[step]] if STEPS[step] else convert)
        if step == "convert":
            inter.parent.mkdir(parents=True, exist_ok=True)
            (data / "synthetic" / "synthetic.inter").replace(inter)
            (raw / "events.csv").unlink()
            write_titles(inter.with_suffix(".item"), events // EVENTS_PER_ITEM)
        found.append([f"{events:,}", step, *(f"{value:.4g}" for value in figures[:2]), f"{figures[2] / 1e9:.2f}"])
        say("  " + ", ".join(found[-1][2:]))
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_data", description=__doc__.partition("\n")[0])
    parser.add_argument("--events", default="1e6,1e7", help="data sets of so many events (default: %(default)s)")
    parser.add_argument("--batches", type=int, default=1000, help="batches to train (default: %(default)s)")
    parser.add_argument("--processes", default="1,2,4", help="processes that share the largest (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where data are written; else in a temporary folder")
    parser.add_argument("--step", choices=["load", "texts", "train", "share"], help=argparse.SUPPRESS)
    parser.add_argument("--share", default="0,1", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    if asked.step == "load":
        loaders_of(asked.folder)
    elif asked.step == "texts":
        put_vectors(asked.folder)
    elif asked.step == "train":
        train(asked.folder, asked.batches)
    elif asked.step == "share":
        share(asked.folder, *map(int, asked.share.split(",")))
    if asked.step:
        return 0
    with tempfile.TemporaryDirectory(prefix="sear-benchmark-") as temporary:
        folder = asked.folder or Path(temporary)
        sizes = [int(float(size)) for size in asked.events.split(",")]
        table = [row for size in sizes for row in rows(folder, size, asked.batches)]
        headers = ["events", "step", "seconds", "CPU seconds", "peak, GB"]
        print(tabulate(table, headers, tablefmt="github", disable_numparse=True), end="\n\n")
        alone = None
        for count in [int(count) for count in asked.processes.split(",") if count]:
            held = shared_memory(folder / f"{sizes[-1]}", count)
            alone = alone or held
            print(
                f"{count} processes hold {held / 1e9:.3f} GB of the data together, {held / alone:.2f} times the first"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
