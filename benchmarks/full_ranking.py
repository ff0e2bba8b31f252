"""Ranking every item for 100 thousand users: SEARTrainer's evaluation against that of RecBole's Trainer.

Both get the same rows from the same loader and the same user vectors, which are read from a table: what is measured is
what comes after the encoder. Both end with Hit, NDCG and MRR at 10, and must agree on them.
"""

import copy
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from recbole.data import data_preparation
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.trainer import Trainer

from benchmarks.measure import Request, Row, Side, alternate, compare, say
from benchmarks.synthetic import BEAUTY, TOY, Sizes, write_atomic_files
from benchmarks.training import COLUMNS, inside
from sear.data.dataset import SEARDataset
from sear.data.history import Rows
from sear.settings.recbole_config import build_config
from sear.trainer.trainer import SEARTrainer

NAME = "Amazon_Pet_Supplies"
SIZES = Sizes(100_000, 42_351, 885_000, BEAUTY.lengths)  # events as many a user as in Pet Supplies
BASELINE_USERS, WIDTH = 8_192, 192
NEARNESS = 0.28  # about half of the users hit
OURS, BASELINE = "SEARTrainer.evaluate", "RecBole's Trainer.evaluate"
GOAL = 3


class VectorTable(torch.nn.Module):
    """A model whose user vectors are ready: noise, and enough of their target for about half of them to hit."""

    def __init__(self, target_U: torch.Tensor, items: int):
        super().__init__()
        random = torch.Generator().manual_seed(2020)
        self.item_VD = torch.nn.Parameter(torch.randn(items, WIDTH, generator=random))
        noise_UD = torch.randn(len(target_U), WIDTH, generator=random)
        self.register_buffer("user_UD", noise_UD + NEARNESS * self.item_VD.detach()[target_U])

    def user_vectors(self, interaction) -> torch.Tensor:
        return self.user_UD[interaction["user_id"]]

    def item_table(self) -> torch.Tensor:
        return self.item_VD

    def full_sort_predict(self, interaction) -> torch.Tensor:
        return self.user_vectors(interaction) @ self.item_table().T


def rows(request: Request) -> Iterator[Row]:
    sizes, baseline_users = (TOY, 32) if request.quick else (SIZES, BASELINE_USERS)
    with tempfile.TemporaryDirectory(prefix="sear-benchmark-") as folder, inside(Path(folder)):
        say("full-ranking: data")
        data_path = write_atomic_files(sizes, Path(folder), NAME)
        settings = {"data_path": str(data_path), "load_col": {"inter": COLUMNS}, "text_init": False, "use_gpu": False}
        config = build_config(NAME, "SEAR", settings)
        config["checkpoint_dir"] = folder
        test = data_preparation(config, SEARDataset(config))[2]
        few = first_rows(test, baseline_users)
        part = test._dataset
        target_U = torch.zeros(part.user_num, dtype=torch.int64)
        target_U[part.rows.user + 1] = part.targets(np.arange(len(part)))
        model = VectorTable(target_U, part.item_num)
        ours, baseline = SEARTrainer(config, model), Trainer(config, model)
        check_agreement(ours.evaluate(few, load_best_model=False), baseline.evaluate(few, load_best_model=False))
        users = len(part)
        sides = {
            OURS: Side(lambda: ours.evaluate(test, load_best_model=False)),
            BASELINE: Side(lambda: baseline.evaluate(few, load_best_model=False), scale=users / len(few._dataset)),
        }
        turns = alternate(sides, request)
    speed = users / sorted(turn.seconds for turn in turns[OURS])[len(turns[OURS]) // 2]
    note = f"{users:,} users x {len(model.item_VD) - 1:,} items, {speed:,.0f} users/s"
    note += f"; the baseline ranks for {baseline_users:,}"
    yield compare("full ranking", BASELINE, turns, GOAL, note + ": its seconds are scaled, its peak is not")


def first_rows(loader: FullSortEvalDataLoader, count: int) -> FullSortEvalDataLoader:
    part = copy.copy(loader._dataset)
    part.rows = Rows(*(getattr(part.rows, field.name)[:count] for field in fields(Rows)))
    return FullSortEvalDataLoader(loader.config, part, None)


def check_agreement(ours: dict[str, float], theirs: dict[str, float]) -> None:
    for name, value in theirs.items():
        assert value > 0.05, f"{name} is {value}: too little to tell two rankings apart"
        assert abs(ours[name] - value) < 1e-4, f"{name}: {ours[name]} and {value}"  # RecBole rounds to 4 places
