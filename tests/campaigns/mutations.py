"""Files damaged at random: in bytes, lines, fields, marks, encoding, packing, nesting."""

import bz2
import gzip
import io
import lzma
import random
import zipfile
from collections.abc import Callable

NASTY = [
    *("", " ", "NA", "\\N", "null", "nan", "inf", "-inf", "-1", "0", "true", "4,5", "1e39", "-1e400", "1e-400"),
    "9" * 400,
    *("31.12.2023", "2024-05-01T25:00", "20240501", "0001-01-01", "9999-12-31 23:59:60", "1_000", "٣", "\u2028"),
    *('"', '""', '"a', "a\rb", "\x00", "\ud83d", "[PAD]", "=cmd|x", "a\tb", "{", "\\", "🦙", "é" * 9, "x" * 70_000),
    *("\ufeff", "../x", "[[", "u" * 300),
]  # fmt: skip
ENCODINGS = [
    "cp1252",
    "cp1251",
    "gb18030",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "utf-8-sig",
    "big5",
    "koi8-r",
    "utf-7",
]


def _nested(rng: random.Random, data: bytes) -> bytes:
    depth = rng.choice([10, 600, 2_000, 100_000])
    deep = rng.choice([b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth, b"(" * depth])
    return data.replace(rng.choice([b"4.0", b'"A"', b"B1"]), deep, rng.choice([1, -1]))


def flip(rng: random.Random, data: bytes) -> bytes:
    """One bit of one byte turned over."""
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def _bytes(rng: random.Random, data: bytes) -> bytes:
    place, count = rng.randrange(len(data) + 1), rng.choice([1, 1, 2, 9])
    new = rng.choice(
        [b"", rng.randbytes(count), rng.choice([b"\0", b"\r", b"\n", b'"', b"\xff", b"\xc3", b"\xe2\x80", b"\\"])]
    )
    return data[:place] + new + data[place + rng.choice([0, count]) :]


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)] if rng.random() < 0.7 else data[rng.randrange(len(data) + 1) :]


def _lines(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    place, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    how = rng.choice(["swap", "drop", "double", "blank", "all", "shuffle", "first", "huge"])
    if how == "swap":
        lines[place], lines[other] = lines[other], lines[place]
    elif how == "drop":
        del lines[place]
    elif how == "double":
        lines.insert(place, lines[other])
    elif how == "blank":
        lines.insert(place, rng.choice([b"", b"  ", b",,,", b"\t\t"]))
    elif how == "all":
        lines = [lines[place]] * rng.choice([1, 50, 3_000])
    elif how == "shuffle":
        rng.shuffle(lines)
    elif how == "first":
        lines = lines[:1]
    else:
        lines[place] *= rng.choice([100, 200_000 // (len(lines[place]) + 1)])
    return b"\n".join(lines)


def _fields(rng: random.Random, data: bytes) -> bytes:
    """One field, or a column of the whole file, becomes something nasty, moves or goes."""
    found = next((mark for mark in (b"::", b"\t", b",", b" ") if mark in data), b",")
    rows = [line.split(found) for line in data.split(b"\n")]
    column, all_rows = rng.randrange(max(map(len, rows))), rng.random() < 0.5
    nasty = rng.choice(NASTY).encode("utf-8", "surrogatepass")
    how = rng.choice(["nasty", "nasty", "drop", "front", "add"])
    for row in rows if all_rows else [rng.choice(rows)]:
        if column >= len(row) or not any(row):
            continue
        if how == "nasty":
            row[column] = nasty
        elif how == "drop":
            del row[column]
        elif how == "front":
            row.insert(0, row.pop(column))
        else:
            row.insert(column, nasty)
    return b"\n".join(found.join(row) for row in rows)


def _marks(rng: random.Random, data: bytes) -> bytes:
    old, new = rng.sample(
        [b",", b"\t", b";", b"|", b"::", b" ", b"\n", b"\r\n", b"\r", b'"', b"'", b"\\", b'\\"', b"."], 2
    )
    return data.replace(old, new, rng.choice([1, 5, -1]))


def _encoded(rng: random.Random, data: bytes) -> bytes:
    return data.decode("utf-8", "replace").encode(rng.choice(ENCODINGS), rng.choice(["replace", "ignore"]))


def _packed(rng: random.Random, data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(rng.choice([1, 1, 1, 2])):
            archive.writestr(f"e{number}.csv", data)
    return rng.choice([gzip.compress, bz2.compress, lzma.compress, lambda _: file.getvalue()])(data)


def _magic(rng: random.Random, data: bytes) -> bytes:
    starts = [
        b"PAR1",
        b"PK\x03\x04",
        b"\x1f\x8b",
        b"BZh9",
        b"\xfd7zXZ\0",
        b"\x28\xb5\x2f\xfd",
        b"{",
        b"[",
        b"<html>",
        b"sep=;\n",
        b"#",
    ]
    return rng.choice([rng.choice(starts) + data, rng.choice(starts), b"", rng.randbytes(rng.randrange(3_000))])


Mutation = Callable[[random.Random, bytes], bytes]
MUTATIONS: list[Mutation] = [_bytes, _bytes, _bytes, _cut, _lines, _lines, _fields, _fields, _fields]
MUTATIONS += [_marks, _encoded, _packed, _magic, _nested]
