"""Where a training epoch's time goes, by part: python -m benchmarks.profile [--dataset NAME] [--batches N] [--plain].

torch.profiler sees every operation of torch and, under its class name, every compiled kernel. What runs inside the head
and loss, the optimiser and the collate step is theirs, matrix products included; all other products are one part.
--plain shows the epoch as plain torch: only the scan stays compiled.
"""

import argparse
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

import torch
from tabulate import tabulate
from torch.profiler import ProfilerActivity, profile, record_function

from sear.runs.machine import environment

# parts that own whatever happens inside them; the name of an operation decides
OUTER = (
    ("collate", re.compile(r"collate")),
    ("head and loss", re.compile(r"SoftLabelLoss")),
    ("optimiser", re.compile(r"Optimizer\.|clip_grad")),
)
# parts of single operations, the innermost match counts
INNER = (
    ("matrix products", re.compile(r"aten::(mm|bmm|addmm|baddbmm)$")),
    ("scan", re.compile(r"Scan")),
    ("convolution", re.compile(r"[Cc]onv")),
    ("stream attention", re.compile(r"Attention|softmax")),
    ("GELU", re.compile(r"FeedForward|[Gg]elu")),
    ("dropout and LayerNorm", re.compile(r"[Dd]ropout|LayerNorm|layer_norm|bernoulli")),
    ("embeddings", re.compile(r"[Ee]mbedding|aten::index|index_put|index_select|IndexBackward")),
    ("gradient sums", re.compile(r"AccumulateGrad|aten::add_$")),
)
REST, OUTSIDE = "other operations", "between operations (Python)"


def part_of(names: Iterable[str]) -> str:
    """The part of an operation, from its name and then those of what it runs in, inside out."""
    chain = list(names)
    for part, pattern in OUTER:
        if any(pattern.search(name) for name in chain):
            return part
    for name in chain:
        for part, pattern in INNER:
            if pattern.search(name):
                return part
    return REST


def seconds_by_part(events) -> tuple[Counter, Counter]:
    """Seconds spent in each part and number of operations, of a profile's events."""
    seconds, calls = Counter(), Counter()
    for event in events:
        part = part_of(_chain(event))
        seconds[part] += event.self_cpu_time_total / 1e6
        calls[part] += 1
    return seconds, calls


def _chain(event) -> Iterable[str]:
    while event is not None:
        yield event.name
        event = event.cpu_parent


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--dataset", default="ml-100k", choices=["ml-100k", "ml-1m", "beauty"])
    parser.add_argument("--batches", type=int, help="only so many of the epoch's batches, scaled to the epoch")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    parser.add_argument("--plain", action="store_true", help="plain torch instead of every fused part but the scan")
    asked = parser.parse_args(arguments)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sear-benchmark-")))
        if asked.plain:
            from benchmarks.training import plain_parts

            stack.enter_context(plain_parts())
        sample, wall, profiled, events = run(asked.dataset, asked.batches, folder)
    print(", ".join(f"{key} {value}" for key, value in environment("cpu").items()), end="\n\n")
    print(report(seconds_by_part(events), profiled, sample.scale))
    plain, watched = (f"{seconds * sample.scale:.2f} s" for seconds in (wall, profiled))
    parts = "plain torch but for the scan, " if asked.plain else ""
    print(f"\n{parts}{asked.dataset}, {len(sample.chosen)} of {sample.total} batches, scaled x {sample.scale:.4g}")
    print(f"an epoch takes {plain}, {watched} with the profiler")
    return 0


def run(dataset: str, batches: int | None, folder: Path):
    """The sample, its seconds without and with the profiler, and the profile's events."""
    from benchmarks.epoch import experiment_on

    experiment = experiment_on(dataset, folder)
    sample = experiment.windows(batches)
    plain_collate = sample.collate_fn

    def collate(index):
        with record_function("collate"):
            return plain_collate(index)

    sample.collate_fn = collate
    train = experiment.train(sample)
    train()  # compiles
    started = perf_counter()
    train()
    wall = perf_counter() - started
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        started = perf_counter()
        train()
        profiled = perf_counter() - started
    return sample, wall, profiled, profiler.events()


def report(found: tuple[Counter, Counter], profiled: float, scale: float) -> str:
    seconds, calls = found
    seconds[OUTSIDE] = max(0.0, profiled - sum(seconds.values()))
    lines = [
        [part, f"{spent * scale:.2f}", f"{spent / profiled:.1%}", f"{calls[part] * scale:,.0f}"]
        for part, spent in seconds.most_common()
    ]
    headers, alignment = ["part", "seconds", "share", "operations"], ("left", "right", "right", "right")
    return tabulate(lines, headers, tablefmt="github", disable_numparse=True, colalign=alignment)


if __name__ == "__main__":
    sys.exit(main())
