"""One command of several processes: the first one obeys it, the others follow (sear.processes)."""

import logging
import os
import socket
import sys
from collections.abc import Callable
from contextlib import redirect_stdout

from sear import processes
from sear.console import REFUSED, pass_over_stops, stopped_in_order
from sear.errors import InputError, LostProcessError


def led(work: Callable[[], int]) -> int:
    """The exit code of a command's work, which the first process does while the others follow; one alone just does it.

    Why they all end is told by one of them.
    """
    if not processes.launched():
        return work()
    processes.before_torch()
    try:
        with processes.joined() as leads:
            return work() if leads else _follow()
    except (InputError, OSError, MemoryError, KeyboardInterrupt):
        pass_over_stops()  # torchrun stops the processes that are left, and these end already
        if processes.first_to_tell():
            raise
        sys.exit(REFUSED)


def _follow() -> int:
    """Without a word: what there is to say, the first process says."""
    logging.getLogger().addHandler(logging.NullHandler())  # else warnings would go to standard error
    logging.captureWarnings(True)
    with stopped_in_order(), open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        from sear.runs.follower import Follower  # imports torch and RecBole

        follower = Follower()
        try:
            with processes.lost_is_told():
                follower.follow()
        except KeyboardInterrupt as stop:
            raise type(stop)(_with(follower.going_on, "stopped")) from stop
        except LostProcessError as error:
            raise LostProcessError(_with(follower.going_on, f"{error}")) from error
        except InputError as error:
            name = f"process {processes.rank()} of {processes.size()}, on {socket.gethostname()}"
            raise type(error)(f"{name}: {error}") from error
    return 0


def _with(going_on: str, told: str) -> str:
    return f"{told}; {going_on}" if going_on else told
