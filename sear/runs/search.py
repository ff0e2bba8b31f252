"""Hyper-parameter search with Optuna: a study that any number of processes and machines join through its storage.

Each trial is one run, or one per seed, in ordinary run folders, so a trial that was killed goes on where it was. Only
the validation decides: a trial's value is the mean over its seeds of the best validation score.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from sear import processes
from sear.errors import HeldError, InputError, LostProcessError, WriteError
from sear.runs.search_space import Parameter
from sear.runs.study import sampler
from sear.runs.workers import (
    ERROR,
    LOST,
    RETRY,
    SIGN,
    WORKER,
    Watch,
    retry,
    retry_lost_trials,
    signs_of_life,
    this_worker,
)

logger = logging.getLogger("sear")
PAUSE = 5.0  # seconds between two looks at a run that another worker holds


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
        sampler_seed: with one, a search by one process proposes the same when it is repeated, stopped or not.
        waiting: whether it waits for a sign of another machine's worker, as has been told.
    """

    study: Study
    space: Sequence[Parameter]
    seeds: Sequence[int]
    epochs: int
    run: Callable[[Mapping[str, Any], int, Callable[[int, float], None]], float]
    budget: Budget = field(default_factory=Budget)
    sampler_seed: int | None = None
    watch: Watch = field(default_factory=Watch)
    waiting: bool = False

    def work(self) -> None:
        """Run trials until the budget is used up; other workers may do the same at the same time.

        Raises:
            WriteError, LostProcessError: the next trial would fare no better. The trial is in the queue again.
        """
        processes.ask("is_one_of_many")
        while not self.budget.out_of_time():
            processes.require_together()  # not so after a trial that failed while all of them worked on it
            retry_lost_trials(self.study, self.watch)
            trials = self.study.get_trials(deepcopy=False)
            queued = any(trial.state == TrialState.WAITING for trial in trials)
            if not queued and self._counted() >= (self.budget.trials or float("inf")):
                if not self._waited_for_a_sign(trials):
                    return
                continue
            self.study.sampler = sampler(self.sampler_seed, self._counted())
            trial = self.study.ask()
            trial.set_user_attr(WORKER, this_worker())
            trial.set_user_attr(SIGN, time.time())
            if self._beyond_budget(trial):
                self.study.tell(trial, state=TrialState.FAIL)
                continue
            self._run(trial)

    def _waited_for_a_sign(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether a trial might be left behind: its worker on another machine may be gone. If so after a pause."""
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        unknown = [trial.number for trial in running if self.watch.is_unknown(trial)]
        if unknown and not self.waiting:
            logger.info(f"waiting for a sign of the worker on another machine that runs trial {unknown[0]}")
        self.waiting = bool(unknown)
        time.sleep(PAUSE if unknown else 0)
        return self.waiting

    def _counted(self, below: int | None = None) -> int:
        """Trials that use up the budget: all but those that were lost, and taken up by another."""
        trials = self.study.get_trials(deepcopy=False)
        lost = {trial.user_attrs[RETRY] for trial in trials if RETRY in trial.user_attrs}
        failed = {trial.number for trial in trials if trial.state == TrialState.FAIL and ERROR not in trial.user_attrs}
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
            with signs_of_life(trial):
                score = self._value(trial, values)
        except optuna.TrialPruned:
            if self._end(trial, state=TrialState.PRUNED):
                logger.info(f"trial {trial.number}: pruned")
        except (KeyboardInterrupt, WriteError, LostProcessError):  # a full disk would end the next trial, too
            if self._end(trial, state=TrialState.FAIL):
                retry(self.study, self.study.trials[trial.number], trial.user_attrs.get(LOST, 0))
            raise
        except Exception as error:  # the other trials are worth having, whatever went wrong in this one
            self._fail(trial, error)
        else:
            if self._end(trial, values=score):
                logger.info(f"trial {trial.number}: {score:.5f} (best so far: {self.study.best_value:.5f})")

    def _end(self, trial: Trial, error: str = "", **told: Any) -> bool:
        """Whether the trial could be ended; not so one that another worker took up, this one being silent too long."""
        try:
            if error:
                trial.set_user_attr(ERROR, error)
            self.study.tell(trial, **told)
        except (RuntimeError, ValueError):
            if not self.study.get_trials(deepcopy=False)[trial.number].state.is_finished():
                raise
            logger.warning(f"trial {trial.number}: another worker has taken it up")
            return False
        return True

    def _fail(self, trial: Trial, error: Exception) -> None:
        """Of a user's mistake, such as a width that the heads do not divide, one line; of all else where it arose."""
        mistake = isinstance(error, InputError)
        why = str(error) if mistake else f"{type(error).__name__}: {error}"
        if self._end(trial, why, state=TrialState.FAIL):
            logger.warning(f"trial {trial.number} failed: {why}", exc_info=None if mistake else error)

    def _value(self, trial: Trial, values: Mapping[str, Any]) -> float:
        scores: list[float] = []
        for position, seed in enumerate(self.seeds):

            def told(epoch: int, score: float, first: int = position * self.epochs) -> None:
                trial.report(score, first + epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned

            scores.append(self._score(values, seed, told))
        return sum(scores) / len(scores)

    def _score(self, values: Mapping[str, Any], seed: int, told: Callable[[int, float], None]) -> float:
        """Of one run; where another worker tries the same values, after waiting for it, for then its run is found."""
        waiting = False
        while True:
            try:
                return self.run(values, seed, told)
            except HeldError as error:
                if not waiting:
                    logger.info(f"waiting: {str(error).partition(' - ')[0]}")
                waiting = True
                time.sleep(PAUSE)
