"""Lists for many users against RecTools' SASRec, turn about: python -m benchmarks.rectools --python=VENV/bin/python.

VENV holds `rectools[torch]` and no SEAR; this file runs there as a script of its own. Both sides have the same users,
events and items, and weights that are as good as random. Seconds are those of the CPU, all threads together.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

K = 10
EVENTS = 9  # of each user, as in Pet Supplies


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rectools", description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="the Python of an environment with rectools[torch]")
    parser.add_argument("--users", type=int, default=8192)
    parser.add_argument("--items", type=int, default=42_351)
    parser.add_argument("--factors", type=int, default=64, help="width of RecTools' vectors (SEAR's is 192)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON file to write (default: standard output)")
    asked = parser.parse_args()
    import sear
    from benchmarks.measure import say, write_json
    from benchmarks.untrained_model import write_untrained

    with tempfile.TemporaryDirectory() as place:
        recommender = sear.load(write_untrained(Path(place, "model"), asked.items, asked.users, EVENTS))
    words = [asked.python, "-I", __file__, *map(str, (asked.users, asked.items, asked.factors))]
    theirs = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert theirs.stdin is not None and theirs.stdout is not None
    version = theirs.stdout.readline().strip()  # ready
    turns: dict[str, list[float]] = {"sear": [], "rectools": []}
    for turn in range(asked.rounds + 1):
        started = time.process_time()
        rows = len(recommender.recommend(k=K))
        own = time.process_time() - started
        print("go", file=theirs.stdin, flush=True)
        told = json.loads(theirs.stdout.readline())
        assert rows == told["rows"] == K * asked.users
        say(f"round {turn}: {own:.2f} s against {told['seconds']:.2f} s of CPU")
        if turn:  # the first one compiles and warms up
            turns["sear"].append(own)
            turns["rectools"].append(told["seconds"])
    theirs.stdin.close()
    theirs.wait()
    ratios = [b / a for a, b in zip(*turns.values(), strict=True)]
    speeds = {name: asked.users / statistics.median(seconds) for name, seconds in turns.items()}
    sizes = {"users": asked.users, "items": asked.items, "events": EVENTS, "factors": asked.factors}
    found = sizes | {"rectools": version, "users per CPU second": speeds, "CPU seconds": turns}
    write_json(found | {"ratio": statistics.median(ratios), "ratios": ratios}, asked.out)
    return 0


def serve_turns(users: int, items: int, factors: int) -> None:
    """In RecTools' environment: fit once, then recommend for everybody at each line that comes."""
    import numpy as np
    import pandas as pd
    import rectools
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    random = np.random.default_rng(0)
    item = np.concatenate([np.arange(items), random.integers(0, items, max(0, users * EVENTS - items))])
    item = random.permutation(item)[: users * EVENTS]
    events = pd.DataFrame({
        Columns.User: np.repeat(np.arange(users), EVENTS), Columns.Item: item, Columns.Weight: 1.0,
        Columns.Datetime: pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(len(item)), "s"),
    })  # fmt: skip
    model = SASRecModel(
        n_factors=factors, n_blocks=2, n_heads=4, session_max_len=100, epochs=1, loss="BCE", n_negatives=1, verbose=0
    )
    data = Dataset.construct(events)
    model.fit(data)
    everybody = np.arange(users)
    print(rectools.__version__, flush=True)
    for _ in sys.stdin:
        started = time.process_time()
        rows = len(model.recommend(users=everybody, dataset=data, k=K, filter_viewed=True))
        print(json.dumps({"seconds": time.process_time() - started, "rows": rows}), flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1].isdigit():
        serve_turns(*map(int, sys.argv[1:]))
    else:
        sys.exit(main())
