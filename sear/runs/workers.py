"""The workers of a search: they mark their trials, give signs of life, and take up trials of those that are gone."""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

logger = logging.getLogger("sear")
BEAT = 20.0  # seconds between two signs of life of a worker
SILENCE = 120.0  # seconds without a new one after which a worker on another machine counts as gone
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


class Watch:
    """Which workers are gone: dead on this machine, or silent on another one while this process looks.

    Each machine has a clock of its own, so a sign of life counts when it changes, whatever time it tells.
    """

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}  # by the number of the trial

    def is_gone(self, trial: FrozenTrial) -> bool:
        """Whether the worker of a running trial is there no more."""
        alive = _on_this_machine(trial)
        return self._look(trial).silence > SILENCE if alive is None else not alive

    def is_unknown(self, trial: FrozenTrial) -> bool:
        """Whether the worker may be there or not: no sign of it came while this process looked."""
        seen = self._look(trial)
        return _on_this_machine(trial) is None and not (seen.changed and seen.silence < 2 * BEAT)

    def _look(self, trial: FrozenTrial) -> "_Seen":
        now, sign = time.monotonic(), trial.user_attrs.get(SIGN)
        seen = self._seen.get(trial.number)
        if seen is None or seen.sign != sign:
            # a sign that changed between two looks far apart may be an old one, too
            seen = _Seen(sign, now, changed=seen is not None and now - seen.looked < 2 * BEAT)
        self._seen[trial.number] = replace(seen, looked=now)
        return self._seen[trial.number]


@dataclass(frozen=True)
class _Seen:
    """A trial's last sign of life; `since` and `looked` in seconds of this process's own clock."""

    sign: Any
    since: float
    looked: float = 0.0
    changed: bool = False

    @property
    def silence(self) -> float:
        return self.looked - self.since


def _on_this_machine(trial: FrozenTrial) -> bool | None:
    """Whether the worker's process is there; None where it cannot be seen from here."""
    worker = trial.user_attrs.get(WORKER, {"machine": "unknown"})
    return _is_alive(worker["pid"], worker["started"]) if worker["machine"] == _machine() else None


def retry_lost_trials(study: Study, watch: Watch) -> None:
    """Put the values of trials whose workers are gone into the queue again; each by one worker alone."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if watch.is_gone(trial):
            lost = trial.user_attrs.get(LOST, 0) + 1
            given_up = f"its worker was killed {TRIES} times, perhaps for want of memory" if lost == TRIES else ""
            try:
                _fail(study, trial, given_up)
            except (RuntimeError, KeyError):  # another worker was faster
                continue
            if given_up:
                logger.warning(f"trial {trial.number} failed: {given_up}")
            else:
                logger.info(f"trial {trial.number}: its worker is gone; it goes on")
                retry(study, trial, lost)


def _fail(study: Study, trial: FrozenTrial, error: str) -> None:
    """Of a trial that another process has asked for, which Optuna gives no public way to write into."""
    if error:
        study._storage.set_trial_user_attr(trial._trial_id, ERROR, error)
    study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)


def retry(study: Study, trial: FrozenTrial, lost: int) -> None:
    """Queue a trial's values; its run folders are found by their settings, so it goes on after its last epoch.

    Args:
        lost: how many workers have gone while they ran it.
    """
    if trial.params:
        study.enqueue_trial(trial.params, user_attrs={RETRY: trial.number, LOST: lost})


@contextmanager
def signs_of_life(trial: Trial) -> Iterator[None]:
    """Tell the storage every BEAT seconds that the trial's worker is there."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            try:
                trial.set_user_attr(SIGN, time.time())
            except Exception as error:  # a storage that cannot be reached now may be there again for the next one
                logger.warning(f"no sign of life could be left in the storage: {error}")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
