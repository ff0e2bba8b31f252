"""How a delimited file is written: what separates its fields, how texts are quoted, whether there is a header."""

import csv
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sear.atomic_files.csv_rows import split_rows
from sear.atomic_files.values import iso_seconds

DELIMITERS = ("\t", ",", ";", "||", "|", "::", " ", "^", "~", "\x01")  # the last is Hive's
LONGEST = 4_096  # characters of a line that are looked at
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # what Excel takes as a first line
UNQUOTED = ("\t", "||", "|", "::", " ", "\x01")  # what dumps separate with that know no quoting
# a quoted text that goes on behind its second quotation mark: no CSV
WENT_ON = r'(?:\A|{0})"[^"{0}]*(?:""[^"{0}]*)*"[^"{0}\r\n]'
UNCLOSED = r'(?:\A|{0})"[^"]*\Z'
# each sign has one way to be read, so that a line takes a time in proportion to its length
BACKSLASH = r'(?:\A|{0})"[^"\\]*(?:\\[^"][^"\\]*)*\\"[^"\\]*(?:\\.[^"\\]*)*"(?:{0}|\Z)'
QUOTED = r'(?:\A|{0})"(?:[^"]*""|[^"{0}]*{0})[^"]*"(?:{0}|\Z)'


@dataclass(frozen=True)
class Dialect:
    """delimiter: " " for any run of blanks; quoting: csv, backslash or none; skipped: lines before the table.

    spaced: a blank follows every delimiter, and belongs to it.
    """

    delimiter: str
    quoting: str = "csv"
    skipped: int = 0
    spaced: bool = False

    def fields(self, line: str) -> list[str]:
        """The fields of one line, as far as they can be told from it alone."""
        if self.quoting == "none":
            return next(split_rows([(1, line)], self.delimiter))[1]
        backslash = self.quoting == "backslash"
        try:
            rows = csv.reader(
                [line],
                delimiter=self.delimiter,
                skipinitialspace=self.spaced or self.delimiter == " ",
                escapechar="\\" if backslash else None,
                doublequote=not backslash,
            )
            return next(rows, [])
        except csv.Error:
            return []


def dialect_of(
    first: Sequence[str], quoted: Sequence[str], names: Collection[str] = (), width: int = 0, quoting: str = ""
) -> Dialect:
    """The dialect of a file with these first lines and these lines with quotation marks.

    names: columns that the header should have; width: how many there should be (0: unknown); quoting: as asked for.
    """
    skipped, delimiter = 0, ""
    if first and (separator := SEPARATOR_LINE.fullmatch(first[0])):
        skipped, delimiter, first = 1, separator[1], first[1:]
    delimiter = delimiter or _delimiter(first, names, width)
    if len(delimiter) > 1:
        quoting = "none"
    if not quoting:
        quoting = _quoting(delimiter, quoted, len(Dialect(delimiter).fields(first[0])) if first else 0)
    return Dialect(delimiter, quoting, skipped, quoting != "none" and _spaced(first, Dialect(delimiter, quoting)))


def _spaced(lines: Sequence[str], dialect: Dialect) -> bool:
    """Whether a blank follows every delimiter in all lines."""
    rows = [dialect.fields(line) for line in lines] if dialect.delimiter in ",;|" else []
    return bool(rows) and all(len(row) > 1 and all(field[:1] == " " for field in row[1:]) for row in rows)


def _delimiter(lines: Sequence[str], names: Collection[str], expected: int) -> str:
    """What separates the columns `names` in the header; or else what gives most lines the same number of fields."""
    best, best_score = ",", (0, 0.0, 0)
    for delimiter in DELIMITERS:
        if delimiter == "|" and best == "||" and all(2 * line.count("||") == line.count("|") for line in lines):
            continue
        dialect = Dialect(delimiter, "none" if len(delimiter) > 1 else "csv")
        widths = Counter(len(dialect.fields(line)) for line in lines)
        width = max(widths, key=lambda width: (widths[width], width), default=0)
        if width < 2:
            continue
        named = len(set(names) & {field.strip() for field in dialect.fields(lines[0])}) + (width == expected)
        share = widths[width] / len(lines)
        score = (named, round(share, 1) if delimiter != " " else round(share, 1) - 0.2, width)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _quoting(delimiter: str, quoted: Sequence[str], width: int) -> str:
    """csv, unless lines show that quotation marks are escaped by backslashes or are characters like others."""
    if not quoted:
        return "csv"
    comma = re.escape(delimiter)
    went_on, backslash, csv_like, unclosed = (
        sum(re.search(pattern.format(comma), line[:LONGEST]) is not None for line in quoted)
        for pattern in (WENT_ON, BACKSLASH, QUOTED, UNCLOSED)
    )
    whole = all(line.count(delimiter) == width - 1 for line in quoted)  # so no text goes on in the next line
    if backslash and backslash >= csv_like:
        return "backslash"
    if delimiter in UNQUOTED and (went_on or unclosed and whole) and not csv_like:
        return "none"
    return "csv"


def named(delimiter: str) -> str:
    """What separates fields, for a message."""
    return {"\t": "tabs", " ": "blanks"}.get(delimiter, repr(delimiter))


def looks_like_data(fields: Sequence[str]) -> bool:
    """Whether a first line is no header: one of its fields is a number or a date."""
    return any(_is_number(field) or iso_seconds(field.strip()) is not None for field in fields)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip().lower() != "nan"
