"""CSV quoting in `.item` files, undone and done.

RecBole's published item files come from a CSV writer: a text that holds a quotation mark, a tab or a line break stands
between quotation marks, and those inside it are doubled. Nothing else is touched: a title that merely begins with a
quotation mark stays as it is. Ids are never unquoted, so that they equal those of the events.
"""

import mmap
import re
from pathlib import Path

QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"')
BREAKS = re.compile(r"[\t\r\n]+")
# the same in bytes, for lines: a whole field, one whose end is yet to come, and the quoted fields of a record
FIELD = rb'(?:"[^"]*(?:""[^"]*)*"|[^"\t\n][^\t\n]*|)'
OPEN_RECORD = re.compile(rb"(?:%b\t)*" % FIELD + rb'"[^"]*(?:""[^"]*)*')
QUOTED_FIELD = re.compile(rb'(?:(?<=\t)|\A)"[^"]*(?:""[^"]*)*"(?=\t|\Z)')
MOST_LINES = 500  # of one record


def quoted(text: str) -> str:
    """The text as it must be written, so that `unquoted` gives it back (and RecBole's own reader too)."""
    return '"' + text.replace('"', '""') + '"' if text.startswith('"') else text


def unquoted(text: str) -> str:
    """The text without CSV quoting, its tabs and line breaks spaces; anything not so quoted stays as it is."""
    found = QUOTED.fullmatch(text) if text[:1] == '"' else None
    return BREAKS.sub(" ", found[1].replace('""', '"')) if found else text


def opens_quotes(path: Path) -> bool:
    """Whether any field below the header begins with a quotation mark."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(b'\t"') >= 0 or data.find(b'\n"') >= 0


def joined_records(path: Path, width: int) -> tuple[bytes, list[int]] | None:
    """The file with every record on one line, and the line on which each began (the header's left out).

    A line with too few or too many tabs is taken together with the next ones where this gives exactly `width` fields,
    quoted as CSV asks; so is a line with the right number that ends inside such quoting, where the next ones have not.
    None when a line stays that has not the right number, or there is a NUL byte: then the file is faulty.
    """
    data = path.read_bytes().removesuffix(b"\n")
    if b"\0" in data:
        return None
    lines = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    record = re.compile(rb"%b(?:\t%b){%d}" % (FIELD, FIELD, width - 1))
    records, first_lines, row = [lines[0]], [], 1
    while row < len(lines):
        whole = lines[row].count(b"\t") == width - 1
        end = row + 1 if whole and not OPEN_RECORD.fullmatch(lines[row]) else _record_end(lines, row, record, width)
        if end is None and not whole:
            return None
        end = end or row + 1
        text = b"\n".join(lines[row:end])
        if end > row + 1 or not whole:
            text = QUOTED_FIELD.sub(lambda field: re.sub(rb"[\t\r\n]+", b" ", field[0]), text)
        records.append(text)
        first_lines.append(row + 1)
        row = end
    return b"\n".join(records) + b"\n", first_lines


def _record_end(lines: list[bytes], row: int, record: re.Pattern, width: int) -> int | None:
    """One past the last line of the record that begins on line `row`, None where there is no such record."""
    starts_whole = lines[row].count(b"\t") == width - 1
    text = lines[row]
    for end in range(row + 1, min(len(lines), row + MOST_LINES) + 1):
        if record.fullmatch(text):
            return end
        if end == len(lines) or not OPEN_RECORD.fullmatch(text):
            return None
        if starts_whole and lines[end].count(b"\t") == width - 1:
            return None  # a record by itself: the quotation mark before it was a title's own
        text += b"\n" + lines[end]
    return None
