"""Files: where the project's lie, and writing aside so that a file that is there is whole.

Used from a checkout (also one installed with `pip install -e`), data and results lie in the checkout, wherever one
stands; used as an installed package, in the working directory, and the package brings config/ and the text embeddings
of ml-100k along. A results_path that is given, and a file or run folder that is named, count from the working
directory.
"""

import csv
import ctypes
import hashlib
import io
import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import sear
from sear.errors import InputError, WriteError
from sear.program import refusal

_PACKAGE = Path(sear.__file__).resolve().parent


def find_checkout(package: Path) -> Path | None:
    """The checkout that the package lies in; None for an installed one."""
    root = package.parent
    return root if (root / "custom_trainer.py").is_file() and (root / "config").is_dir() else None


CHECKOUT = find_checkout(_PACKAGE)
PROJECT_ROOT = CHECKOUT or Path.cwd()  # data, results and relative paths count from here
BUNDLED = CHECKOUT or _PACKAGE / "bundled"  # where config/ and ready text embeddings lie
HOST = re.sub(r"\W", "_", socket.gethostname()) or "host"  # whose process a temporary file or folder belongs to
DAY = 86_400  # seconds
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # linux/fs.h
LONGEST_POINTER = 4096  # bytes of a file that names a folder
MOST_NESTED = 50  # lists and mappings of a JSON file in each other
COMMAND = ("python", "custom_trainer.py") if CHECKOUT else ("sear", "train")
REPORT_COMMAND = ("python", "-m", "sear.report") if CHECKOUT else ("sear", "report")


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Raises WriteError where the machine does not let the block write `path`, or what is beside it.

    A FileNotFoundError is left to whoever knows why the folder is gone.
    """
    path = Path(path)
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error  # torch turns an OSError into a RuntimeError that knows no reason
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        ours = cause is not None and (not cause.filename or Path(os.fsdecode(cause.filename)).parent in path.parents)
        if isinstance(error, (InputError, FileNotFoundError)) or cause is None or not ours:
            raise
        raise WriteError(refusal(cause, f"{shown(path)} cannot be written")) from error


@contextmanager
def write_aside(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block succeeds and deleted when it fails.

    A symbolic link goes on naming the file that it names, and that one is written. What killed processes have left of
    the same file is removed first.

    Raises:
        WriteError: the machine does not let it be written.
        InputError: a device, a pipe or a folder has this name.
    """
    path = Path(path)
    require_place_for_file(path)
    with writing(path):
        if path.is_symlink():
            path = Path(os.path.realpath(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_asides(path.parent, path.name)
        aside = path.with_name(f".{path.name}.{HOST}-{os.getpid()}.tmp")
        try:
            yield aside
            with open(aside, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(aside, path)
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)


def require_place_for_file(path: Path) -> None:
    """No file can take the place of a device, a pipe or a folder.

    Raises:
        InputError: one of them has this name.
        WriteError: what has this name cannot be seen, for lack of rights.
    """
    place = Path(os.path.abspath(path)).parts[1:3]
    device = os.name == "posix" and place[:1] in (("dev",), ("proc",)) and place != ("dev", "shm")
    with writing(path):
        if device or (path.exists() and not path.is_file()):
            what = "a folder" if path.is_dir() else "a device or a pipe"
            raise InputError(f"{shown(path)} is {what}, no file - name a file")


def clear_asides(folder: Path, name: str = "") -> None:
    """Remove what processes that were killed have left of files and folders written aside: of `name`, or of all.

    Whether a process of another machine (or container) still runs is not known: what it left goes after a day.
    """
    pattern = re.compile(rf"\.{re.escape(name) or '.+'}\.(?P<host>\w+)-(?P<process>\d+)\.(?:tmp|old)")
    with suppress(OSError):
        for entry in list(folder.iterdir()):
            found = pattern.fullmatch(entry.name)
            if not found:
                continue
            process = int(found["process"])
            running = process == os.getpid() or is_running(process)
            if not running if found["host"] == HOST else entry.stat().st_mtime < time.time() - DAY:
                remove(entry)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def exchanged(one: Path, other: Path) -> bool:
    """Whether the two folders have changed places, in one step."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0


def is_running(process: int) -> bool:
    """Whether another process of this machine has this number."""
    if process == os.getpid():
        return False  # an earlier process had the same number
    if os.name != "posix":
        return True  # there, asking would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def known_sha256(path: Path) -> str:
    """The same of a file that is asked for again and again."""
    return known_digest(file_sha256, path)


def known_digest(digest: Callable[[Path], str], path: Path) -> str:
    """`digest(path)`, worked out anew only where the file's stamp is another."""
    stamp = path.stat()
    return _digest(digest, path, stamp.st_mtime_ns, stamp.st_ctime_ns, stamp.st_size, stamp.st_ino)


@cache
def _digest(digest: Callable[[Path], str], path: Path, *stamp: int) -> str:
    return digest(path)


def require_unchanged(path: Path, digest: str | None) -> None:
    """Raises InputError where a file that has been read since is not the one of this SHA-256 any more."""
    if digest is not None and (not path.is_file() or known_sha256(path) != digest):
        raise InputError(f"{shown(path)} was changed while it was read - start again when nothing writes it any more")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A CSV file's text; a column that a row lacks is empty there."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_text(path: Path, text: str) -> None:
    """Written aside and renamed."""
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def require_file(path: Path) -> Path:
    """The path. Raises InputError where a pipe, a device or a folder lies there: reading it might never end."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no file but a folder, a pipe or a device - move it elsewhere")
    return path


def find_below(folder: Path, names: Iterable[str], tell: Callable[[str], object]) -> list[Path]:
    """Every file of these names in a folder or below it, through symbolic links too, in order; each folder once.

    Args:
        tell: is told of the folders that are left out, because they cannot be read or a link to them leads nowhere.
            Links inside a run's folder are that run's own, such as those that W&B leaves.
    """
    found: list[Path] = []
    wanted, seen = set(names), set[str]()
    runs: set[str] = set()  # folders of runs, finished or not, and those below them

    def not_read(error: OSError) -> None:
        tell(f"left out: {refusal(error, f'{error.filename} cannot be read')}")

    for place, folders, files in os.walk(folder, onerror=not_read, followlinks=True):
        if (here := os.path.realpath(place)) in seen:  # by a link, which may lead in a circle
            folders.clear()
            continue
        seen.add(here)
        folders.sort()
        if os.path.dirname(place) in runs or {*wanted, "config.yaml"} & set(files):
            runs.add(place)
        for path in (Path(place, file) for file in files):
            if path.name in wanted:
                found.append(path)
            elif place not in runs and path.is_symlink() and not path.exists():
                tell(f"left out: {path} is a link to {os.readlink(path)}, which is not there - mend or remove it")
    return sorted(found)


def read_json(path: Path, remedy: str) -> Any:
    """What a JSON file holds. Raises InputError with the remedy where it cannot be read or is nested without end."""
    require_file(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:  # not JSON, not UTF-8, nested without end, not to be read
        raise InputError(f"{path} cannot be read ({error}) - {remedy}") from None
    level = [found]
    for _ in range(MOST_NESTED):
        level = [part for value in level if isinstance(value, (dict, list)) for part in _parts(value)]
    if level:
        raise InputError(f"{path} cannot be read (nested deeper than {MOST_NESTED} times) - {remedy}")
    return found


def _parts(value: dict | list) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def pointed_at(path: Path) -> Path:
    """What a file of one line names, counted from that file; `path` itself where no file is.

    Raises:
        InputError: the file holds anything else.
    """
    if not path.is_file():
        return path
    with open(path, "rb") as file:
        lines = file.read(LONGEST_POINTER).decode("utf-8", errors="replace").split("\n")
    if not lines[0].strip() or "\0" in lines[0] or any(map(str.strip, lines[1:])):
        raise InputError(f"{path} is not one line that names a model's folder - name the folder itself")
    return path.parent / lines[0].strip()


def from_here(path: Path | str) -> str:
    """A path that counts from the working directory, as one that counts from PROJECT_ROOT or is absolute."""
    return shown(os.path.abspath(Path(path).expanduser()))


def shown(path: Path | str) -> str:
    """A path as messages name it: counted from the project's root where it lies inside."""
    path = Path(path)
    return str(path.relative_to(PROJECT_ROOT) if path.is_relative_to(PROJECT_ROOT) else path)
