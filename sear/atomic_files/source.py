"""What a reader of one dump format hands to the converter."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sear.atomic_files.raw_lines import BadLines
from sear.errors import InputError

Event = tuple[int, object, object, object, object]  # line number, user, item, time, rating (None = missing)
ItemRow = tuple[object, list[str]]  # item, its texts in the order of `item_columns`


@dataclass
class Source:
    """The files of one data set and how to read them.

    events, items: read the files anew at every call; lines that cannot be parsed go to the BadLines given.
    item_columns: column name -> RecBole type, in file order, without item_id.
    rating_range: lowest and highest lawful rating, None where the dump has no ratings.
    """

    format: str
    event_path: Path
    item_path: Path | None
    item_columns: dict[str, str]
    rating_range: tuple[float, float] | None
    events: Callable[[BadLines], Iterator[Event]]
    items: Callable[[BadLines], Iterator[ItemRow]]


def existing(folder: Path, name: str) -> Path | None:
    """The file of this name in `folder`, or the same with .gz; the plain one where there are both."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def require_text_file(path: Path | None, names: str, folder: Path, no_text: bool) -> Path | None:
    """The file with the items' texts; None only when the user asked for none."""
    if no_text:
        return None
    if path is None:
        raise InputError(f"{folder} has no {names}, the items' texts - add it, or do without any text with --no-text")
    return path
