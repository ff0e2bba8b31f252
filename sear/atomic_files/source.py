"""What a reader of one dump format hands to the converter."""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sear.atomic_files.bad_lines import BadLines
from sear.atomic_files.compressed import SUFFIXES
from sear.errors import InputError

Event = tuple[int, object, object, object, object]  # line number, user, item, time, rating (None = missing)
ItemRow = tuple[object, list[str]]  # item, its texts in the order of `item_columns`


@dataclass
class Source:
    """The files of one data set and how to read them.

    events, items: read the files anew at every call; lines that cannot be parsed go to the BadLines given.
    item_columns: column name -> RecBole type, in file order, without item_id.
    rating_range: lowest and highest lawful rating, None where the dump has no ratings.
    notices: what is worth saying about how the files are read.
    by_line: whether the number of the line stands for the time, in a dump that has none.
    parts: of a table in several files, the number of the line before the first of each, and the file; line numbers of
    events go on from one to the next.
    """

    format: str
    event_path: Path
    item_path: Path | None
    item_columns: dict[str, str]
    rating_range: tuple[float, float] | None
    events: Callable[[BadLines], Iterator[Event]]
    items: Callable[[BadLines], Iterator[ItemRow]]
    notices: list[str] = field(default_factory=list)
    by_line: bool = False
    parts: list[tuple[int, Path]] = field(default_factory=list)

    def place(self, line: int) -> tuple[Path, int]:
        """The file of an event and the line there."""
        if not self.parts:
            return self.event_path, line
        before, path = self.parts[bisect_right(self.parts, line - 1, key=lambda part: part[0]) - 1]
        return path, line - before


def existing(folder: Path, name: str) -> Path | None:
    """The file of this name in `folder`, in any case, or the same compressed; the plain one where there are both."""
    ranks = {f"{name}{suffix}": rank for rank, suffix in enumerate(("", *SUFFIXES))}
    found = [path for path in folder.iterdir() if path.name.lower() in ranks and path.is_file()]
    return min(found, key=lambda path: (ranks[path.name.lower()], path.name), default=None)


def unpacked_name(path: Path) -> str:
    """A file's name in lower case, without the suffix of its compression."""
    name = path.name.lower()
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def plain_suffix(path: Path) -> str:
    """The suffix of a file's name in lower case, without that of its compression."""
    return Path(unpacked_name(path)).suffix


def require_text_file(path: Path | None, names: str, folder: Path, no_text: bool) -> Path | None:
    """The file with the items' texts; None only when the user asked for none."""
    if no_text:
        return None
    if path is None:
        raise InputError(f"{folder} has no {names}, the items' texts - add it, or do without any text with --no-text")
    return path
