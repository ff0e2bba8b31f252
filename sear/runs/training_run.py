"""One run from its settings to the figures in its folder. The only room that knows every other one."""

import logging
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from recbole.data import data_preparation
from recbole.utils import init_seed

from sear.data.dataset import SEARDataset
from sear.data.item_texts import item_titles
from sear.errors import HeldError
from sear.evaluation.examples import run_examples
from sear.evaluation.metrics import case_figures, case_rows, tables
from sear.files import COMMAND, PROJECT_ROOT, shown
from sear.model.counting import CountingModel
from sear.runs.command import command_of
from sear.runs.folder import (
    discard_run_folder,
    held,
    new_run_folder,
    write_cases,
    write_config,
    write_examples,
    write_history,
    write_metrics,
)
from sear.runs.log import RunLog
from sear.runs.machine import PeakMemory, environment
from sear.runs.summary import append_summary, read_summary
from sear.settings.recbole_config import effective_settings, model_class
from sear.trainer.counting_trainer import CountingTrainer
from sear.trainer.trainer import SEARTrainer

logger = logging.getLogger("sear")
ALL_THREADS = torch.get_num_threads()  # as the machine or OMP_NUM_THREADS says, before a run asks for fewer


class TrainingRun:
    """One run: its parts are made in order, each timed.

    Attributes:
        folder: where it lies; None makes a new one when it trains.
    """

    def __init__(self, config, folder: Path | None = None):
        self.config, self.folder = config, folder
        self.seconds = dict.fromkeys(("data", "text", "train", "test"), 0.0)
        self.memory = PeakMemory()
        torch.set_num_threads(config["threads"] or ALL_THREADS)

    def train(self, log: RunLog) -> dict[str, Any]:
        self.environment = environment(self.config["device"])  # now: the commit may be another when the run ends
        config, kept = self.config, self.folder is not None
        for line in self._places():
            logger.info(line)
        if not kept:
            root = PROJECT_ROOT / config["results_path"]
            if (root / "summary.csv").exists():
                read_summary(root / "summary.csv")  # a file that is not ours must show before the work, not after
            there = next(
                path for path in (root / config["dataset"] / config["model_name"] / "run").parents if path.exists()
            )
            self.folder = new_run_folder(root, config["dataset"], config["model_name"], config["seed"])
        try:
            with held(self.folder):
                if (self.folder / "metrics.json").exists():  # since it was looked for
                    raise HeldError(f"{self.folder} was finished by another process just now - nothing is left to do")
                write_config(self.folder, effective_settings(config))  # before anything that takes long
                self._prepare()
                self.titles = item_titles(self.dataset)  # now, for a fault in them must not end a run that is trained
                kept = True  # from here on there is something to go on with
                log.write_to(self.folder / "run.log")
                logger.info(f"run folder: {shown(self.folder)}")
                return self._train_in_folder()
        except KeyboardInterrupt:
            if kept:
                folder = shlex.quote(shown(self.folder))
                logger.warning(f"stopped; go on with: {shlex.join(COMMAND)} --resume={folder}")
            raise
        finally:
            if not kept:
                discard_run_folder(self.folder, there)

    def _places(self) -> list[str]:
        """Where the run reads, writes and computes, in full: these follow from the settings and the working folder."""
        results = self.folder or PROJECT_ROOT / self.config["results_path"]
        return [
            f"data folder: {os.path.abspath(self.config['data_path'])}",
            f"results folder: {os.path.abspath(results)}",
            f"device: {self.environment['device']}",
        ]

    def _train_in_folder(self) -> dict[str, Any]:
        for left in self.folder.glob(".*.tmp"):  # half-written when the run was killed
            left.unlink()
        self._set_checkpoints()
        if Path(self.trainer.last_model_file).exists():
            self.trainer.resume_checkpoint(self.trainer.last_model_file)
            commit = self.environment["commit"]
            place = f" at commit {commit}" if commit else ""
            logger.info(f"going on after epoch {self.trainer.start_epoch - 1}{place}")
        self._name_commits()
        self.trainer.fit(self.train_data, self.valid_data, show_progress=self.config["show_progress"])
        return self._report()

    def _name_commits(self) -> None:
        """Of a run that was resumed at other commits, metrics.json and the next checkpoint name those too."""
        commit = self.environment["commit"]
        earlier = [known for known in self.trainer.commits if known != commit]
        if earlier:
            self.environment["earlier_commits"] = earlier
        self.trainer.commits = [*earlier, *([commit] if commit else [])]

    def test_again(self) -> dict[str, Any]:
        self._prepare()
        self._set_checkpoints()
        figures, _ = self._test()
        self._show(figures)
        return figures | {"run_folder": str(self.folder)}

    def _prepare(self) -> None:
        config = self.config
        init_seed(config["seed"], config["reproducibility"])
        started = perf_counter()
        dataset = SEARDataset(config)
        logger.info(describe_dataset(config["dataset"], dataset.statistics))
        self.train_data, self.valid_data, self.test_data = data_preparation(config, dataset)
        self.dataset = self.train_data._dataset
        self.seconds["data"] = perf_counter() - started
        started = perf_counter()
        build = model_class(config["model"])
        if config["model"] == "SEAR" and (config["text_init"] or "semantic" in config["streams"]):
            build.check_catalogue(config, dataset.item_num)  # before an hour of encoding, not after
            self.dataset.item_text_embedding()
        self.seconds["text"] = perf_counter() - started
        init_seed(config["seed"], config["reproducibility"])
        self.model = build(config, self.dataset).to(config["device"])
        trainer_class = CountingTrainer if isinstance(self.model, CountingModel) else SEARTrainer
        self.trainer = trainer_class(config, self.model)
        self.trainer.catalogue = self.dataset.catalogue_hash

    def _set_checkpoints(self) -> None:
        self.trainer.set_checkpoints(self.folder / "best.pth", self.folder / "last.pth")
        self.trainer.on_epoch_end = lambda: write_history(self.folder, self.trainer.history)

    def _test(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The test figures and the cases they are made of, from one pass with the best checkpoint."""
        started = perf_counter()
        self.trainer.load_best()
        self.prior = self.trainer.choose_prior(self.valid_data)
        if self.prior:
            logger.info("transition prior: weight {weight}, floor {floor}, validation {score:.4f}".format(**self.prior))
        ranks, masked = self.trainer.target_ranks(self.test_data, self.config["show_progress"])
        cases = case_rows(self.test_data._dataset, ranks, masked)
        figures = case_figures(cases, self.config)
        self.seconds["test"] = perf_counter() - started
        return figures, cases

    def _report(self) -> dict[str, Any]:
        figures, cases = self._test()
        trainer = self.trainer
        self.seconds["train"] = trainer.fit_seconds
        metrics = {
            "dataset": self.config["dataset"],
            "model": self.config["model_name"],
            "class": self.config["model"],  # behind that name
            "seed": self.config["seed"],
            "ablate": self.config["ablate"],  # the part of SEAR left out
            "statistics": self.dataset.statistics,
            "epochs": len(trainer.history),
            "best_epoch": trainer.best_epoch,
            "valid_metric": self.config["valid_metric"].lower(),
            "valid": dict(trainer.best_valid_result or {}),
            **({"transition_prior": self.prior} if self.prior else {}),
            **figures,
            "seconds": self.seconds,
            **self.memory.figures(),
            "parameters": sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            "environment": self.environment,
            "command": command_of(self.config),
        }
        write_history(self.folder, trainer.history)
        write_cases(self.folder, cases)
        write_examples(self.folder, run_examples(self.model, self.test_data, cases["rank"], self.titles))
        append_summary(self.folder, metrics)
        write_metrics(self.folder, metrics)  # last: its presence says that the run is finished
        self._show(figures)
        logger.info(f"written to {shown(self.folder)}")
        return metrics | {"run_folder": str(self.folder)}

    def _show(self, figures: Mapping[str, Any]) -> None:
        for table in tables(len(self.test_data._dataset), figures):
            logger.info(f"\n{table}")
        logger.info("")


def describe_dataset(name: str, statistics: dict) -> str:
    """One line on a data set's size."""
    return "{name}: {users:,} users, {items:,} items, {interactions:,} interactions".format(name=name, **statistics)
