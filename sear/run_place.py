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
        with suppress(FileExistsError, FileNotFoundError):  # another run began in this second, or was taken back
            folder.mkdir()
            return folder


def discard_run_folder(run_folder: Path, there: Path) -> None:
    """Take back a folder that `new_run_folder` made, and those above it that are empty then, up to `there`."""
    shutil.rmtree(run_folder, ignore_errors=True)  # Windows keeps a lock file that is open
    with suppress(OSError):  # not empty
        for folder in run_folder.parents[: run_folder.parents.index(there)]:
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
            if not os.fstat(file.fileno()).st_nlink:
                raise BlockingIOError  # removed by the one who held it; another may hold a new one
        except BlockingIOError:
            place = f"{run_folder} is being worked on by another process"
            raise HeldError(f"{place} - wait for that one, or start again if it has just stopped") from None
        except (ImportError, OSError):  # Windows; some network drives
            pass
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes no open file
                if os.fstat(file.fileno()).st_nlink:  # else it is gone with its folder, and path may be another's
                    path.unlink()
