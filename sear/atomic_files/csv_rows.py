"""Rows of delimited text: a quotation mark left open costs its own line and no other."""

import csv
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from sear.atomic_files.bad_lines import BadLine, BadLines

LONGEST_FIELD = 1 << 24  # characters of a field; Python's own limit, 131,072, is less than some product texts have
LONGEST_RECORD = 5_000  # lines of a row; a quotation mark left open would otherwise take in the whole file
QUOTINGS = ("csv", "backslash", "none")
QUOTING_HINT = "say how texts are quoted: --quoting=none, backslash or csv"

Rows = Iterator[tuple[int, list[str]]]  # number of a row's last line, its fields


def split_rows(lines: Iterable[tuple[int, str]], delimiter: str) -> Rows:
    """Rows of a file that knows no quoting; a delimiter of " " stands for any run of blanks."""
    for number, line in lines:
        yield number, line.split() if delimiter == " " else line.rstrip("\r\n").split(delimiter)


def csv_rows(
    path: Path,
    lines: Iterable[tuple[int, str]],
    bad_lines: BadLines,
    delimiter: str = ",",
    width: int | None = None,
    alone: Callable[[list[str]], bool] = lambda _: False,
    backslash: bool = False,
    spaced: bool = False,
) -> Rows:
    """Rows of CSV, the header's included; a quoted field may span lines.

    A quotation mark that is not closed as CSV asks makes the line on which it opens a bad one, and reading goes on with
    the next line. So does one whose row spans lines but has not `width` fields, where that is given, or spans one that
    is a row of its own: that has `width` fields for which `alone` is true.

    backslash: a backslash takes the meaning of the character after it, as MySQL writes; \\N is an empty field.
    spaced: blanks after a delimiter belong to it.
    """
    csv.field_size_limit(LONGEST_FIELD)
    record = _RecordLines(_without_nulls(lines, delimiter) if backslash else lines)
    rows = csv.reader(
        record,
        delimiter=delimiter,
        strict=True,
        skipinitialspace=spaced or delimiter == " ",
        escapechar="\\" if backslash else None,
        doublequote=not backslash,
    )
    while True:
        fault, opening = "", 0
        try:
            fields = next(rows)
        except StopIteration:
            bad_lines.settle()  # an open quotation mark may have been reported after the last line was read
            return
        except csv.Error as error:
            opening, quoted = _faulty_field("".join(text for _, text in record.lines), delimiter)
            fault = f"no CSV ({error}{', in the text whose quotation mark opens here' if quoted else ''})"
        else:
            fault = _swallowed(record.lines, fields, delimiter, width, alone) if len(record.lines) > 1 else ""
        if fault:
            for number in record.lost(opening):
                bad_lines.report(path, number, BadLine(fault, QUOTING_HINT))
        else:
            number = record.lines[-1][0]
            record.clear()
            yield number, fields


def _without_nulls(lines: Iterable[tuple[int, str]], delimiter: str) -> Iterator[tuple[int, str]]:
    r"""The lines with every field that is \N, MySQL's NULL, empty."""
    null = re.compile(rf"(?:(?<={re.escape(delimiter)})|\A)\\N(?={re.escape(delimiter)}|\r?\n|\Z)")
    for number, line in lines:
        yield number, null.sub("", line) if "\\N" in line else line


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
    """The file's lines for csv.reader; `lines` holds (number, text) of those taken for the row at hand."""

    def __init__(self, lines: Iterable[tuple[int, str]]):
        self.lines: list[tuple[int, str]] = []
        self._characters = 0
        self._again: deque[tuple[int, str]] = deque()
        self._source = iter(lines)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.lines:  # a row over several lines
            self._characters += len(self.lines[-1][1])
            if len(self.lines) == LONGEST_RECORD or self._characters > LONGEST_FIELD:
                raise StopIteration
        line = self._again.popleft() if self._again else next(self._source)
        self.lines.append(line)
        return line[1]

    def clear(self) -> None:
        self.lines.clear()
        self._characters = 0

    def lost(self, opening: int) -> list[int]:
        """Numbers of the row's lines up to the one at `opening`, this one first; those after it are read again."""
        numbers = [number for number, _ in self.lines[: opening + 1]]
        self._again.extendleft(reversed(self.lines[opening + 1 :]))
        self.clear()
        return numbers[-1:] + numbers[:-1]


def _faulty_field(text: str, delimiter: str) -> tuple[int, bool]:
    """Of the first field that is no CSV: the line of `text` on which it begins, from 0, and whether it is quoted."""
    comma = re.escape(delimiter)
    field = re.compile(rf'(?:"[^"]*(?:""[^"]*)*"|[^"\r\n{comma}][^\r\n{comma}]*|)(?:{comma}|\r?\n|\Z)')
    place = 0
    while place < len(text) and (found := field.match(text, place)):
        place = found.end()
    return text.count("\n", 0, place), text[place : place + 1] == '"'
