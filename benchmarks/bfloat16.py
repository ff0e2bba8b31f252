"""A training epoch of SEAR with `enable_amp: True` (autocast to bfloat16) against the same in float32."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.epoch import TOY_SETTINGS, WINDOW_BATCHES, synthetic_data
from benchmarks.measure import Request, Row, Side, alternate, compare, say
from benchmarks.training import Experiment

SAMPLED = {"ml-100k": 16, "beauty": WINDOW_BATCHES["beauty"]}


def rows(request: Request) -> Iterator[Row]:
    for dataset, count in SAMPLED.items():
        with tempfile.TemporaryDirectory(prefix="sear-benchmark-") as folder:
            say(f"bfloat16: data of {dataset}")
            data_path, settings = synthetic_data(dataset, Path(folder), request.quick), {}
            if request.quick:
                count, settings = 2, TOY_SETTINGS
            sides = {}
            for name, enable_amp in (("bfloat16", True), ("float32", False)):
                experiment = Experiment(dataset, data_path, enable_amp=enable_amp, **settings)
                sample = experiment.windows(count)
                sides[name] = Side(experiment.train(sample), sample.scale)
            note = f"{len(sample.chosen)} batches of the epoch's {sample.total}, x {sample.scale:.4g}"
            yield compare(f"epoch in bfloat16, {dataset}", "float32", alternate(sides, request), note=note)
