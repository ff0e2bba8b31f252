"""Hyper-parameter search with Optuna: a study that any number of processes and machines join through its storage.

Each trial is one run, or one per seed, in ordinary run folders, so a trial that was killed goes on where it was. Only
the validation decides: a trial's value is the mean over its seeds of the best validation score.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from sear.errors import HeldError, InputError, WriteError
from sear.runs.search_space import Parameter

logger = logging.getLogger("sear")
BEAT = 20.0  # seconds between two signs of life of a worker
SILENCE = 120.0  # seconds without one after which a worker on another machine counts as gone
WORKER, SIGN, RETRY = "worker", "alive", "retry_of"  # a trial's attributes


@dataclass
class Budget:
    """When a search ends. trials: of the whole study, those that failed by a killed worker not counted."""

    trials: int | None = 50
    hours: float | None = None
    started: float = field(default_factory=time.monotonic)

    def out_of_time(self) -> bool:
        return self.hours is not None and time.monotonic() - self.started > self.hours * 3600


@dataclass
class Search:
    """One study and how its trials are run.

    Attributes:
        run: (values, seed, told) -> the best validation score of one run; it calls `told(epoch, score)` after every
            validation, which raises optuna.TrialPruned where the trial is not worth going on with.
    """

    study: Study
    space: Sequence[Parameter]
    seeds: Sequence[int]
    epochs: int
    run: Callable[[Mapping[str, Any], int, Callable[[int, float], None]], float]
    budget: Budget = field(default_factory=Budget)

    def work(self) -> None:
        """Run trials until the budget is used up; other workers may do the same at the same time."""
        while not self.budget.out_of_time():
            retry_lost_trials(self.study)
            waiting = any(trial.state == TrialState.WAITING for trial in self.study.get_trials(deepcopy=False))
            if not waiting and self._counted() >= (self.budget.trials or float("inf")):
                return
            trial = self.study.ask()
            trial.set_user_attr(WORKER, this_worker())
            trial.set_user_attr(SIGN, time.time())
            if self._beyond_budget(trial):
                self.study.tell(trial, state=TrialState.FAIL)
                return
            self._run(trial)

    def _counted(self, below: int | None = None) -> int:
        """Trials that use up the budget: all but those that were lost, and taken up by another."""
        trials = self.study.get_trials(deepcopy=False)
        lost = {trial.user_attrs[RETRY] for trial in trials if RETRY in trial.user_attrs}
        failed = {
            trial.number for trial in trials if trial.state == TrialState.FAIL and "error" not in trial.user_attrs
        }
        return sum(trial.number not in lost | failed and (below is None or trial.number < below) for trial in trials)

    def _beyond_budget(self, trial: Trial) -> bool:
        """Two workers may have asked for the last trial at the same time: the later one gives it back."""
        return (
            RETRY not in trial.user_attrs
            and self.budget.trials is not None
            and self._counted(below=trial.number) >= self.budget.trials
        )

    def _run(self, trial: Trial) -> None:
        values = {parameter.key: parameter.suggest(trial) for parameter in self.space}
        logger.info(f"trial {trial.number}: {', '.join(f'{key}={value}' for key, value in values.items())}")
        try:
            with signs_of_life(self.study, trial._trial_id):
                score = self._value(trial, values)
        except optuna.TrialPruned:
            self.study.tell(trial, state=TrialState.PRUNED)
            logger.info(f"trial {trial.number}: pruned")
        except (KeyboardInterrupt, WriteError):  # a full disk would end the next trial, too
            self.study.tell(trial, state=TrialState.FAIL)
            retry(self.study, self.study.trials[trial.number])
            raise
        except (InputError, HeldError) as error:  # such as a width that the heads do not divide
            trial.set_user_attr("error", str(error))
            self.study.tell(trial, state=TrialState.FAIL)
            logger.warning(f"trial {trial.number} failed: {error}")
        else:
            self.study.tell(trial, score)
            logger.info(f"trial {trial.number}: {score:.5f} (best so far: {self.study.best_value:.5f})")

    def _value(self, trial: Trial, values: Mapping[str, Any]) -> float:
        scores: list[float] = []
        for position, seed in enumerate(self.seeds):

            def told(epoch: int, score: float, first: int = position * self.epochs) -> None:
                trial.report(score, first + epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned

            scores.append(self.run(values, seed, told))
        return sum(scores) / len(scores)


def open_study(name: str, storage: str, seed: int | None) -> Study:
    """The study of that name, new or as it stands.

    Args:
        storage: a file, which becomes a journal that processes and machines with a common file system share, or the
            URL of a database: sqlite:///FILE, postgresql://…
        seed: of the sampler; None: each worker its own.

    Raises:
        InputError: the storage cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(
            study_name=name,
            storage=_storage(storage),
            sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
            direction="maximize",
            load_if_exists=True,
        )
    except (OSError, ValueError, KeyError, ImportError, optuna.exceptions.StorageInternalError) as error:
        raise _no_storage(storage, error) from None
    except Exception as error:  # SQLAlchemy's own, which only a database needs
        if type(error).__module__.partition(".")[0] != "sqlalchemy":
            raise
        raise _no_storage(storage, error) from None


def _no_storage(storage: str, error: Exception) -> InputError:
    why = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(
        f"--storage={storage} cannot be opened ({why}) - name a file you may write, sqlite:///FILE or postgresql://…"
    )


def _storage(storage: str):
    if "://" in storage:
        return optuna.storages.RDBStorage(storage, engine_kwargs={"pool_pre_ping": True})
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    path = Path(storage)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = JournalFileOpenLock(str(path)) if os.name == "nt" else None  # symbolic links need rights on Windows
    return optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def this_worker() -> str:
    """HOST:PROCESS:ITS START, which no other process has."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def _started(pid: int) -> str:
    """When a process began; "" where there is none."""
    import psutil

    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return ""


def is_gone(trial: FrozenTrial, now: float) -> bool:
    """Whether the worker of a running trial is there no more: dead on this machine, or silent on another one."""
    host, _, rest = trial.user_attrs.get(WORKER, "").rpartition(":")[0].rpartition(":")
    begun = trial.datetime_start.timestamp() if trial.datetime_start else now
    if host == socket.gethostname() and rest.isdigit():
        return _started(int(rest)) != trial.user_attrs[WORKER].rpartition(":")[2]
    return now - trial.user_attrs.get(SIGN, begun) > SILENCE


def retry_lost_trials(study: Study) -> None:
    """Put the values of trials whose workers are gone into the queue again; each by one worker alone."""
    now = time.time()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if is_gone(trial, now):
            try:
                study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            except (RuntimeError, KeyError):  # another worker was faster
                continue
            logger.info(f"trial {trial.number}: its worker is gone; it goes on")
            retry(study, trial)


def retry(study: Study, trial: FrozenTrial) -> None:
    """Queue a trial's values; its run folders are found by their settings, so it goes on after its last epoch."""
    if trial.params:
        first = trial.user_attrs.get(RETRY, trial.number)
        study.enqueue_trial(trial.params, user_attrs={RETRY: trial.number, "first": first})


@contextmanager
def signs_of_life(study: Study, trial_id: int) -> Iterator[None]:
    """Tell the storage every BEAT seconds that the trial's worker is there."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            study._storage.set_trial_user_attr(trial_id, SIGN, time.time())

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
