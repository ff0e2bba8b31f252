"""Small dumps in the true formats, and a way to convert them as the command line does."""

import gzip
import json

from sear.atomic_files.__main__ import main


def write_lines(path, lines, encoding="utf-8", compress=None):
    """The lines, each ended by a newline; gzip'd when the name ends in .gz (or as `compress` says)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(line + "\n" for line in lines).encode(encoding)
    path.write_bytes(gzip.compress(data) if (path.suffix == ".gz" if compress is None else compress) else data)
    return path


def json_lines(records):
    return [json.dumps(record) for record in records]


def review(user, item, time, overall=5.0, **more):
    """A review as the 2014 and 2018 dumps have it; overall None leaves the key out."""
    rating = {} if overall is None else {"overall": overall}
    return {"reviewerID": user, "asin": item, "unixReviewTime": time, "reviewText": "fine\nreally"} | rating | more


def full_core(make, users=5, items=5):
    """`make(user, item, time)` for every pair: what is left of it after 5-core is all of it."""
    return [
        make(f"U{user}", f"I{item}", 1_400_000_000 + 86_400 * item) for user in range(users) for item in range(items)
    ]


def convert(folder, name, raw, *options):
    """Exit code of `python -m sear.atomic_files name raw --out=folder/dataset options`."""
    return main([name, str(raw), f"--out={folder / 'dataset'}", *options])


def rows(folder, name, suffix):
    """The lines of a written file, split at tabs; the header first."""
    path = folder / "dataset" / name / f"{name}.{suffix}"
    return [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def write_toys(tmp_path, reviews, meta=({"asin": "B1", "title": "Kite"},)):
    """A 2018 dump of toys in tmp_path/raw; reviews: lines, meta: products."""
    write_lines(tmp_path / "raw" / "Toys.json", reviews)
    write_lines(tmp_path / "raw" / "meta_Toys.json", json_lines(meta))


def snapshot(tmp_path):
    """What every converted file holds."""
    return {path: path.read_bytes() for path in (tmp_path / "dataset").rglob("*") if path.is_file()}
