"""Small sound dumps of every format, and what the converter makes of damaged ones."""

import contextlib
import gzip
import io
import json
import random
from functools import partial
from pathlib import Path

from sear.atomic_files.__main__ import main as convert
from sear.data.atomic_table import read_atomic
from tests.campaigns.inputs import ACCEPTED, ESCAPED, Files, Input, Outcome, program, write_files

OWN = ("--format=csv", "--user=user", "--item=item", "--time=time")


def dumps() -> list[Input]:
    """A dump of every format that the converter reads."""
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
    titled = (*rated, "--text=title")
    made = [
        _input("amazon-2018", "Toys", {"Toys.json": _json(old), "meta_Toys.json": _json(meta)}, ()),
        _input("amazon-2014", "Toys", {"reviews_Toys_5.json": "\n".join(map(repr, old)).encode()}, ("--no-text",)),
        _input("amazon-2023", "Toys", {"Toys.jsonl.gz": gzip.compress(_json(new))}, ("--no-text",)),
        _input("amazon csv", "Toys", {"ratings_Toys.csv": _text(bare)}, ("--no-text",)),
        _input("ml dat", "films", {"ratings.dat": _text(dat), "movies.dat": _text(films)}, ()),
        _input("ml csv", "films", {"ratings.csv": _text(ml_csv)}, ("--no-text",)),
        _input("ml movies", "films", {"ratings.csv": _text(ml_csv), "movies.csv": _text(films_csv)}, ()),
        _input("csv", "own", {"e.csv": _text(["user,item,time,rating", *plain])}, rated),
        _input("csv texts", "own", {"e.csv": _text(["user,item,time,rating,title", *quoted])}, titled),
        _input("csv by name", "own", {"own.csv": _text(["user_id,item_id,timestamp,rating", *plain])}, ()),
        _input("tsv", "own", {"e.tsv": _text(["user,item,time,rating", *plain]).replace(b",", b"\t")}, rated),
        _input("headless", "own", {"e.txt": _text(plain).replace(b",", b" ")}, ("--columns=user,item,time,rating",)),
        _input("json lines", "own", {"e.json": _json(dict(user=u, item=i, time=t) for u, i, t in events)}, OWN),
        _input("dates", "own", {"e.csv": _text(["user,item,time", *dates])}, OWN),
    ]  # fmt: skip
    with contextlib.suppress(ImportError):
        made.append(_input("parquet", "own", {"e.parquet": _parquet(events)}, rated))
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


OPTIONS = ["--bad_lines=skip"] * 3 + ["--encoding=cp1252", "--encoding=utf-16", "--decimal=,", "--date_format=%Y"]
OPTIONS += ["--date_format=unix", "--date_format=%", "--missing=4,x", "--quoting=none", "--quoting=backslash"]
OPTIONS += [
    "--rating_range=0,1e300",
    "--no-text",
    "--columns=user,item,time",
    "--time=line_order",
    "--time=time,rating",
]
OPTIONS += ["--format=amazon-2014", "--format=movielens", "--write_config=config.yaml", "--overwrite"]


def _input(kind: str, name: str, files: Files, options: tuple[str, ...]) -> Input:
    return Input(kind, files, partial(_converted, name, options), weight=2)


def _converted(name: str, options: tuple[str, ...], files: Files, rng: random.Random, folder: Path) -> Outcome:
    """Converted, with files that can be read; or refused, with nothing left."""
    raw, out = folder / "raw", folder / "out"
    raw.mkdir()
    write_files(raw, files)
    words = [*options, *([rng.choice(OPTIONS)] if rng.random() < 0.3 else [])]
    words = [word.replace("=config.yaml", f"={folder / 'config.yaml'}") for word in words]
    kind, told = program(convert, [name, str(raw), f"--out={out}", *words])
    if kind == ACCEPTED:
        for path in sorted(out.glob("*/*.i*")):
            if path.suffix == ".inter" or path.read_bytes().count(b"\n") > 1:
                read_atomic(path)
        return (kind if "wrote " in told else f"{ESCAPED}: nothing said"), told
    left = [path for path in folder.rglob("*") if path.is_file() and raw not in path.parents]
    if left and not any("write_config" in word for word in words):
        return f"{ESCAPED}: refused, and files are left", f"{told}{left}"
    return kind, told
