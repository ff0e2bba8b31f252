"""Lines of a raw dump, compressed or not, with their numbers; and a look at them before they are read."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from sear.atomic_files.bad_lines import BadLine, BadLines
from sear.atomic_files.compressed import decompressed, head_of, told_where_damaged
from sear.atomic_files.encoding import (
    BY_CHANCE,
    HINT,
    UTF8,
    Encoding,
    decided,
    named,
    refuse_seven_bits,
    utf8_characters,
    wide_encoding,
)
from sear.errors import InputError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
DOUBLED = b"\r\r\n"
LONGEST_LINE = 1 << 24  # bytes; a longer one is no line of a table, and must not fill the memory
FIRST_LINES = 200
MOST_SEEN = 1 << 26  # bytes looked at before a file is read
BLOCK = 1 << 20
MOST_KEPT = 2_000  # lines of a kind that decide


@dataclass
class LineFile:
    """A file of lines and how it is read, decided once.

    line_end: b"\\n"; b"\\r" in files of old Macs; DOUBLED where line ends of Windows were written as text once more.
    first: the first lines that are not blank; quoted: lines that hold a quotation mark; decoded, without line ends.
    """

    path: Path
    encoding: Encoding = UTF8
    line_end: bytes = b"\n"
    first: list[str] = field(default_factory=list)
    quoted: list[str] = field(default_factory=list)

    @property
    def codec(self) -> str:
        """What the lines of `byte_lines` are in."""
        return "utf-8" if self.encoding.wide else self.encoding.codec

    def byte_lines(self, bad_lines: BadLines | None = None) -> Iterator[tuple[int, bytes]]:
        """(line number from 1, line) of every line that is not blank; UTF-16 comes as UTF-8.

        bad_lines: is told how far reading has come, and settles when the file ends.

        Raises:
            InputError: a line is too long, or the file is damaged.
        """
        number, line = 0, b"\n"
        stop = bad_lines or BadLines()
        with decompressed(self.path) as (stream, file), _progress_bar(self.path) as bar:
            with told_where_damaged(self.path, lambda: f", after line {number}"):
                for number, line in enumerate(self._split(stream), 1):
                    if number == 1:
                        line = line.removeprefix(BYTE_ORDER_MARK)
                    if len(line) > LONGEST_LINE:
                        raise InputError(
                            f"{self.path}, line {number}: longer than {LONGEST_LINE >> 20} MiB, so this is no file of"
                            " lines - give the events as CSV, parquet or JSON lines"
                        )
                    if not number & 0x3FFF:
                        bar.update(file.tell() - bar.n)
                    if number > stop.stop:
                        stop.seen(self.path, number)
                    if not line.isspace():
                        yield number, line
        if bad_lines is not None:
            bad_lines.seen(self.path, number)
            if not line.endswith(b"\n"):
                bad_lines.without_end[self.path] = number
            bad_lines.settle()

    def text_lines(self, bad_lines: BadLines) -> Iterator[tuple[int, str]]:
        """The same decoded; a line that is not in the file's encoding is a bad one.

        bad_lines: is also told of lines that may be in UTF-8 just by chance, which are read like the others.
        """
        codec, doubled = self.codec, self.line_end == DOUBLED
        for number, line in self.byte_lines(bad_lines):
            in_utf8 = utf8_characters(line, codec) if self.encoding.guessed else 0
            if in_utf8 > BY_CHANCE.get(codec, 0):
                reason = f"in UTF-8, where the file is otherwise in {codec}"
                remedy = f"write it in one encoding, or have all read alike with --encoding={codec}"
                bad_lines.report(self.path, number, BadLine(reason, remedy))
                continue
            try:
                text = line.decode(codec)
            except UnicodeDecodeError as error:
                reason = f"not {codec}, as the file is otherwise (byte 0x{line[error.start]:02x} at {error.start + 1})"
                bad_lines.report(self.path, number, BadLine(reason, HINT))
                continue
            if in_utf8:
                bad_lines.note_either(self.path, number, codec)
            yield number, text.rstrip("\r\n") + "\n" if doubled else text

    def _split(self, stream: BinaryIO) -> Iterator[bytes]:
        if self.encoding.wide:
            text = io.TextIOWrapper(stream, self.encoding.codec, newline="\n")
            return (line.encode() for line in iter(lambda: text.readline(LONGEST_LINE + 1), ""))
        if self.line_end == b"\r":
            return _ended_by_carriage_returns(stream)
        return iter(partial(stream.readline, LONGEST_LINE + 1), b"")


def _ended_by_carriage_returns(stream: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while block := stream.read(1 << 16):
        *lines, rest = (rest + block).split(b"\r")
        for line in lines:
            yield line + b"\n"
        if len(rest) > LONGEST_LINE:
            break
    if rest:
        yield rest


def line_file(path: Path, encoding: str = "") -> LineFile:
    """How this file is read: its encoding, as asked for or as many of its lines show, and its line ends.

    JSON lines are UTF-8, as JSON is, where nothing else is asked for.

    Raises:
        InputError: the file is of another kind or damaged, or its encoding is not clear.
    """
    head = head_of(path)
    asked, wide = (named(encoding) if encoding else None), wide_encoding(head)
    found = LineFile(path, asked or wide or UTF8)
    if not asked:
        refuse_seven_bits(path, head)
    if not found.encoding.wide and b"\r" in head.rstrip(b"\r") and b"\n" not in head:
        found.line_end = b"\r"
    json = head.lstrip(BYTE_ORDER_MARK + b" \t\r\n").startswith((b"{", b"["))
    first = [line for _, line in islice(found.byte_lines(), FIRST_LINES)]
    quoted = [line for line in first if b'"' in line]
    if first and all(line.endswith(DOUBLED) for line in first):
        found.line_end = DOUBLED
    if not json and not found.encoding.wide:
        later_quoted, other = _telling_lines(found)
        quoted += later_quoted
        found.encoding = asked or decided(path, other)
    found.first, found.quoted = ([_decoded(line, found.codec) for line in lines] for lines in (first, quoted))
    return found


def _telling_lines(lines: LineFile) -> tuple[list[bytes], list[bytes]]:
    """Lines with a quotation mark, and lines that are not ASCII: up to MOST_KEPT of each."""
    quoted: list[bytes] = []
    other: list[bytes] = []
    for block in _blocks(lines):
        with_quotes = len(quoted) < MOST_KEPT and b'"' in block
        with_others = len(other) < MOST_KEPT and not block.isascii()
        if with_quotes or with_others:
            found = block.split(lines.line_end[-1:])
            quoted += [line for line in found if with_quotes and b'"' in line][: MOST_KEPT - len(quoted)]
            other += [line for line in found if with_others and not line.isascii()][: MOST_KEPT - len(other)]
        elif len(quoted) == MOST_KEPT == len(other):
            break
    return quoted, other


def _blocks(lines: LineFile) -> Iterator[bytes]:
    """Whole lines, about a megabyte at a time, of as much of the file as is looked at."""
    rest, end = b"", lines.line_end[-1:]
    with decompressed(lines.path) as (stream, _), told_where_damaged(lines.path, lambda: ", near its beginning"):
        for _ in range(MOST_SEEN // BLOCK):
            block = stream.read(BLOCK)
            if not block:
                break
            whole, ended, rest_of_block = block.rpartition(end)
            if ended:
                yield (rest + whole).removeprefix(BYTE_ORDER_MARK)
                rest = rest_of_block
            elif len(rest) < LONGEST_LINE:
                rest += block
        else:
            return
    yield rest.removeprefix(BYTE_ORDER_MARK)


def _decoded(line: bytes, codec: str) -> str:
    return line.decode(codec, "replace").rstrip("\r\n")


def _progress_bar(path: Path) -> tqdm:
    size = path.stat().st_size
    return tqdm(total=size, desc=path.name, unit="B", unit_scale=True, disable=None, leave=False)
