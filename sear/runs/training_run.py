"""One run from its settings to the metrics in its folder; the one module that knows all the others."""

import logging
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from recbole.data import data_preparation
from recbole.utils import init_seed

from sear import processes
from sear.data.data_files import data_hashes, require_data_unchanged
from sear.data.dataset import SEARDataset
from sear.errors import HeldError, InputError, LostProcessError, OutOfMemoryError, WriteError
from sear.evaluation.examples import run_examples
from sear.evaluation.metrics import GROUPS, case_rows, metric_tables, metrics_of_cases
from sear.files import CHECKOUT, PROJECT_ROOT, remove, shown, writing
from sear.memory import enough_memory_to
from sear.model.counting import CountingModel
from sear.model.network import SEARNetwork
from sear.runs.command import command_of, started_by
from sear.runs.find import deciding_settings, find_trainings, recorded_hash
from sear.runs.folder import (
    discard_run_folder,
    is_finished,
    new_run_folder,
    write_cases,
    write_config,
    write_examples,
    write_history,
    write_metrics,
)
from sear.runs.grid import keep_best_checkpoint
from sear.runs.lock import held
from sear.runs.log import RunLog
from sear.runs.machine import PeakMemory, commit, environment
from sear.runs.model_folder import IN_RUN, TrainedModel, point_at, write_model
from sear.runs.record import RunRecord, read_metrics
from sear.runs.run_model import can_be_kept, trained_model
from sear.runs.same_training import take_over
from sear.runs.summary import append_summary, read_summary
from sear.runs.validated import validated_run
from sear.runs.warm_start import earlier_model, start_from
from sear.settings.gather import values_of_class
from sear.settings.recbole_config import (
    SEARConfig,
    effective_settings,
    model_class,
    overrides_of,
)
from sear.settings.sizes import MODEL_KEYS
from sear.trainer.checkpoint import Checkpoints
from sear.trainer.counting_trainer import CountingTrainer
from sear.trainer.mixing import Choice
from sear.trainer.team import Team
from sear.trainer.trainer import SEARTrainer

logger = logging.getLogger("sear")
RUN_FOLDER = "run folder"  # what processes that torchrun starts anew are told of those before them
NEWEST = "newest"  # beside a model's run folders: a file that names the newest one that every event trained
OnEpoch = Callable[[Path, Sequence[Mapping[str, Any]]], None]  # takes the run folder and the rows of history.csv
ALL_THREADS = torch.get_num_threads()  # as the machine or OMP_NUM_THREADS says, before a run asks for fewer


@dataclass
class Prepared:
    """A run's data, texts and model, ready to train or test; `seconds` is what they took: {data, text}."""

    dataset: SEARDataset
    loaders: tuple[Any, Any, Any]  # training, validation, test
    trainer: SEARTrainer
    data: dict[str, str]  # hashes of the files
    seconds: dict[str, float]
    mixed: Choice = Choice()  # what is mixed into the scores that are tested
    weights: str | None = None  # digest of those that are tested


def prepare(config: SEARConfig, checkpoints: Checkpoints) -> Prepared:
    """Read the data, embed the texts and build the model, with all randomness from the seed.

    Of several processes the first one does so alone and then asks the others to: they find the texts embedded.

    Raises:
        InputError: there are fewer GPUs than processes.
    """
    build = model_class(config["model"])
    if config["device"].type == "cuda" and not issubclass(build, CountingModel):
        processes.require_own_gpu()
    init_seed(config["seed"], config["reproducibility"])
    started = perf_counter()
    hashes = {} if processes.rank() else data_hashes(config)
    with enough_memory_to("read the data", {}):
        whole = SEARDataset(config)
        logger.info(describe_dataset(config["dataset"], whole.statistics))
        loaders = data_preparation(config, whole)
    dataset = loaders[0]._dataset
    read = perf_counter()
    reads_texts = bool(config["text_match"])
    if issubclass(build, SEARNetwork) and (config["text_init"] or "semantic" in config["streams"]):
        build.check_catalogue(config, dataset.item_num)  # before an hour of encoding, not after
        reads_texts = True
    if reads_texts:
        dataset.item_text_embedding()
    if not processes.rank():
        _ = dataset.texts.titles  # now, for a fault in them must not end a run that is trained
    require_data_unchanged(config, hashes)
    seconds = {"data": read - started, "text": perf_counter() - read}
    init_seed(config["seed"], config["reproducibility"])
    with enough_memory_to("hold the model", {key: config[key] for key in MODEL_KEYS}):
        model = build(config, dataset).to(config["device"])
    trainer = (CountingTrainer if isinstance(model, CountingModel) else SEARTrainer)(config, model)
    checkpoints.events_hash = dataset.events_hash
    trainer.checkpoints = checkpoints
    if processes.size() > 1 and not isinstance(model, CountingModel):  # which the first process does alone
        if not processes.rank():
            with processes.together("prepare", effective_settings(config), config["device"].type, dataset.events_hash):
                processes.meet()
        trainer.team = Team(model)
    return Prepared(dataset, loaders, trainer, hashes, seconds)


def train_in_new_folder(
    config: SEARConfig,
    log: RunLog,
    variant: Sequence[str] = (),
    on_epoch: OnEpoch | None = None,
    reuse: bool = False,
) -> dict[str, Any]:
    """Train, test and report a run; a folder in which nothing was trained yet is taken back when that fails.

    Args:
        variant: what the folder's name tells besides the seed.
        on_epoch, reuse: see TrainingRun.

    Returns:
        What metrics.json holds, and `run_folder`.
    """
    root = PROJECT_ROOT / config["results_path"]
    if (root / "summary.csv").exists():
        read_summary(root / "summary.csv")  # a file that is not ours must show before the work, not after
    parents = (root / config["dataset"] / config["model_name"] / "run").parents
    started_at = commit(CHECKOUT)
    validated = validated_run(config) if config["train_on"] == "all" else None  # may take long: no folder before it
    there = next(path for path in parents if path.exists())
    run = TrainingRun(config, new_run_folder(root, config["dataset"], config["model_name"], config["seed"], variant))
    if validated:
        run.environment["commit"] = started_at  # of the code in use; another may have come while that one trained
    processes.note(RUN_FOLDER, str(run.folder))
    run.on_epoch, run.reuse = on_epoch, reuse
    try:
        return run.train(log, validated)
    finally:
        if not run.begun:
            discard_run_folder(run.folder, there)


class TrainingRun:
    """One run in its folder.

    Attributes:
        environment: the machine, the versions and the commit that the run begins with.
        checkpoints: best.pth and last.pth in the folder.
        begun: whether there is something to go on with, should it be stopped.
        on_epoch: called with folder and history after each epoch and its checkpoints; what it raises ends the run.
        reuse: whether a finished run's training is taken over, where it is the same (sear.runs.same_training).
    """

    on_epoch: OnEpoch | None = None
    reuse = False
    _taken: RunRecord | None = None  # of the run whose training is taken over

    def __init__(self, config: SEARConfig, folder: Path, begun: bool = False):
        self.config, self.folder, self.begun = config, folder, begun
        torch.set_num_threads(config["threads"] or ALL_THREADS)
        self.environment = environment(config["device"])  # now: the commit may be another when the run ends
        settings = deciding_settings(effective_settings(config))
        del settings["data_path"]  # the data themselves are compared
        files = folder / "best.pth", folder / "last.pth"
        self.checkpoints = Checkpoints(config["model"], config["dataset"], *files, config["device"], settings)
        self.checkpoints.usual = values_of_class(config["model"])

    def train(self, log: RunLog, validated: tuple[Path, RunRecord] | None = None) -> dict[str, Any]:
        """From the last epoch that is kept in the folder, or from the first, to the end.

        Args:
            validated: where every event trains, the run that says for how long; None: it is looked for, or trained.
        """
        for line in self._places():
            logger.info(line)
        try:
            if self.config["train_on"] == "all":
                validated = validated or validated_run(self.config)
            with held(self.folder):
                if is_finished(self.folder):  # since it was looked for
                    raise HeldError(f"{self.folder} was finished by another process just now - nothing is left to do")
                self.checkpoints.check()  # before anything that takes long
                self.memory = PeakMemory()
                write_config(self.folder, effective_settings(self.config))
                known = self._same_trainings()
                earlier = None if known or self.checkpoints.last.exists() else earlier_model(self.config)
                prepared = prepare(self.config, self.checkpoints)
                if known:
                    self._taken = take_over(known, prepared, self.checkpoints)
                    earlier = None if self._taken else earlier_model(self.config)
                if earlier:
                    self.checkpoints.began_with = earlier.about["digest"]
                    start_from(earlier, prepared.trainer.model, prepared.dataset)
                    prepared.trainer.average_anew()
                with prepared.trainer.tracking.of_run(self.folder):
                    self.begun = True
                    log.write_to(self.folder / "run.log")
                    logger.info(f"run folder: {shown(self.folder)}")
                    self._fit(prepared, validated)
                    return self._report(prepared, validated)
        except KeyboardInterrupt as stop:
            if not self.begun:
                raise
            raise type(stop)(f"stopped; go on with: {self._resume_command}") from stop
        except (WriteError, LostProcessError) as error:
            if not self.begun:
                raise
            then = "then " if isinstance(error, WriteError) else ""
            raise type(error)(f"{error}; {then}go on with: {self._resume_command}") from error
        except OutOfMemoryError as error:
            if not self.begun:
                raise
            told = f"{error}; or free memory that others use, and go on with: {self._resume_command}"
            raise OutOfMemoryError(told) from error

    @property
    def _resume_command(self) -> str:
        return f"{shlex.join(started_by(with_restarts=True))} --resume={shlex.quote(shown(self.folder))}"

    def _places(self) -> list[str]:
        """Where the run computes, reads and writes, in full: these follow from the settings and the working folder."""
        what, results = "results", PROJECT_ROOT / self.config["results_path"]
        if self.begun:
            what, results = "run", self.folder
        return [
            f"device: {self.environment['device']}",
            f"data folder: {os.path.abspath(self.config['data_path'])}",
            f"{what} folder: {os.path.abspath(results)}",
        ]

    def _fit(self, prepared: Prepared, validated: tuple[Path, RunRecord] | None) -> None:
        trainer = prepared.trainer
        for left in [*self.folder.glob(".*.tmp"), *self.folder.glob(".*.old")]:  # of a process that was killed
            with writing(left):
                remove(left)
        if self.checkpoints.last.exists():
            trainer.resume_checkpoint(self.checkpoints.last)
            commit = self.environment["commit"]
            place = f" at commit {commit}" if commit else ""
            logger.info(f"going on after epoch {trainer.start_epoch - 1}{place}")
        self._name_commits()
        processes.ask("goes_on_with", self._resume_command)
        if self._taken:
            return

        def on_epoch_end() -> None:
            write_history(self.folder, trainer.history)
            if self.on_epoch:
                self.on_epoch(self.folder, trainer.history)

        trainer.on_epoch_end = on_epoch_end
        train_data, valid_data, _ = prepared.loaders
        if validated and validated[1].best_epoch is not None:
            trainer.epochs, valid_data = validated[1].best_epoch + 1, None
        trainer.fit(train_data, valid_data, show_progress=self.config["show_progress"])

    def _same_trainings(self) -> list[Path]:
        if not self.reuse or self.checkpoints.last.exists():
            return []
        return find_trainings(effective_settings(self.config), data_hashes(self.config))

    def _name_commits(self) -> None:
        """Of a run that was resumed at other commits, metrics.json and the next checkpoint name those too."""
        commit = self.environment["commit"]
        earlier = [known for known in self.checkpoints.commits if known != commit]
        if earlier:
            self.environment["earlier_commits"] = earlier
        self.checkpoints.commits = [*earlier, *([commit] if commit else [])]

    def test_again(self) -> dict[str, Any]:
        """The metrics of the best checkpoint, without training and without changing the run, and `run_folder`."""
        if self.config["train_on"] == "all":
            raise InputError(
                f"{self.folder} was trained on every event, so there is nothing to test - evaluate the run"
                " that held its last events out"
            )
        logger.info(self._places()[0])
        if not is_finished(self.folder):
            logger.info(f"{self.folder} is not finished: its best checkpoint so far is tested")
        self._refuse_untested()
        prepared = prepare(self.config, self.checkpoints)
        metrics, cases = self._test(prepared)
        self._show(metrics, len(cases["rank"]))
        return metrics | {"run_folder": str(self.folder)}

    def _refuse_untested(self) -> None:
        """Raises InputError where best.pth cannot be read, or is not the one whose test metrics.json tells."""
        if is_finished(self.folder):
            record = read_metrics(self.folder)
            self.checkpoints.refuse_untested(record.weights, record.best_epoch, record.valid)
        else:
            self.checkpoints.read(self.checkpoints.best)

    def model_for_use(self) -> TrainedModel:
        """The model of a finished run that kept none for use, made of its best checkpoint and its data.

        Raises:
            InputError: the data are gone or have changed since, or the model cannot be used without RecBole.
        """
        record = read_metrics(self.folder)
        self._refuse_untested()
        prepared = prepare(self.config, self.checkpoints)
        self.checkpoints.load_best(prepared.trainer.model)
        prepared.trainer.mixing.use(Choice(record.transition_prior, record.text_match))
        return trained_model(prepared.trainer.model, prepared.dataset, record)

    def _test(self, prepared: Prepared) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The test metrics and the cases they are made of, from one pass with the best checkpoint."""
        started = perf_counter()
        trainer, test_data = prepared.trainer, prepared.loaders[2]
        prepared.weights = self.checkpoints.load_best(trainer.model)
        prepared.mixed = trainer.mixing.choose(prepared.loaders[1])
        ranks, masked = trainer.rank_cases(test_data, self.config["show_progress"])
        cases = case_rows(test_data._dataset, ranks, masked)
        metrics = metrics_of_cases(cases, self.config)
        prepared.seconds["test"] = perf_counter() - started
        return metrics, cases

    def _untested(self, prepared: Prepared, validated: RunRecord) -> dict[str, Any]:
        """What metrics.json says instead of metrics where every event trained, with the last epoch's weights in use."""
        model = prepared.trainer.model
        prepared.weights = self.checkpoints.load_best(model)
        prepared.mixed, prepared.seconds["test"] = Choice(validated.transition_prior, validated.text_match), 0.0
        prepared.trainer.mixing.use(prepared.mixed)
        return {"test": {}, **dict.fromkeys(("test_history_masked", *(f"test_by_{group}" for group in GROUPS)))}

    def _report(self, prepared: Prepared, validated: tuple[Path, RunRecord] | None) -> dict[str, Any]:
        metrics, cases = (self._untested(prepared, validated[1]), {}) if validated else self._test(prepared)
        record = self._record(prepared, metrics)
        if validated:
            record.validated_by = validated[0].name
        trainer = prepared.trainer
        write_history(self.folder, trainer.history)
        if cases:
            write_cases(self.folder, cases)
            titles = prepared.dataset.texts.titles
            write_examples(self.folder, run_examples(trainer.model, prepared.loaders[2], cases["rank"], titles))
        append_summary(self.folder, record)
        if can_be_kept(trainer.model):
            write_model(
                self.folder / IN_RUN, trained_model(trainer.model, prepared.dataset, record, *(validated or ())[1:])
            )
        write_metrics(self.folder, record)  # last: its presence says that the run is finished
        if validated:
            for folder in (self.folder, validated[0]):  # night after night they would fill the disk
                keep_best_checkpoint(folder)
            self._finish_untested()
            return record.to_dict() | {"run_folder": str(self.folder)}
        masked = {f"filtered_{name}": value for name, value in (record.test_history_masked or {}).items()}
        trainer.tracking.log_test(record.test | masked, trainer.tested_epoch)
        self._show(metrics, len(cases["rank"]))
        logger.info(f"written to {shown(self.folder)}")
        return record.to_dict() | {"run_folder": str(self.folder)}

    def _finish_untested(self) -> None:
        logger.info(f"written to {shown(self.folder)}; every event trained, so there is nothing to test")
        if (self.folder / IN_RUN).is_dir():
            pointer = self.folder.parent / NEWEST
            point_at(pointer, self.folder)
            logger.info(f"newest model: {shown(pointer)}")

    def _record(self, prepared: Prepared, metrics: Mapping[str, Any]) -> RunRecord:
        config, trainer = self.config, prepared.trainer
        seconds = {key: prepared.seconds[key] for key in ("data", "text")}
        seconds |= {"train": trainer.fit_seconds, "test": prepared.seconds["test"]}
        names = {"dataset": config["dataset"], "model": config["model_name"], "seed": config["seed"]}
        names |= {"ablate": config["ablate"]}
        overrides = overrides_of(config)
        memory, environment = self.memory.values(), self.environment
        if taken := self._taken:  # what the training needed, and where it ran
            peaks = ((key, getattr(taken, key)) for key in ("peak_memory_mb", "peak_gpu_memory_mb"))
            memory |= {key: max(value, memory.get(key) or 0) for key, value in peaks if value is not None}
            own = {key: value for key, value in environment.items() if key in ("commit", "earlier_commits")}
            environment = (taken.environment or environment) | own
        return RunRecord(
            **names,
            class_name=config["model"],
            statistics=prepared.dataset.statistics,
            epochs=len(trainer.history),
            best_epoch=trainer.best_epoch,
            valid_metric=config["valid_metric"].lower(),
            valid=dict(trainer.best_valid_result or {}),
            transition_prior=prepared.mixed.prior,
            text_match=prepared.mixed.text_match,
            **metrics,
            seconds=seconds,
            **memory,
            parameters=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
            environment=environment,
            overrides=overrides,
            data=prepared.data,
            text_encoder=prepared.dataset.texts.encoded_by,
            command=command_of(**names, overrides=overrides),
            settings=recorded_hash(effective_settings(config)),
            began_with=self.checkpoints.began_with,
            weights=prepared.weights,
            training_of=self._taken.training_of if self._taken else None,
        )

    def _show(self, metrics: Mapping[str, Any], cases: int) -> None:
        for table in metric_tables(cases, metrics):
            logger.info(f"\n{table}")
        logger.info("")


def describe_dataset(name: str, statistics: dict) -> str:
    """One line on a data set's size."""
    return "{name}: {users:,} users, {items:,} items, {interactions:,} interactions".format(name=name, **statistics)
