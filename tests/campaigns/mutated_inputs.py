"""Raw dumps damaged at random: `python -m tests.campaigns.mutated_inputs --inputs=1000 --seed=1`.

Small sound inputs of every format are changed in bytes, lines, columns, encoding and packing, converted in this process
under a limit of time and memory, and counted: converted (and readable), refused in one line, or ESCAPED. An input is
made again by its number: `--only=NUMBER` with the same seed. The exit code is 1 where anything escaped.
"""

import argparse
import bz2
import contextlib
import gzip
import io
import json
import lzma
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from sear.atomic_files.__main__ import main as convert
from sear.data.atomic_table import read_atomic

SECONDS, MEMORY = 20, 3 << 30  # for one input; bytes above what the process has at its start
Files = dict[str, bytes]
OWN = ("--format=csv", "--user=user", "--item=item", "--time=time")


@dataclass(frozen=True)
class Sound:
    """A sound input: files by name, and the converter's arguments after RAW_DIR."""

    kind: str
    name: str
    files: Files
    options: tuple[str, ...]


class Hang(BaseException):
    """The time is over; no handler of the converter's may catch it."""


def sound_inputs() -> list[Sound]:
    users, items = [f"A{number}X" for number in range(5)], [f"B{number}" for number in range(4)]
    events = [(user, item, 1_400_000_000 + 86_400 * place) for user in users for place, item in enumerate(items)]
    titles = ['Crème "brûlée", 5 €', "Война и мир", "战争与和平", "Plain; tea | cup\ttab"]
    old = [{"reviewerID": u, "asin": i, "overall": 4.0, "unixReviewTime": t} for u, i, t in events]
    new = [{"user_id": u, "parent_asin": i, "rating": 4.0, "timestamp": t * 1000} for u, i, t in events]
    meta = [
        {"asin": i, "title": titles[n], "category": ["A", ["B", None]], "price": "$1.99"} for n, i in enumerate(items)
    ]
    plain = [f"{u},{i},{t},4" for u, i, t in events]
    quoted = [f'{row},"{titles[n % 4].replace(chr(34), chr(34) * 2)}"' for n, row in enumerate(plain)]
    films = [f"{n + 1}::Film, The ({1990 + n})::Drama|War" for n in range(4)]
    films_csv = ["movieId,title,genres", *(f'{n + 1},"Film, The ({1990 + n})",Drama|War' for n in range(4))]
    ml_csv = ["userId,movieId,timestamp,rating", *(f"{u[1]},{int(i[1]) + 1},{t},4" for u, i, t in events)]
    bare = [f"{u},{i},4.0,{t}" for u, i, t in events]
    dates = [f"{u},{i},2024-05-0{n % 9 + 1}" for n, (u, i, _) in enumerate(events)]
    dat = [f"{u[1]}::{int(i[1]) + 1}::4::{t}" for u, i, t in events]
    rated = (*OWN, "--rating=rating")
    made = [
        Sound("amazon-2018", "Toys", {"Toys.json": _json(old), "meta_Toys.json": _json(meta)}, ()),
        Sound("amazon-2014", "Toys", {"reviews_Toys_5.json": "\n".join(map(repr, old)).encode()}, ("--no-text",)),
        Sound("amazon-2023", "Toys", {"Toys.jsonl.gz": gzip.compress(_json(new))}, ("--no-text",)),
        Sound("amazon csv", "Toys", {"ratings_Toys.csv": _text(bare)}, ("--no-text",)),
        Sound("ml dat", "films", {"ratings.dat": _text(dat), "movies.dat": _text(films)}, ()),
        Sound("ml csv", "films", {"ratings.csv": _text(ml_csv)}, ("--no-text",)),
        Sound("ml movies", "films", {"ratings.csv": _text(ml_csv), "movies.csv": _text(films_csv)}, ()),
        Sound("csv", "own", {"e.csv": _text(["user,item,time,rating", *plain])}, rated),
        Sound("csv texts", "own", {"e.csv": _text(["user,item,time,rating,title", *quoted])}, (*rated, "--text=title")),
        Sound("csv by name", "own", {"own.csv": _text(["user_id,item_id,timestamp,rating", *plain])}, ()),
        Sound("tsv", "own", {"e.tsv": _text(["user,item,time,rating", *plain]).replace(b",", b"\t")}, rated),
        Sound("headless", "own", {"e.txt": _text(plain).replace(b",", b" ")}, ("--columns=user,item,time,rating",)),
        Sound("json lines", "own", {"e.json": _json(dict(user=u, item=i, time=t) for u, i, t in events)}, OWN),
        Sound("dates", "own", {"e.csv": _text(["user,item,time", *dates])}, OWN),
    ]  # fmt: skip
    with contextlib.suppress(ImportError):
        made.append(Sound("parquet", "own", {"e.parquet": _parquet(events)}, rated))
    return made


def _text(lines) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _json(records) -> bytes:
    return _text(json.dumps(record, ensure_ascii=False) for record in records)


def _parquet(events) -> bytes:
    import pyarrow
    from pyarrow import parquet

    users, items, times = map(list, zip(*events, strict=True))
    file = io.BytesIO()
    parquet.write_table(
        pyarrow.table({"user": users, "item": items, "time": times, "rating": [4.0] * len(users)}), file
    )
    return file.getvalue()


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


MUTATIONS: list[Callable[[random.Random, bytes], bytes]] = [
    *[
        _bytes,
        _bytes,
        _bytes,
        _cut,
        _lines,
        _lines,
        _fields,
        _fields,
        _fields,
        _marks,
        _encoded,
        _packed,
        _magic,
        _nested,
    ]
]
OPTIONS = [
    *[
        "--bad_lines=skip",
        "--bad_lines=skip",
        "--bad_lines=skip",
        "--encoding=cp1252",
        "--encoding=utf-16",
        "--decimal=,",
    ],
    *[
        "--date_format=%Y",
        "--date_format=unix",
        "--date_format=%",
        "--missing=4,x",
        "--quoting=none",
        "--quoting=backslash",
    ],
    *["--rating_range=0,1e300", "--no-text", "--columns=user,item,time", "--time=line_order", "--time=time,rating"],
    *["--format=amazon-2014", "--format=movielens", "--write_config=config.yaml", "--overwrite"],
]


def mutated(sound: Sound, rng: random.Random) -> tuple[Files, list[str]]:
    """The files, one to three times changed, and the arguments, sometimes with one more."""
    files = dict(sound.files)
    for _ in range(rng.choice([1, 1, 2, 3])):
        name = rng.choice(sorted(files))
        files[name] = rng.choice(MUTATIONS)(rng, files[name])
        if rng.random() < 0.05:
            files[rng.choice([f"{name}.gz", name.upper(), f"{name}.zip", f"part-0000{len(files)}.csv"])] = files.pop(
                name
            )
    options = list(sound.options)
    if rng.random() < 0.3:
        options.append(rng.choice(OPTIONS))
    return files, options


def outcome(sound: Sound, files: Files, options: list[str], folder: Path) -> tuple[str, str]:
    """(converted, refused or what escaped; what was said)."""
    raw, out = folder / "raw", folder / "out"
    raw.mkdir()
    for name, data in files.items():
        (raw / name).write_bytes(data)
    options = [option.replace("=config.yaml", f"={folder / 'config.yaml'}") for option in options]
    said, error = io.StringIO(), io.StringIO()
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(error):
            code = convert([sound.name, str(raw), f"--out={out}", *options])
        told = error.getvalue()
        if code == 0:
            for path in sorted(out.glob("*/*.i*")):
                if path.suffix == ".inter" or path.read_bytes().count(b"\n") > 1:
                    read_atomic(path)
            return ("converted" if "wrote " in said.getvalue() else "ESCAPED: nothing said"), said.getvalue()
        left = [path for path in folder.rglob("*") if path.is_file() and raw not in path.parents]
        if left and not any("write_config" in option for option in options):
            return "ESCAPED: refused, and files are left", f"{told}{left}"
        one_line = told.startswith("error: ") and told.count("\n") == 1 and len(told) > 20 and len(told) < 3_000
        return ("refused" if code == 2 and one_line else f"ESCAPED: exit {code}, not one line"), told
    except Hang:
        return "ESCAPED: hang", traceback.format_exc()
    except BaseException as fault:  # whatever it is, it should have been one line
        return f"ESCAPED: {type(fault).__name__}", traceback.format_exc()
    finally:
        signal.alarm(0)


def _in_folder_of_its_own(sound: Sound, files: Files, options: list[str]) -> tuple[str, str]:
    with tempfile.TemporaryDirectory(prefix="mutated-") as folder:
        return outcome(sound, files, options, Path(folder))


def _alarm(*_: object) -> None:
    raise Hang


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaigns.mutated_inputs", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--inputs", type=int, default=1_000, help="how many inputs (default 1000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="this input alone, with what was said of it")
    asked = parser.parse_args()
    signal.signal(signal.SIGALRM, _alarm)
    used = (
        int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if sys.platform == "linux" else 0
    )
    if used:
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    inputs, counts, escaped, start = sound_inputs(), Counter(), {}, time.time()
    for sound in inputs:
        assert _in_folder_of_its_own(sound, sound.files, list(sound.options))[0] == "converted", sound
    for number in [asked.only] if asked.only is not None else range(asked.inputs):
        rng = random.Random(f"{asked.seed}:{number}")
        sound = inputs[number % len(inputs)]
        files, options = mutated(sound, rng)
        kind, told = _in_folder_of_its_own(sound, files, options)
        counts[sound.kind, kind.split(":")[0]] += 1
        if kind.startswith("ESCAPED"):
            escaped[number] = (sound.kind, kind)
        if asked.only is not None:
            shown = "".join(f"\n{name}: {data[:300]!r}" for name, data in files.items())
            print(f"{sound.kind} {options}: {kind}{shown}\n{told}")
    kinds = ("converted", "refused", "ESCAPED")
    rows = [(name, *(counts[name, kind] for kind in kinds)) for name in dict.fromkeys(sound.kind for sound in inputs)]
    rows.append(("all", *(sum(row[place] for row in rows) for place in (1, 2, 3))))
    print(tabulate(rows, ("input", *kinds), "github"))
    print(f"{sum(rows[-1][1:]):,} inputs, seed {asked.seed}, {time.time() - start:.0f} s")
    for number, (name, kind) in escaped.items():
        print(f"--seed={asked.seed} --only={number}: {name}, {kind}")
    return int(bool(escaped))


if __name__ == "__main__":
    sys.exit(main())
