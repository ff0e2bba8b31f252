"""What an epoch's rows share: SEAR on real or synthetic histories, a sample of an epoch's batches, RecBole's SASRec.

Text embeddings are random numbers of the real width, and the item tables do not start from their PCA: neither changes
an epoch's time.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from recbole.data import data_preparation
from recbole.data.dataset import SequentialDataset
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer

from sear.data.dataset import SEARDataset
from sear.model.sear import SEAR
from sear.ops import convolution, softmax
from sear.settings.recbole_config import build_config
from sear.trainer.trainer import SEARTrainer

torch.autograd.set_detect_anomaly(False)  # RecBole's SINE switches it on when imported, which slows every backward pass

TEXT_WIDTH = 768
COLUMNS = ["user_id", "item_id", "rating", "timestamp"]


class RandomTextDataset(SEARDataset):
    """Needs no encoder and no .item file."""

    def item_text_embedding(self) -> np.ndarray:
        return np.random.default_rng(2020).standard_normal((self.item_num, TEXT_WIDTH), np.float32)


class SampledBatches:
    """A training loader that hands out some batches of its epoch, and SEARTrainer none the wiser.

    most_events: padded events of a batch; it is cut to as many rows as stay within. `scale` is how many times the
    sample's padded events make the epoch's.
    """

    def __init__(self, loader, count: int | None = None, most_events: int | None = None):
        dataset = loader._dataset
        self._dataset, self.rows, self.collate_fn = self, dataset.rows, loader.collate_fn
        batches = dataset.epoch_batches(seed=2020, epoch=0)
        self._width = None if dataset.config["trim_padding"] else dataset.max_item_list_len
        chosen = _evenly(batches, [self._padded_events(batch) for batch in batches], count)
        self.chosen = [batch[: most_events // self._width_of(batch)] if most_events else batch for batch in chosen]
        self.total = len(batches)
        self.scale = sum(map(self._padded_events, batches)) / sum(map(self._padded_events, self.chosen))

    def epoch_batches(self, seed: int, epoch: int) -> list[np.ndarray]:
        return self.chosen

    def _width_of(self, batch: np.ndarray) -> int:
        return self._width or int(self.rows.length[batch].max())

    def _padded_events(self, batch: np.ndarray) -> int:
        return len(batch) * self._width_of(batch)


def _evenly(batches: list[np.ndarray], size: list[int], count: int | None) -> list[np.ndarray]:
    """`count` of the batches, as many of each size as chance would give on average."""
    if count is None or count >= len(batches):
        return batches
    order = np.argsort(size, kind="stable")
    return [batches[order[at]] for at in ((np.arange(count) + 0.5) * len(batches) / count).astype(int)]


class Experiment:
    """One data set: the SEAR of every row, its training data in several layouts, and what SASRec needs."""

    def __init__(self, dataset: str, data_path: Path | None, **settings):
        self.dataset = dataset
        self.settings = {"load_col": {"inter": COLUMNS}, "text_init": False, "use_gpu": False, **settings}
        if data_path is not None:
            self.settings["data_path"] = str(data_path)
        self.loader = self._loader()
        self.config = self.loader.config
        model = SEAR(self.config, self.loader._dataset).to(self.config["device"])
        self.trainer = SEARTrainer(self.config, model)

    def _loader(self, **settings):
        config = build_config(self.dataset, "SEAR", self.settings | settings)
        return data_preparation(config, RandomTextDataset(config))[0]

    def windows(self, count: int | None) -> SampledBatches:
        return SampledBatches(self.loader, count)

    def prefixes(self, trim: bool, count: int, most_events: int) -> SampledBatches:
        """The published layout; `trim` cuts a batch, of histories of like length, to its longest."""
        return SampledBatches(self._loader(train_rows="prefixes", trim_padding=trim), count, most_events)

    def train(self, sample: SampledBatches) -> Callable[[], float]:
        """One pass over the sample by SEARTrainer itself."""
        return lambda: self.trainer._train_epoch(sample, 0)

    def sasrec(self, count: int, folder: Path) -> tuple[Callable[[], float], float, int]:
        """SASRec by RecBole alone: its dataset, loader, model and trainer, over the first batches of its epoch.

        Returns what runs them, the epoch's batches over those run, and the number of the epoch's batches.
        """
        columns = [name for name in COLUMNS if name != "rating"]  # SASRec reads none
        own = {"load_col": {"inter": columns}, "train_neg_sample_args": None}
        shared = ("data_path", "use_gpu", "MAX_ITEM_LIST_LENGTH", "train_batch_size")
        settings = {key: value for key, value in self.settings.items() if key in shared}
        config = build_config(self.dataset, "SASRec", settings | own)
        config["checkpoint_dir"] = str(folder)
        with inside(folder):  # RecBole's trainer leaves its logs where it stands
            loader = data_preparation(config, SequentialDataset(config))[0]
            trainer = Trainer(config, SASRec(config, loader._dataset).to(config["device"]))
        batches = len(loader)
        count = min(count, batches)
        return lambda: trainer._train_epoch(islice(loader, count), 0), batches / count, batches


@contextmanager
def plain_parts() -> Iterator[None]:
    """SEAR by the plain references of its fused parts, all but the scan's, and by torch's plain AdamW."""
    with (
        patch("sear.ops.sublayers._has_kernel", lambda _: False),
        patch(
            "sear.model.mamba.causal_conv",
            lambda x, weight, bias, kernel: convolution.causal_conv_reference(x, weight, bias),
        ),
        patch("sear.model.loss.softmax_rows", softmax.softmax_rows_plain),
        patch("sear.trainer.trainer.SEARTrainer._build_optimizer", Trainer._build_optimizer),
    ):
        yield


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
