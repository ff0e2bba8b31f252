"""The workers of a search: they mark their trials, give signs of life, and take up trials of those that are gone."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

logger = logging.getLogger("sear")
BEAT = 20.0  # seconds between two signs of life of a worker
SILENCE = 120.0  # seconds without one after which a worker on another machine counts as gone
TRIES = 3  # a trial that took so many workers with it, as one that needs too much memory does, is not tried again
WORKER, SIGN, RETRY, LOST, ERROR = "worker", "alive", "retry_of", "lost", "error"  # a trial's attributes


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
            lost = trial.user_attrs.get(LOST, 0) + 1
            try:
                if lost == TRIES:
                    why = f"its worker was killed {TRIES} times, perhaps for want of memory"
                    study._storage.set_trial_user_attr(trial._trial_id, ERROR, why)
                study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            except (RuntimeError, KeyError):  # another worker was faster
                continue
            if lost == TRIES:
                logger.warning(f"trial {trial.number} failed: {why}")
            else:
                logger.info(f"trial {trial.number}: its worker is gone; it goes on")
                retry(study, trial, lost)


def retry(study: Study, trial: FrozenTrial, lost: int) -> None:
    """Queue a trial's values; its run folders are found by their settings, so it goes on after its last epoch.

    Args:
        lost: how many workers have gone while they ran it.
    """
    if trial.params:
        study.enqueue_trial(trial.params, user_attrs={RETRY: trial.number, LOST: lost})


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
