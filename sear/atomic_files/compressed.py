"""The bytes of a dump's file, decompressed; and the name of what is no text at all."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from sear.errors import InputError

SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zip")
BUFFER = 1 << 20  # the readers' own 8 KiB cost a sixth of the time on Python < 3.12
HEAD = 1 << 12
COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
}
AS_TEXT = "export it as CSV (UTF-8)"
UNPACK = "unpack it and give what is inside"
FOREIGN = (  # where the bytes stand, what they are, and what to do with the file
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Office file", AS_TEXT),
    (0, b"SQLite format 3\x00", "an SQLite database", AS_TEXT),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", AS_TEXT),
    (0, b"\x93NUMPY", "a NumPy array", AS_TEXT),
    (0, b"ARROW1", "an Arrow (Feather) file", "write it as parquet or CSV"),
    (0, b"ORC", "an ORC file", "write it as parquet or CSV"),
    (0, b"Obj\x01", "an Avro file", "write it as parquet or CSV"),
    (0, b"RDX", "an R data file", AS_TEXT),
    (0, b"$FL", "an SPSS file", AS_TEXT),
    (0, b"<stata_dta>", "a Stata file", AS_TEXT),
    (0, b"%PDF", "a PDF document", AS_TEXT),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (0, b"Rar!", "a RAR archive", UNPACK),
    (0, b"\x04\x22\x4d\x18", "an lz4 file", UNPACK),
    (0, b"\x1f\x9d", "a file of Unix compress", UNPACK),
    (0, b"\x5d\0\0", "an lzma file", UNPACK),
    (257, b"ustar", "a tar archive", UNPACK),
    *(
        (0, bytes((0x80, protocol, start)), "a Python pickle", AS_TEXT)
        for protocol in range(2, 6)
        for start in b"\x95]}(c"
    ),
)
MARKUP = (b"<!doctype", b"<html", b"<?xml")
STATEMENTS = (b"insert into", b"create table", b"drop table", b"-- mysql dump", b"-- postgresql", b"-- mariadb dump")
OFFICE = {
    "xl/workbook.xml": "an Excel workbook",
    "content.xml": "an OpenDocument file",
    "word/document.xml": "a Word file",
}


def compression(start: bytes) -> str:
    """gzip, bzip2, xz, zstd, zip; "" for a file whose first bytes are none of theirs."""
    return next((name for magic, name in COMPRESSED.items() if start.startswith(magic)), "")


@contextmanager
def decompressed(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The file's bytes, decompressed, and the file itself, whose place says how far reading has come.

    How a file is compressed is told by its first bytes, not by its name.

    Raises:
        InputError: the archive holds more than one file, or the compressed stream is damaged, at any time.
    """
    with open(path, "rb") as file, told_where_damaged(path):
        kind = compression(file.read(8))
        file.seek(0)
        with _opened(path, file, kind) as stream:
            yield stream, file


@contextmanager
def told_where_damaged(path: Path, where: Callable[[], str] = str) -> Iterator[None]:
    """The errors of damaged streams as one line with the file; `where()` follows its name: ", after line 7"."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, UnicodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, gzip.BadGzipFile):
            raise  # no space, no rights
        kind = "UTF-16 or UTF-32 text" if isinstance(error, UnicodeError) else "compressed stream"
        raise InputError(f"{path}{where()}: {kind} cut short or damaged ({error}) - fetch it again") from None


def _opened(path: Path, file: BinaryIO, kind: str) -> BinaryIO:
    if kind == "gzip":
        return io.BufferedReader(gzip.GzipFile(fileobj=file), BUFFER)
    if kind == "bzip2":
        return io.BufferedReader(_Streams(file, bz2.BZ2Decompressor, OSError), BUFFER)
    if kind == "xz":
        return io.BufferedReader(_Streams(file, lzma.LZMADecompressor, lzma.LZMAError), BUFFER)
    if kind == "zstd":
        return io.BufferedReader(_zstd_reader(path, file), BUFFER)
    if kind == "zip":
        return io.BufferedReader(_only_member(path, file), BUFFER)
    return file


class _Streams(io.RawIOBase):
    """The bytes of compressed streams, one after another to the end of the file.

    The readers of Python and of zstandard take a stream that is cut, or one that does not begin as it should, for the
    end. Here both are damage; zeros between streams fill up a file (xz, tapes).
    """

    CHUNK = 1 << 11  # compressed bytes at a time: a zstd block of four bytes may stand for 128 KiB

    def __init__(self, file: BinaryIO, begin: Callable[[], Any], fault: type[Exception]):
        """begin: makes a decompressor of one stream; fault: what it raises."""
        self._file, self._begin, self._fault = file, begin, fault
        self._stream: Any = None
        self._rest, self._ready = b"", memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not self._ready:
            data = self._rest or self._file.read(self.CHUNK)
            self._rest = b""
            if not data:
                if self._stream is not None:
                    raise EOFError("the last stream has no end")
                return 0
            self._ready = memoryview(self._decompressed(data))
        taken = self._ready[: len(buffer)]
        buffer[: len(taken)] = taken
        self._ready = self._ready[len(taken) :]
        return len(taken)

    def _decompressed(self, data: bytes) -> bytes:
        if self._stream is None:
            data = data.lstrip(b"\0")
            if not data:
                return b""
            self._stream = self._begin()
        try:
            out = self._stream.decompress(data)
        except self._fault as error:
            raise EOFError(error) from None
        if self._stream.eof:
            self._rest, self._stream = self._stream.unused_data, None
        return out


def _zstd_reader(path: Path, file: BinaryIO) -> io.RawIOBase:
    try:
        import zstandard
    except ImportError:
        raise InputError(
            f"{path}: reading zstd needs a package - pip install zstandard, or unpack it (zstd -d {path.name})"
        ) from None
    return _Streams(file, lambda: zstandard.ZstdDecompressor().decompressobj(), zstandard.ZstdError)


def _only_member(path: Path, file: BinaryIO):
    archive = zipfile.ZipFile(file)
    names = archive.namelist()
    office = next((what for name, what in OFFICE.items() if name in names), None)
    if office:
        raise InputError(f"{path} is {office} - {AS_TEXT}")
    members = [name for name in names if not name.endswith("/") and not name.startswith("__MACOSX/")]
    if len(members) != 1:
        listed = ", ".join(members[:4]) + (", …" if len(members) > 4 else "")
        raise InputError(f"{path} holds {len(members)} files ({listed}) - unpack it and give the folder")
    try:
        return archive.open(members[0])
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or packed in a way that Python does not know
        raise InputError(f"{path} cannot be unpacked here ({error}) - {UNPACK}") from None


def head_of(path: Path) -> bytes:
    """The first bytes of a file, decompressed.

    Raises:
        InputError: naming a file of another kind (an Excel workbook, a database, an archive, …).
    """
    with decompressed(path) as (stream, _), told_where_damaged(path, lambda: ", after line 0"):
        head = stream.read(HEAD)
    if inner := compression(head):
        raise InputError(f"{path}: there is a {inner} file in it, packed twice - {UNPACK}")
    for place, magic, what, remedy in FOREIGN:
        if head.startswith(magic, place):
            raise InputError(f"{path} is {what}, no text - {remedy}")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:99].lower()
    if start.startswith(STATEMENTS):
        raise InputError(f"{path} holds SQL, no table - load it into a database and {AS_TEXT}")
    if start.startswith((b"@relation", b"% ")) and b"@attribute" in head.lower():
        raise InputError(f"{path} is an ARFF file (Weka) - {AS_TEXT}")
    if start.startswith(MARKUP):
        raise InputError(
            f"{path} is a web page or XML, no table - fetch the data that it points to, as CSV or JSON lines"
        )
    return head
