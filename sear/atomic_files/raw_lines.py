"""Lines of a raw dump, gzip'd or not, with their numbers; and what becomes of those that cannot be read."""

import csv
import gzip
import io
import re
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from sear.errors import InputError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
GZIP_MAGIC = b"\x1f\x8b"
LONGEST_FIELD = 1 << 24  # characters of a CSV field; Python's own limit, 131,072, is less than some product texts have
LONGEST_RECORD = 5_000  # lines of a CSV row; a quotation mark left open would otherwise take in the whole file


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
            f"{path}: {counted(count, 'bad line')} left out (the first, {self.first[path]})"
            for path, count in self.counts.items()
        ]


def counted(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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


def csv_rows(
    path: Path,
    bad_lines: BadLines,
    delimiter: str = ",",
    width: int | None = None,
    alone: Callable[[list[str]], bool] = lambda _: False,
) -> Iterator[tuple[int, list[str]]]:
    """(number of its last line, fields) of every row, the header's included; a quoted field may span lines.

    A quotation mark that is not closed as CSV asks makes the line on which it opens a bad one, and reading goes on with
    the next line. So does one whose row spans lines but has not `width` fields, where that is given, or spans one that
    is a row of its own: that has `width` fields for which `alone` is true.
    """
    csv.field_size_limit(LONGEST_FIELD)
    lines = _RecordLines(path)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        fault, opening = "", 0
        try:
            fields = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            opening, quoted = _faulty_field("".join(text for _, text in lines.record), delimiter)
            fault = f"no CSV ({error}{', in the text whose quotation mark opens here' if quoted else ''})"
        else:
            fault = _swallowed(lines.record, fields, delimiter, width, alone) if len(lines.record) > 1 else ""
        if fault:
            for number in lines.lost(opening):
                bad_lines.report(path, number, fault)
        else:
            number = lines.record[-1][0]
            lines.record.clear()
            yield number, fields


def _swallowed(
    record: list[tuple[int, str]],
    fields: list[str],
    delimiter: str,
    width: int | None,
    alone: Callable[[list[str]], bool],
) -> str:
    """Why a row over several lines is taken for several rows; "" when it is not."""
    if width not in (None, len(fields)):
        return f"{len(fields)} fields, with the text whose quotation mark opens here, where {width} are expected"
    for number, text in record[1:]:
        parts = text.rstrip("\r\n").split(delimiter)
        if len(parts) == width and alone(parts):
            return f"the text whose quotation mark opens here takes in line {number}, a row of its own"
    return ""


class _RecordLines:
    """The file's lines for csv.reader; `record` holds (number, text) of those taken for the row at hand."""

    def __init__(self, path: Path):
        self.record: list[tuple[int, str]] = []
        self._again: deque[tuple[int, str]] = deque()
        self._lines = ((number, decode(line)) for number, line in raw_lines(path))

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.record) == LONGEST_RECORD:
            raise StopIteration
        self.record.append(self._again.popleft() if self._again else next(self._lines))
        return self.record[-1][1]

    def lost(self, opening: int) -> list[int]:
        """Numbers of the row's lines up to the one at `opening`, this one first; those after it are read again."""
        numbers = [number for number, _ in self.record[: opening + 1]]
        self._again.extendleft(reversed(self.record[opening + 1 :]))
        self.record.clear()
        return numbers[-1:] + numbers[:-1]


def _faulty_field(text: str, delimiter: str) -> tuple[int, bool]:
    """Of the first field that is no CSV: the line of `text` on which it begins, from 0, and whether it is quoted."""
    end = rf"(?:{delimiter}|\r?\n|\Z)"
    field = re.compile(rf'(?:"[^"]*(?:""[^"]*)*"|[^"\r\n{delimiter}][^\r\n{delimiter}]*|){end}')
    place = 0
    while place < len(text) and (found := field.match(text, place)):
        place = found.end()
    return text.count("\n", 0, place), text[place : place + 1] == '"'


def _progress_bar(path: Path) -> tqdm:
    size = path.stat().st_size
    return tqdm(total=size, desc=path.name, unit="B", unit_scale=True, disable=None, leave=False)


def decode(line: bytes) -> str:
    """A line as text: UTF-8 where it is valid (most dumps), Latin-1 otherwise (MovieLens-100K and -1M)."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")
