"""Runs are known by their settings: which run folder, if any, holds the run that these settings ask for."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from sear.errors import InputError
from sear.files import PROJECT_ROOT
from sear.settings.rules import read_settings

# settings that say where a run works or what it shows: two runs that differ only here are the same cell
NOT_OF_THE_RESULT = frozenset(
    "checkpoint_dir dataloaders_save_path debug device gpu_id ip local_rank log_wandb nproc offset port "
    "results_path resume run_id save_dataloaders save_dataset show_progress shutdown_logger single_spec state "
    "threads use_gpu wandb_project worker world_size".split()
)


def settings_hash(settings: Mapping) -> str:
    """16 hexadecimal digits that name the effective settings, the same before writing config.yaml and after reading it.

    Keys that cannot change a result (devices, threads, bars) are left out; 1 and 1.0 are the same, and so are list and
    tuple.
    """
    relevant = {str(key): value for key, value in settings.items() if key not in NOT_OF_THE_RESULT}
    plain = json.loads(json.dumps(relevant, default=str), parse_int=float)
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def find_runs(settings: Mapping, tell: Callable[[str], object] = print) -> tuple[Path | None, Path | None]:
    """(the newest finished run, the newest unfinished one) with these settings in the place that they name.

    A run is known by its config.yaml, and finished when it has metrics.json, which is written last. One whose
    config.yaml cannot be read is nobody's, and `tell` says so.
    """
    wanted, finished, unfinished = settings_hash(settings), None, None
    place = PROJECT_ROOT / settings["results_path"] / settings["dataset"]
    for path in sorted(_config_files(place), key=lambda path: path.parent.name):
        try:
            found = _hash_of(path, _stamp(path))
        except FileNotFoundError:  # taken back by another process just now
            continue
        except InputError as error:
            tell(f"left out: {error}")
            continue
        if found == wanted:
            if (path.parent / "metrics.json").exists():
                finished = path.parent
            else:
                unfinished = path.parent
    return finished, unfinished


def _config_files(place: Path) -> list[Path]:
    while True:
        with suppress(FileNotFoundError):  # a folder was taken back by another process during the walk: walk again
            return list(place.glob("*/*/config.yaml"))


def _stamp(path: Path) -> tuple[int, int]:
    """Another one as soon as the file is written anew, which is to rename another file into its place."""
    found = path.stat()
    return found.st_mtime_ns, found.st_ino


@cache
def _hash_of(path: Path, stamp: tuple[int, int]) -> str:
    """`settings_hash` of a config.yaml, for which a grid asks again and again."""
    return settings_hash(read_settings(path)[0])
