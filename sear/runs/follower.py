"""A process beside the first one: it trains and ranks as that one asks, and neither decides nor writes anything."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sear import processes
from sear.errors import InputError
from sear.runs.training_run import ALL_THREADS, Prepared, prepare
from sear.settings.recbole_config import config_from_settings
from sear.trainer.checkpoint import Checkpoints


class Follower:
    """What each process does but the first; the methods below `follow` are asked for by their names.

    Attributes:
        going_on: what goes on after a stop, and how, as the first process would tell it.
    """

    def __init__(self):
        self.going_on, self._one_of_many = "", False
        self._prepared: Prepared | None = None

    def follow(self) -> None:
        """Do what is asked for, until the processes part."""
        for what, arguments in processes.asked():
            getattr(self, what)(*arguments)

    def prepare(self, settings: Mapping[str, Any], device: str, events_hash: str) -> None:
        """The data, the model and the trainer of a run.

        Raises:
            InputError: something is not as the first process has it: the data, a GPU.
        """
        self.going_on, self._prepared = "", None
        config = config_from_settings(settings, "the first process")
        if config["device"].type != device:
            gpus = "start as many processes as each machine has GPUs, or set use_gpu to False"
            raise InputError(f"it computes on {config['device'].type}, the first process on {device} - {gpus}")
        torch.set_num_threads(config["threads"] or ALL_THREADS)
        nowhere = Path(os.devnull)
        checkpoints = Checkpoints(config["model"], config["dataset"], nowhere, nowhere, config["device"])
        prepared = prepare(config, checkpoints)
        if checkpoints.events_hash != events_hash:
            place = config["data_path"]
            raise InputError(f"{place} holds other events or items than the first process has read - copy its files")
        prepared.trainer.averaged = None  # averaged weights are the first process's, which shares them to be ranked by
        train_data = prepared.loaders[0]
        train_data.get_model(prepared.trainer.model)  # some negative items are drawn by its scores
        self._prepared = prepared
        processes.meet()

    def is_one_of_many(self) -> None:
        """What is trained belongs to a grid or a search, whose command goes on with all of it."""
        self._one_of_many = True

    def goes_on_with(self, command: str) -> None:
        self.going_on = "the same command goes on" if self._one_of_many else f"go on with: {command}"

    def begin(self, scheduler: dict, steps: int) -> None:
        """Begin, or go on, where the first process does."""
        trainer = self._there.trainer
        assert trainer.team, "two processes at least"
        trainer.team.take_weights()
        trainer.team.take_state(trainer.optimizer)
        trainer.scheduler.load_state_dict(scheduler)
        trainer.steps = steps

    def train_epoch(self, epoch: int) -> None:
        self._there.trainer.train_epoch(self._there.loaders[0], epoch)

    def match_texts(self, weight: float) -> None:
        self._there.trainer.mixing.match_texts_here(weight)

    def rank_cases(self, part: int, mask_history: bool) -> None:
        self._there.trainer.rank_share(self._there.loaders[part], mask_history)

    @property
    def _there(self) -> Prepared:
        assert self._prepared, "the first process asks to prepare first"
        return self._prepared
