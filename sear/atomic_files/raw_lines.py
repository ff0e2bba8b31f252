"""Lines of a raw dump, gzip'd or not, with their numbers; and what becomes of those that cannot be read."""

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from sear.errors import InputError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
GZIP_MAGIC = b"\x1f\x8b"
LONGEST_FIELD = 1 << 24  # characters of a CSV field; Python's own limit, 131,072, is less than some product texts have


class BadLine(ValueError):
    """One line of a dump cannot be used; the message says why."""


class BadLines:
    """Refuses the first bad line with file and line number, or (`skip`) counts them all by file."""

    def __init__(self, skip: bool = False):
        self.skip = skip
        self.counts: Counter[Path] = Counter()
        self.first: dict[Path, str] = {}

    def report(self, path: Path, line: int, reason: BadLine | str) -> None:
        if not self.skip:
            raise InputError(f"{path}, line {line}: {reason} - mend it, or leave such lines out with --bad_lines=skip")
        self.counts[path] += 1
        self.first.setdefault(path, f"line {line}: {reason}")

    def notices(self) -> list[str]:
        return [
            f"{path}: {count:,} bad lines left out (the first, {self.first[path]})"
            for path, count in self.counts.items()
        ]


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, line) of every line that is not blank, under a progress bar over the file's bytes.

    Whether the file is compressed is told by its first bytes, not by its name.

    Raises:
        InputError: the gzip stream ends early or is damaged.
    """
    number = 0
    with open(path, "rb") as file, _progress_bar(path) as bar:
        compressed = file.peek(2)[:2] == GZIP_MAGIC
        # a wide buffer: the reader's own 8 KiB costs a sixth of the time on Python < 3.12
        stream = io.BufferedReader(gzip.GzipFile(fileobj=file), 1 << 20) if compressed else file
        try:
            for number, line in enumerate(stream, 1):
                if number == 1:
                    line = line.removeprefix(BYTE_ORDER_MARK)
                if not number & 0x3FFF:
                    bar.update(file.tell() - bar.n)
                if not line.isspace():
                    yield number, line
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                f"{path}, after line {number}: gzip stream cut short or damaged ({error}) - fetch it again"
            ) from None


def csv_rows(path: Path, bad_lines: BadLines, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """(number of its last line, fields) of every row, the header's included; a quoted field may span lines."""
    number = 0

    def texts() -> Iterator[str]:
        nonlocal number
        for here, line in raw_lines(path):
            number = here
            yield decode(line)

    csv.field_size_limit(LONGEST_FIELD)
    rows = csv.reader(texts(), delimiter=delimiter)
    while True:
        try:
            fields = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            bad_lines.report(path, number, f"no CSV ({error})")
        else:
            yield number, fields


def _progress_bar(path: Path) -> tqdm:
    size = path.stat().st_size
    return tqdm(total=size, desc=path.name, unit="B", unit_scale=True, disable=None, leave=False)


def decode(line: bytes) -> str:
    """A line as text: UTF-8 where it is valid (most dumps), Latin-1 otherwise (MovieLens-100K and -1M)."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")
