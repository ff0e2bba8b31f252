"""Everything that wants a GPU, in one command: python -m benchmarks.gpu [--out gpu.json] [--train ml-1m --seeds 1,2,3].

It needs no network. Without --train: the tests marked gpu, the scan, training epochs, ranking and the latency of one
recommendation, in some minutes. With --train: trainings side by side on one card (benchmarks/gpu_training.py).
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from xml.etree import ElementTree

import numpy as np
import torch

from benchmarks.epoch import synthetic_data
from benchmarks.full_ranking import VectorTable
from benchmarks.gpu_scan import LENGTHS, scan_rows
from benchmarks.gpu_training import train_jobs
from benchmarks.matrix_products import ProductRecorder
from benchmarks.measure import say
from benchmarks.training import Experiment, SampledBatches
from sear.evaluation.ranks import target_ranks
from sear.files import PROJECT_ROOT, write_text
from sear.runs.machine import environment

USERS, ITEMS = 100_000, 42_351  # the catalogue of Amazon Pet Supplies
HISTORY, LATENCY_ITEMS = 100, (1_350, ITEMS)
MOST_EVENTS = 51_200  # padded ones in a batch of prefixes


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(work: Callable[[], object], device: torch.device, rounds: int) -> dict[str, float]:
    """Median, lowest and highest seconds of `work`, after one run that warms it up, and its peak memory in MB."""
    work()
    synchronise(device)
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for _ in range(rounds):
        started = perf_counter()
        work()
        synchronise(device)
        seconds.append(perf_counter() - started)
    peak = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else None
    return {"seconds": median(seconds), "lowest": min(seconds), "highest": max(seconds), "peak_mb": peak}


def tests(device: torch.device, quick: bool) -> Iterator[dict]:
    """The tests marked gpu, in a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", f"--junitxml={report}", "-p", "no:cacheprovider"]
        done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
        say(done.stdout[-4000:])
        suite = ElementTree.parse(report).getroot().find("testsuite") if report.exists() else None
    counts = (
        {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")} if suite is not None else {}
    )
    yield {"exit_code": done.returncode, **counts, "end_of_output": done.stdout.splitlines()[-30:]}


def scan(device: torch.device, quick: bool) -> Iterator[dict]:
    """The selective scan's kernels against the plain loop, and mamba-ssm's where it is installed."""
    yield from scan_rows(LENGTHS[:2] if quick else LENGTHS)


def product_rate(device: torch.device, size: int) -> float:
    """Operations a second of one large float32 matrix product: what the card's share is counted from."""
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    return 2 * size**3 / timed(lambda: torch.mm(a, b), device, 5)["seconds"]


def epochs(device: torch.device, quick: bool) -> Iterator[dict]:
    """Epochs of SEAR in windows, of prefixes and of RecBole's SASRec, on ml-100k and on ml-1m's lengths."""
    rate = product_rate(device, 256 if quick else 8192)
    with tempfile.TemporaryDirectory(prefix="sear-benchmark-") as folder:
        found = {}
        for dataset in ("ml-100k",) if quick else ("ml-100k", "ml-1m"):
            data_path = synthetic_data(dataset, Path(folder))
            found[dataset] = experiment = Experiment(dataset, data_path, use_gpu=device.type == "cuda")
            whole = experiment.windows(2 if quick else None)
            yield _epoch(f"{dataset}, SEAR, windows", experiment.train(whole), whole, device, rate, 1 if quick else 3)
        for dataset, experiment in found.items():
            few = experiment.prefixes(True, 2, 2_000 if quick else MOST_EVENTS)
            yield _epoch(f"{dataset}, SEAR, trimmed prefixes", experiment.train(few), few, device, rate, 1)
        for dataset, experiment in found.items():
            run, scale, _ = experiment.sasrec(1 if quick else 20, Path(folder))
            seconds = timed(run, device, 1)
            yield {"name": f"{dataset}, RecBole's SASRec", "epoch_seconds": seconds["seconds"] * scale, **seconds}


def _epoch(
    name: str, train: Callable[[], float], sample: SampledBatches, device: torch.device, rate: float, rounds: int
) -> dict:
    with ProductRecorder() as recorder:
        train()
    found = timed(train, device, rounds)
    targets = int(sum(sample.rows.loss_count[batch].sum() for batch in sample.chosen))
    return {
        "name": name,
        "epoch_seconds": found["seconds"] * sample.scale,
        "targets_per_second": targets / found["seconds"],
        "share_of_product_rate": recorder.operations() / found["seconds"] / rate,
        "batches": len(sample.chosen),
        "of": sample.total,
        **found,
    }


def ranking(device: torch.device, quick: bool) -> Iterator[dict]:
    """The ranks of one target for each user among all items, user vectors given."""
    users, items = (500, 300) if quick else (USERS, ITEMS)
    random = np.random.default_rng(2020)
    target_U = torch.from_numpy(random.integers(1, items, users))
    table = VectorTable(target_U, items).to(device)
    target_U = target_U.to(device)
    found = timed(lambda: target_ranks(table.user_UD, table.item_VD.detach(), target_U), device, 3)
    yield {"name": f"{users:,} users x {items - 1:,} items", "users_per_second": users / found["seconds"], **found}


def latency(device: torch.device, quick: bool) -> Iterator[dict]:
    """One user at a time: encode a history, score every item, take the first ten."""
    for items in LATENCY_ITEMS[:1] if quick else LATENCY_ITEMS:
        experiment = Experiment("ml-100k", None, use_gpu=device.type == "cuda")
        model = experiment.trainer.model.eval()
        table = torch.randn(items, model.item_table().shape[1], device=device)
        item_BL = torch.randint(1, model.n_items, (1, HISTORY), device=device)
        rating_BL, last = torch.full((1, HISTORY), 4.0, device=device), torch.tensor([HISTORY - 1], device=device)

        @torch.no_grad()
        def recommend(model=model, table=table, item_BL=item_BL, rating_BL=rating_BL, last=last) -> list[int]:
            scores = model(item_BL, rating_BL, last) @ table.T
            return scores.topk(10).indices[0].tolist()

        seconds = []
        for _ in range(20 if quick else 300):
            started = perf_counter()
            recommend()
            seconds.append(perf_counter() - started)
        p50, p95, p99 = np.percentile(seconds[len(seconds) // 10 :], [50, 95, 99]) * 1e3
        yield {"name": f"history of {HISTORY}, {items:,} items", "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


PARTS = {"tests": tests, "scan": scan, "epochs": epochs, "ranking": ranking, "latency": latency}


def measure(names: list[str], device: torch.device, quick: bool, out: Path) -> dict:
    """{"environment": …, part: rows, the last of which may say what went wrong}, written to `out` after each row."""
    found: dict = {"environment": environment(device), "quick": quick}
    for name in names:
        started = perf_counter()
        try:
            found[name] = []
            for row in PARTS[name](device, quick):
                found[name].append(row)
                say(f"{name}: {json.dumps(row)}")
                write_text(out, json.dumps(found, indent=2) + "\n")  # after each: the card may be lent for minutes
        except Exception as error:  # the other parts are worth having all the same
            found[name].append({"failed": f"{type(error).__name__}: {error}"})
        say(f"{name}: {perf_counter() - started:.0f} s")
        write_text(out, json.dumps(found, indent=2) + "\n")
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--parts", default=",".join(PARTS), help="which, commas between (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="where the JSON goes (default: %(default)s)")
    parser.add_argument("--device", default="cuda", help="cuda or cpu (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="toy sizes: shows that everything runs, measures nothing")
    parser.add_argument("--train", metavar="DATASET", help="train instead: data sets, commas between")
    parser.add_argument("--models", default="SEAR-tuned,SEAR,SASRec,Mamba4Rec", help="with --train")
    parser.add_argument("--seeds", default="1,2,3", help="with --train")
    parser.add_argument(
        "--jobs", type=Path, help="a file with the arguments of one training a line, in place of --train"
    )
    parser.add_argument("--workers", type=int, default=6, help="trainings side by side (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which trainings are stopped (%(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("gpu-runs"), help="where run folders go (%(default)s)")
    asked = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", module="recbole|torch|pandas")
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device here - run it on a machine with one, or try it with --device=cpu --quick")
    if asked.train or asked.jobs:
        lines = (
            asked.jobs.read_text(encoding="utf-8").splitlines()
            if asked.jobs
            else [
                f"--dataset={dataset} --model={model} --seed={seed} --mask_history=True"
                for seed in asked.seeds.split(",")
                for dataset in asked.train.split(",")
                for model in asked.models.split(",")
            ]
        )
        return train_jobs(lines, asked.folder, asked.workers, asked.minutes * 60, asked.device)
    names = asked.parts.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"no part is called {unknown[0]} - choose from {', '.join(PARTS)}")
    measure(names, torch.device(asked.device), asked.quick, asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
