"""What each addition to the published model costs: a training epoch of SEAR without ratings, with it and without."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bfloat16 import SAMPLED
from benchmarks.epoch import TOY_SETTINGS, synthetic_data
from benchmarks.measure import Request, Row, Side, alternate, compare, say
from benchmarks.training import Experiment

ADDITIONS = {
    "repeat bias": {"repeat_bias": True},
    "averaged weights": {"ema_decay": 0.99},
    "tied table": {"item_table": "tied"},
}
PLAIN, ALL = "without additions", "all three"


def rows(request: Request) -> Iterator[Row]:
    whole = {key: value for settings in ADDITIONS.values() for key, value in settings.items()}
    for dataset, count in SAMPLED.items():
        with tempfile.TemporaryDirectory(prefix="sear-benchmark-") as folder:
            say(f"additions: data of {dataset}")
            data_path, shared = synthetic_data(dataset, Path(folder), request.quick), {}
            if request.quick:
                count, shared = 2, TOY_SETTINGS
            sides = {}
            for name, settings in {**ADDITIONS, ALL: whole, PLAIN: {}}.items():
                experiment = Experiment(
                    dataset, data_path, streams=["semantic", "collaborative"], **(shared | settings)
                )
                sample = experiment.windows(count)
                sides[name] = Side(experiment.train(sample), sample.scale)
            turns = alternate(sides, request)
            note = f"{len(sample.chosen)} batches of the epoch's {sample.total}, x {sample.scale:.4g}"
            for name in (*ADDITIONS, ALL):
                pair = {name: turns[name], PLAIN: turns[PLAIN]}
                yield compare(f"epoch with {name}, {dataset}", PLAIN, pair, note=note)
