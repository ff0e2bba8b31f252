"""Time and peak memory of converting a synthetic Amazon 2018 dump, beside the plain way (json, one table, pandas).

    python benchmarks/conversion.py [--events=2100000] [--work=/tmp/conversion]

The dump is made once per number of events: 8.9 reviews a user, 47 an item, with the fields of the real one.
Each way runs in a process of its own; seconds and peak are that process's.
"""

import argparse
import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
CATEGORY = "Pet_Supplies"
FIRST_DAY, DAYS, DAY = 1_262_304_000, 3_100, 86_400  # 2010-01-01 on; the real dump has whole days
WORDS = (
    "dog cat loves this food toy bowl great price would buy again my vet said it is easy to clean and the size "
    "was right but arrived late works well so far chewed through in a week happy with smell leash collar treats"
).split()


def make_dump(folder: Path, events: int, seed: int = 2020) -> None:
    """`Pet_Supplies_5.json.gz` and its products, grouped by item as the real dump is; 0.5 % are exact repeats."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    users, items = max(1, round(events / 8.9)), max(1, round(events / 46.7))
    user = rng.permutation(_shares(rng.geometric(0.2, users) + 4.0, events))
    item = _shares(rng.pareto(1.5, items) + 0.3, events)
    day = rng.integers(0, DAYS, events) * DAY + FIRST_DAY
    stars = rng.choice(5, events, p=[0.08, 0.05, 0.08, 0.14, 0.65]) + 1
    length = np.minimum(rng.geometric(1 / 45, events), 400)
    place = rng.integers(0, 100_000, events)
    text = rng.choice(WORDS, 101_000).tolist()
    with gzip.open(folder / f"{CATEGORY}_5.json.gz", "wt", compresslevel=5) as file:
        for row in range(events):
            words = text[place[row] : place[row] + length[row]]
            line = _review(int(user[row]), int(item[row]), int(day[row]), float(stars[row]), words)
            file.write(line)
            if row % 200 == 0:
                file.write(line)
    with gzip.open(folder / f"meta_{CATEGORY}.json.gz", "wt", compresslevel=5) as file:
        for number in range(items):
            file.write(_product(number, text[number : number + 60]))


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


def measure(command: list[str]) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak resident GB of a command, its output shown."""
    watcher = (
        "import resource, subprocess, sys, time; start = time.perf_counter(); "
        "code = subprocess.call(sys.argv[1:]); seconds = time.perf_counter() - start; "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(code, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", watcher, *command], cwd=ROOT, text=True, stdout=subprocess.PIPE)
    *output, last = done.stdout.strip().splitlines()
    print("\n".join(output))
    code, seconds, cpu, peak = last.split()
    if code != "0":
        sys.exit(f"{' '.join(command)} failed")
    unit = 1e9 if sys.platform == "darwin" else 1e6  # bytes there, kilobytes elsewhere
    return float(seconds), float(cpu), float(peak) / unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=2_100_000)
    parser.add_argument("--work", type=Path, default=Path("/tmp/conversion"), help="where the dump and the output go")
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)  # the second process
    parser.add_argument("--no-peer", action="store_true", help="leave the plain way out (it needs about 8 GB)")
    asked = parser.parse_args()
    folder = asked.work / f"raw-{asked.events}"
    if asked.plain:
        return plain_way(folder)
    if not (folder / f"meta_{CATEGORY}.json.gz").exists():
        print(f"making {folder} ...")
        make_dump(folder, asked.events)
    ours = [sys.executable, "-m", "sear.atomic_files", CATEGORY, str(folder), f"--out={asked.work / 'dataset'}"]
    seconds, cpu, peak = measure(ours)
    print(f"converter: {seconds:.1f} s (CPU {cpu:.1f} s), peak {peak:.2f} GB")
    if not asked.no_peer:
        plain = [sys.executable, __file__, "--plain", f"--events={asked.events}", f"--work={asked.work}"]
        plain_seconds, plain_cpu, plain_peak = measure(plain)
        print(f"plain way: {plain_seconds:.1f} s (CPU {plain_cpu:.1f} s), peak {plain_peak:.2f} GB")
        print(f"ratio: {plain_cpu / cpu:.1f} times the CPU time, {plain_peak / peak:.1f} times the memory")


if __name__ == "__main__":
    main()
