"""The workers of a search: they mark their trials, give signs of life, and take up trials of those that are gone."""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

logger = logging.getLogger("sear")
BEAT = 20.0  # seconds between two signs of life of a worker
SILENCE = 120.0  # seconds without one after which a worker on another machine counts as gone
CLOCK = 5.0  # seconds that a process's start may seem to move by: it is counted from the boot, and that by the clock
TRIES = 3  # a trial that took so many workers with it, as one that needs too much memory does, is not tried again
WORKER, SIGN, RETRY, LOST, ERROR = "worker", "alive", "retry_of", "lost", "error"  # a trial's attributes


def this_worker() -> dict[str, Any]:
    """What tells this process from all others: machine, number and start, in seconds since 1970."""
    import psutil

    return {"machine": _machine(), "pid": os.getpid(), "started": psutil.Process().create_time()}


@cache
def _machine() -> str:
    """Those who say the same see each other's processes; host names alone do not tell that, nor do containers'."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # no Linux
        return f"{socket.gethostname()} {uuid.getnode()}"


def _is_alive(pid: int, started: float) -> bool | None:
    """Whether a process of this machine is there; None where another one may have its number, or the clock was set."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return True if abs(process.create_time() - started) < CLOCK else None
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:  # it may not be looked at
        return None


def is_gone(trial: FrozenTrial, now: float) -> bool:
    """Whether the worker of a running trial is there no more: dead on this machine, or silent on another one."""
    worker = trial.user_attrs.get(WORKER, {"machine": "unknown"})
    begun = trial.datetime_start.timestamp() if trial.datetime_start else now
    alive = _is_alive(worker["pid"], worker["started"]) if worker["machine"] == _machine() else None
    return not alive if alive is not None else now - trial.user_attrs.get(SIGN, begun) > SILENCE


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
            try:
                study._storage.set_trial_user_attr(trial_id, SIGN, time.time())
            except Exception as error:  # a storage that cannot be reached now may be there again for the next one
                logger.warning(f"no sign of life could be left in the storage: {error}")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
