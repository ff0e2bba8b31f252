"""A run's own folder: made, held by one process at a time, taken back."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from sear.errors import HeldError

LOCK = ".lock"


def new_run_folder(results_directory: Path | str, dataset: str, model: str, seed: int) -> Path:
    """A folder that did not exist before: RESULTS/DATASET/MODEL/RUN_ID, RUN_ID such as 20260131-120509-seed2020."""
    parent = Path(results_directory) / dataset / model
    run_id = f"{datetime.now():%Y%m%d-%H%M%S}-seed{seed}"
    for number in count(1):
        folder = parent / (run_id if number == 1 else f"{run_id}-{number}")
        parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # another run began in this second
            folder.mkdir()
            return folder


def discard_run_folder(run_folder: Path, results_too: bool) -> None:
    """Take back a folder that `new_run_folder` made, and those above it that are empty then.

    Args:
        results_too: whether the results folder was made for it.
    """
    shutil.rmtree(run_folder, ignore_errors=True)  # Windows keeps a lock file that is open
    with suppress(OSError):  # not empty
        for folder in list(run_folder.parents)[: 3 if results_too else 2]:
            folder.rmdir()


@contextmanager
def held(run_folder: Path) -> Iterator[None]:
    """No other process of this machine works in the folder while the block runs; a killed one holds nothing.

    Raises:
        HeldError: another process holds it, or has just given it up or taken it back.
    """
    path = run_folder / LOCK
    try:
        file = open(path, "w")
    except FileNotFoundError:
        raise HeldError(f"{run_folder} was taken back by the process that made it - start again") from None
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                raise BlockingIOError  # the one who held it has removed this file; others may hold a new one
        except BlockingIOError:
            raise HeldError(f"{run_folder} is being worked on by another process - wait for that one") from None
        except (ImportError, OSError):  # Windows; some network drives
            pass
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes no open file
                path.unlink()
