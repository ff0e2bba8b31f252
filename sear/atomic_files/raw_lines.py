"""Lines of a raw dump, compressed or not, with their numbers; and a look at them before they are read."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from sear.atomic_files.bad_lines import BadLine, BadLines
from sear.atomic_files.compressed import decompressed, head_of, told_where_damaged
from sear.atomic_files.encoding import HINT, UTF8, Encoding, decided, named, wide_encoding
from sear.errors import InputError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST_LINE = 1 << 24  # bytes; a longer one is no line of a table, and must not fill the memory
FIRST_LINES = 200
MOST_SEEN = 1 << 26  # bytes looked at before a file is read
MOST_KEPT = 2_000  # lines of a kind that decide


@dataclass
class LineFile:
    """A file of lines and how it is read, decided once.

    line_end: b"\\n", or b"\\r" in files of old Macs; first: the first lines that are not blank; quoted: lines anywhere
    that hold a quotation mark (both decoded, without line ends).
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
        with decompressed(self.path) as (stream, file), _progress_bar(self.path) as bar:
            with told_where_damaged(self.path, lambda: f", after line {number}"):
                for line in self._split(stream):
                    number += 1
                    if number == 1:
                        line = line.removeprefix(BYTE_ORDER_MARK)
                    if len(line) > LONGEST_LINE:
                        raise InputError(
                            f"{self.path}, line {number}: longer than {LONGEST_LINE >> 20} MiB, so this is no file of"
                            " lines - give the events as CSV, parquet or JSON lines"
                        )
                    if not number & 0x3FFF:
                        bar.update(file.tell() - bar.n)
                    if not line.isspace():
                        if bad_lines is not None:
                            bad_lines.seen(self.path, number)
                        yield number, line
        if bad_lines is not None:
            if not line.endswith(b"\n"):
                bad_lines.without_end[self.path] = number
            bad_lines.settle()

    def text_lines(self, bad_lines: BadLines) -> Iterator[tuple[int, str]]:
        """The same decoded; a line that is not in the file's encoding is a bad one."""
        codec = self.codec
        for number, line in self.byte_lines(bad_lines):
            try:
                yield number, line.decode(codec)
            except UnicodeDecodeError as error:
                reason = f"not {codec}, as the file is otherwise (byte 0x{line[error.start]:02x} at {error.start + 1})"
                bad_lines.report(self.path, number, BadLine(reason, f"or {HINT}"))

    def _split(self, stream: BinaryIO) -> Iterator[bytes]:
        if self.encoding.wide:
            text = io.TextIOWrapper(stream, self.encoding.codec, newline="\n")
            return (line.encode() for line in iter(lambda: text.readline(LONGEST_LINE + 1), ""))
        if self.line_end == b"\r":
            return _ended_by_carriage_returns(stream)
        return iter(lambda: stream.readline(LONGEST_LINE + 1), b"")


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
    if asked and asked.wide or wide and not asked:
        found = LineFile(path, asked or wide)
    else:
        old_mac = b"\r" in head.rstrip(b"\r") and b"\n" not in head
        found = LineFile(path, asked or UTF8, b"\r" if old_mac else b"\n")
    json = head.lstrip(BYTE_ORDER_MARK + b" \t\r\n").startswith((b"{", b"["))
    first, quoted, other = _kept(found, FIRST_LINES if json or found.encoding.wide else None)
    if not asked and not json and not found.encoding.wide:
        found.encoding = decided(path, other)
    found.first, found.quoted = ([_decoded(line, found.codec) for line in lines] for lines in (first, quoted))
    return found


def _kept(lines: LineFile, most: int | None) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """The first lines, those with a quotation mark and those that are not ASCII, of the first `most` lines."""
    first: list[bytes] = []
    quoted: list[bytes] = []
    other: list[bytes] = []
    seen = 0
    for count, (_, line) in enumerate(lines.byte_lines()):
        seen += len(line)
        if count == most or seen > MOST_SEEN or len(quoted) == MOST_KEPT == len(other):
            break
        if len(first) < FIRST_LINES:
            first.append(line)
        if len(quoted) < MOST_KEPT and b'"' in line:
            quoted.append(line)
        if len(other) < MOST_KEPT and not line.isascii():
            other.append(line)
    return first, quoted, other


def _decoded(line: bytes, codec: str) -> str:
    return line.decode(codec, "replace").rstrip("\r\n")


def _progress_bar(path: Path) -> tqdm:
    size = path.stat().st_size
    return tqdm(total=size, desc=path.name, unit="B", unit_scale=True, disable=None, leave=False)
