"""Converting a synthetic Amazon 2018 dump, beside the plain way: json, everything in one table, pandas.

8.9 reviews a user, 47 an item, with the fields of the real one. Each conversion has a process of its own; seconds and
peak are that process's, imports included. Ours always converts the whole dump; where the baseline's table would not fit
into memory, the baseline converts a smaller one and its seconds are scaled.
"""

import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.dataset_build import free_memory, held
from benchmarks.measure import Request, Row, Skipped, Turn, compare, say
from sear.files import PROJECT_ROOT, write_aside

OURS, BASELINE = "sear.atomic_files", "json and pandas"
ROUNDS = 3  # a minute or two each
EVENTS, TOY_EVENTS = 2_100_000, 2_000
BASELINE_EVENTS = (EVENTS, 1_000_000, 400_000, 100_000)
MOST_SECONDS, MOST_BYTES = 90, 1e9  # for ours
BASELINE_BYTES_PER_EVENT = 4_500  # every field of every review in one table
CATEGORY, FOLDER = "Pet_Supplies", "Amazon_Pet_Supplies"
FIRST_DAY, DAYS, DAY = 1_262_304_000, 3_100, 86_400  # 2010-01-01 on; the real dump has whole days
WORDS = (
    "dog cat loves this food toy bowl great price would buy again my vet said it is easy to clean and the size "
    "was right but arrived late works well so far chewed through in a week happy with smell leash collar treats"
).split()


def rows(request: Request) -> Iterator[Row]:
    events = TOY_EVENTS if request.quick else EVENTS
    yield measured(events, events if request.quick else affordable_events(), 1 if request.quick else ROUNDS)


def measured(events: int, baseline_events: int, rounds: int) -> Row:
    """Ours on a dump of `events` reviews against the baseline on one of `baseline_events`, scaled to `events`."""
    scale = events / baseline_events
    with tempfile.TemporaryDirectory(prefix="sear-benchmark-") as work:
        raw, baseline_raw = Path(work, "raw"), Path(work, "raw" if scale == 1 else "baseline")
        for folder, number in {raw: events, baseline_raw: baseline_events}.items():
            say(f"conversion: a dump of {number:,} reviews")
            make_dump(folder, number)
        turns: dict[str, list[Turn]] = {OURS: [], BASELINE: []}
        for number in range(rounds):
            turns[OURS].append(in_own_process(_our_command(raw, work)))
            baseline = in_own_process(["-m", "benchmarks.conversion", str(baseline_raw)])
            turns[BASELINE].append(replace(baseline, seconds=baseline.seconds * scale))
            say(f"  round {number + 1}: {turns[OURS][-1].seconds:.4g} s, baseline {turns[BASELINE][-1].seconds:.4g} s")
        if scale != 1:  # what is compared are the events of one dump
            in_own_process(_our_command(baseline_raw, work))
        require_same_events(Path(work, "dataset", FOLDER, f"{FOLDER}.inter"), baseline_raw / "plain.inter")
    row = compare("conversion", BASELINE, turns)
    limits = held(row.seconds, MOST_SECONDS, row.peak_mb * 1e6, MOST_BYTES)
    baseline_note = f"{row.baseline_peak_mb / row.peak_mb:.3g} times less memory"
    if scale != 1:
        baseline_note = f"the baseline {baseline_events:,}, its seconds scaled, its peak not"
    return replace(row, note=f"{events:,} reviews: {limits}; {baseline_note}; peaks are of whole processes")


def _our_command(raw: Path, work: str) -> list[str]:
    return ["-m", "sear.atomic_files", CATEGORY, str(raw), f"--out={Path(work, 'dataset')}", "--overwrite"]


def affordable_events() -> int:
    """The most of BASELINE_EVENTS that the baseline's table of all fields has memory for, at worst the fewest."""
    free = free_memory()
    fitting = [events for events in BASELINE_EVENTS if free is None or events * BASELINE_BYTES_PER_EVENT < free]
    return (fitting or BASELINE_EVENTS[-1:])[0]


def require_same_events(ours: Path, theirs: Path) -> None:
    """Users, items, ratings and times are the same, and each user's events stand in the same order."""
    found, expected = _events(ours), _events(theirs)
    for column in found:
        same = np.array_equal(found[column], expected[column])
        assert same, f"not the same events: {column} differs between {ours.name} and {theirs.name}"


def _events(path: Path) -> dict[str, np.ndarray]:
    """The events by user; those of one user in the order of the file."""
    import pandas as pd

    names = ["user", "item", "rating", "time"]
    kinds = {"user": "category", "item": "category", "rating": float, "time": float}
    table = pd.read_csv(path, sep="\t", names=names, skiprows=1, dtype=kinds, low_memory=False)  # else ids are unsorted
    table = table.iloc[np.argsort(table["user"].cat.codes.to_numpy(), kind="stable")]
    codes = {name: table[name].cat.codes.to_numpy() for name in names[:2]}
    ids = {f"{name} ids": table[name].cat.categories.to_numpy() for name in names[:2]}
    return ids | codes | {name: table[name].to_numpy() for name in names[2:]}


def make_dump(folder: Path, events: int, seed: int = 2020) -> None:
    """`Pet_Supplies_5.json.gz` and its products, grouped by item as the real dump is; 0.5 % are exact repeats."""
    rng = np.random.default_rng(seed)
    users, items = max(1, round(events / 8.9)), max(1, round(events / 46.7))
    user = rng.permutation(_shares(rng.geometric(0.2, users) + 4.0, events))
    item = _shares(rng.pareto(1.5, items) + 0.3, events)
    day = FIRST_DAY + DAY * rng.integers(0, DAYS, events)
    stars = rng.choice(5, events, p=[0.08, 0.05, 0.08, 0.14, 0.65]) + 1
    length = np.minimum(rng.geometric(1 / 45, events), 400)
    place = rng.integers(0, 100_000, events)
    text = rng.choice(WORDS, 101_000).tolist()

    def reviews() -> Iterator[str]:
        for row in range(events):
            words = text[place[row] : place[row] + length[row]]
            line = _review(int(user[row]), int(item[row]), int(day[row]), float(stars[row]), words)
            yield line
            if row % 200 == 0:
                yield line

    _write(folder / f"{CATEGORY}_5.json.gz", reviews())
    products = (_product(number, text[number : number + 60]) for number in range(items))
    _write(folder / f"meta_{CATEGORY}.json.gz", products)


def _write(path: Path, lines: Iterator[str]) -> None:
    with write_aside(path) as aside, gzip.open(aside, "wt", compresslevel=5) as file:
        file.writelines(lines)


def _shares(weight: np.ndarray, events: int) -> np.ndarray:
    """int64 (events,): owners 0.. repeated in proportion to their weight, ascending."""
    edges = np.round(np.cumsum(weight) / weight.sum() * events).astype(np.int64)
    return np.repeat(np.arange(len(weight)), np.diff(edges, prepend=0))


def _review(user: int, item: int, day: int, stars: float, words: list[str]) -> str:
    review = {
        "overall": stars,
        "vote": "3",
        "verified": True,
        "reviewTime": time.strftime("%m %d, %Y", time.gmtime(day)),
        "reviewerID": f"A{user:013X}",
        "asin": f"B{item:09d}",
        "style": {"Size:": f" {words[0]}", "Color:": " Blue"},
        "reviewerName": f"{words[0]} {words[-1]}",
        "reviewText": " ".join(words),
        "summary": " ".join(words[:5]),
        "unixReviewTime": day,
    }
    return json.dumps(review) + "\n"


def _product(number: int, words: list[str]) -> str:
    product = {
        "category": ["Pet Supplies", "Dogs", "Toys &amp; Chews"],
        "description": [" ".join(words)],
        "title": f"{words[0]} &amp; {' '.join(words[1:9])} {number}",
        "also_buy": [f"B{(number + step) % 1000:09d}" for step in range(20)],
        "image": [f"https://images-na.ssl-images-amazon.com/images/I/{number}.jpg"],
        "brand": words[9].title(),
        "feature": [" ".join(words[10:30])],
        "rank": f"{number:,} in Pet Supplies (",
        "price": f"${number % 90}.99",
        "asin": f"B{number:09d}",
    }
    return json.dumps(product) + "\n"


def plain_way(folder: Path) -> None:
    """What conversion scripts commonly do: every field of every line in one table, then to_csv."""
    import pandas as pd

    with gzip.open(folder / f"{CATEGORY}_5.json.gz") as file:
        reviews = pd.DataFrame([json.loads(line) for line in file])
    with gzip.open(folder / f"meta_{CATEGORY}.json.gz") as file:
        products = pd.DataFrame([json.loads(line) for line in file])
    events = reviews[["reviewerID", "asin", "overall", "unixReviewTime"]].drop_duplicates()
    events.sort_values(["reviewerID", "unixReviewTime"]).to_csv(folder / "plain.inter", sep="\t", index=False)
    products[["asin", "title", "category", "brand"]].to_csv(folder / "plain.item", sep="\t", index=False)


def in_own_process(arguments: list[str]) -> Turn:
    """Seconds and peak resident bytes of this interpreter with these arguments."""
    watcher = (
        "import resource, subprocess, sys, time; start = time.perf_counter(); "
        "code = subprocess.call([sys.executable, *sys.argv[1:]], stdout=subprocess.DEVNULL); "
        "seconds = time.perf_counter() - start; "
        "print(code, seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", watcher, *arguments]
    done = subprocess.run(command, cwd=PROJECT_ROOT, text=True, stdout=subprocess.PIPE, check=True)
    code, seconds, peak = done.stdout.split()
    if code != "0":
        raise Skipped(f"{' '.join(arguments[:2])} ended with code {code} (-9: out of memory)")
    return Turn(float(seconds), float(peak) * (1 if sys.platform == "darwin" else 1024))  # kilobytes but on macOS


if __name__ == "__main__":
    plain_way(Path(sys.argv[1]))
