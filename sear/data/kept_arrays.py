"""Large arrays of a data set in files that processes map into their memory, so that a machine holds them once.

A folder NAME-<hash>.arrays, beside the atomic files, is named by what its arrays follow from. It holds a .npy file for
each of them, and in arrays.json their checksums, which are compared whenever the folder is read.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from sear.files import HOST, file_sha256, is_running, shown

logger = logging.getLogger("sear")
FORMAT = "SEAR arrays 1"  # another where the same files and settings make other arrays
TABLE = "arrays.json"
MOST_FOLDERS = 24  # of one data set; some four belong to each way to cut it into rows
Arrays = dict[str, np.ndarray]


def kept_arrays(
    folder: Path, name: str, source: str, what: Mapping[str, Any], make: Callable[[], Mapping[str, np.ndarray]]
) -> Arrays:
    """The arrays that `make` gives, mapped from files; made, and written, where these are not there or damaged.

    A process that writes into the arrays changes its own copy of the pages in question, and never the files.

    Args:
        folder, name: where NAME-<hash>.arrays lies.
        source: what the arrays are made from, as a hash; folders made from another source are removed, and of those
            from this one the longest unused beyond MOST_FOLDERS.
        what: all else that they follow from, as JSON knows it.
    """
    written = json.dumps({"format": FORMAT, "source": source, "what": what}, sort_keys=True)
    content, digest = json.loads(written), hashlib.sha256(written.encode()).hexdigest()
    place = folder / f"{name}-{digest[:16]}.arrays"
    found = _read(place, content)
    if found is not None:
        return found
    made = dict(make())
    try:
        _write(place, content, made)
        _clear(folder, name, source)
    except OSError as error:
        logger.warning(f"{shown(place)} cannot be written ({error.strerror}): each process holds its own copy of it")
        return made
    found = _read(place, content)
    return made if found is None else found


def _read(place: Path, content: Mapping[str, Any]) -> Arrays | None:
    """The arrays; None where they are not there or not whole."""
    if not place.is_dir():
        return None
    try:
        told = json.loads((place / TABLE).read_text(encoding="utf-8"))
        whole = told["content"] == content and all(
            file_sha256(place / f"{name}.npy") == digest for name, digest in told["sha256"].items()
        )
        if whole:
            with suppress(OSError):  # a place that cannot be written to
                os.utime(place / TABLE)
            return {name: np.load(place / f"{name}.npy", mmap_mode="c") for name in told["sha256"]}
    except FileNotFoundError:  # another process puts it in order
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        whole = False
    logger.warning(f"{shown(place)} is damaged: it is made anew")
    return None


def _write(place: Path, content: Mapping[str, Any], arrays: Arrays) -> None:
    aside = place.with_name(f".{place.name}.{HOST}-{os.getpid()}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        aside.mkdir()
        for name, array in arrays.items():
            with open(aside / f"{name}.npy", "wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())
        sums = {name: file_sha256(aside / f"{name}.npy") for name in arrays}
        (aside / TABLE).write_text(json.dumps({"content": content, "sha256": sums}, indent=1), encoding="utf-8")
        if _read(place, content) is None:  # else another process was faster
            shutil.rmtree(place, ignore_errors=True)
            os.rename(aside, place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _clear(folder: Path, name: str, source: str) -> None:
    """Remove what was made from other sources, what was not used for longest, and what killed processes have left."""
    used: list[tuple[float, Path]] = []
    kept = re.compile(rf"{re.escape(name)}-[0-9a-f]{{16}}\.arrays")
    left = re.compile(rf"\.{kept.pattern}\.{re.escape(HOST)}-(\d+)\.tmp")
    for entry in list(folder.iterdir()):
        of_process = left.fullmatch(entry.name)
        if kept.fullmatch(entry.name):
            with suppress(OSError, ValueError, KeyError, TypeError):
                told = json.loads((entry / TABLE).read_text(encoding="utf-8"))
                if told["content"]["source"] == source:
                    used.append(((entry / TABLE).stat().st_mtime, entry))
                else:
                    shutil.rmtree(entry, ignore_errors=True)
                    logger.info(f"removed {shown(entry)}: it was made from other files")
        elif of_process and not is_running(int(of_process[1])):
            shutil.rmtree(entry, ignore_errors=True)
    for _, entry in sorted(used)[:-MOST_FOLDERS]:
        shutil.rmtree(entry, ignore_errors=True)
        logger.info(f"removed {shown(entry)}: {MOST_FOLDERS} others were used since")
