"""A training step with a sample of a large catalogue (`loss_type: sampled`) against one with all of its items.

SEAR without ratings, with a free and with a tied table, one batch of synthetic histories, forward, backward and
optimiser, averaged weights on. The two sides share one model: only what is sampled, and so which rows change, differs.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.measure import Request, Row, Side, alternate, compare, say
from benchmarks.synthetic import BEAUTY, TOY, Sizes, write_atomic_files
from benchmarks.training import Experiment
from sear.trainer.trainer import SEARTrainer

NAME = "Amazon_Pet_Supplies"
SIZES = Sizes(560_000, 1_000_000, 5_000_000, BEAUTY.lengths)
OURS, BASELINE = "sampled softmax", "softmax over all items"
SAMPLE = 1024
SETTINGS = {"streams": ["semantic", "collaborative"], "loss_type": "sampled", "ema_decay": 0.99, "sample_size": SAMPLE}


def rows(request: Request) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="sear-benchmark-") as folder:
        say("sampled-softmax: data")
        data_path = write_atomic_files(TOY if request.quick else SIZES, Path(folder), NAME)
        for table in ("free", "tied"):
            yield _row(request, data_path, table)


def _row(request: Request, data_path: Path, table: str) -> Row:
    settings = SETTINGS | {"item_table": table} | ({"sample_size": 8} if request.quick else {})
    experiment = Experiment(NAME, data_path, **settings)
    model, batch = experiment.trainer.model, experiment.windows(1)
    sampler, sampled, full = model.sampler, experiment.trainer, SEARTrainer(experiment.config, model)
    tables = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]

    def step(trainer: SEARTrainer, samples: bool):
        def run() -> None:
            model.sampler = sampler if samples else None
            for one in tables:
                one.sparse = samples
            trainer._train_epoch(batch, 0)

        return run

    turns = alternate({OURS: Side(step(sampled, True)), BASELINE: Side(step(full, False))}, request)
    items, positions = model.n_items - 1, int(batch.rows.loss_count[batch.chosen[0]].sum())
    note = f"SEAR without ratings, one batch of {positions:,} positions; the sample: its targets and about "
    note += f"{settings['sample_size']:,} items more"
    return compare(f"training step, {items:,} items, {table} table", BASELINE, turns, note=note)
