"""Which process works on what: one alone in a run's folder, and one alone on a run of a grid.

The locks are the system's own, so a killed process holds nothing. Where the system has none (Windows, some network
drives) nobody is kept out.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sear.errors import HeldError, InputError
from sear.files import PROJECT_ROOT, writing
from sear.runs.find import training_hash

LOCK = ".lock"


@contextmanager
def held(run_folder: Path) -> Iterator[None]:
    """No other process of this machine works in the folder while the block runs.

    Raises:
        HeldError: another process holds it, or has just given it up or taken it back.
    """
    try:
        file = _opened(run_folder / LOCK)
    except FileNotFoundError:
        raise HeldError(f"{run_folder} was taken back by the process that made it - start again") from None
    with _alone(file, run_folder / LOCK, f"{run_folder} is being worked on by another process"):
        yield


def clear_lock(run_folder: Path) -> None:
    """Remove the file that a killed process has left of its lock."""
    if (run_folder / LOCK).exists():
        with suppress(InputError), held(run_folder):
            pass


@contextmanager
def claimed(settings: Mapping[str, Any]) -> Iterator[None]:
    """No other grid of this machine works on a run with this training, in the place that the settings name, meanwhile.

    A run's folder is known by its settings only once these are written in it: two grids that start at the same moment
    would train every run twice; and what one training is mixed with is for one grid after the other.

    Raises:
        HeldError: another grid does.
    """
    path = PROJECT_ROOT / settings["results_path"] / f".{training_hash(settings)}{LOCK}"
    file = None
    while file is None:
        with suppress(FileNotFoundError):  # the folder was empty, and taken back by another process: make it again
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            file = _opened(path)
    try:
        with _alone(file, path, "another process works on this run"):
            yield
    finally:
        with suppress(OSError):  # not empty
            path.parent.rmdir()


def _opened(path: Path):
    with writing(path):
        return open(path, "w")


@contextmanager
def _alone(file, path: Path, told: str) -> Iterator[None]:
    """The lock on an open file, which is removed afterwards. Raises HeldError where another process has it."""
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.fstat(file.fileno()).st_nlink:
                raise BlockingIOError  # removed by the one who held it; another may hold a new one
        except BlockingIOError:
            raise HeldError(f"{told} - wait for that one, or start again if it has just stopped") from None
        except (ImportError, OSError):
            pass
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes no open file
                if os.fstat(file.fileno()).st_nlink:  # else it is gone with its folder, and path may be another's
                    path.unlink()
