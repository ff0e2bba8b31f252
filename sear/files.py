"""Files: where the project lies, and writing aside so that a file that is there is whole."""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sear

PROJECT_ROOT = Path(sear.__file__).resolve().parent.parent


@contextmanager
def write_aside(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block succeeds and deleted when it fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield aside
        with open(aside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


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


def shown(path: Path | str) -> str:
    """A path as messages name it: counted from the project's root where it lies inside."""
    path = Path(path)
    return str(path.relative_to(PROJECT_ROOT) if path.is_relative_to(PROJECT_ROOT) else path)
