"""What each addition to the published model costs: a training epoch of SEAR without ratings, with it and without."""

from collections.abc import Iterator

from benchmarks.epoch import epochs_by_turns
from benchmarks.measure import Request, Row, compare

ADDITIONS = {
    "repeat bias": {"repeat_bias": True},
    "averaged weights": {"ema_decay": 0.99},
    "tied table": {"item_table": "tied"},
}
PLAIN, ALL = "without additions", "all three"


def rows(request: Request) -> Iterator[Row]:
    whole = {key: value for settings in ADDITIONS.values() for key, value in settings.items()}
    sides = {**ADDITIONS, ALL: whole, PLAIN: {}}
    for dataset, turns, note in epochs_by_turns("additions", sides, request, streams=["semantic", "collaborative"]):
        for name in (*ADDITIONS, ALL):
            yield compare(f"epoch with {name}, {dataset}", PLAIN, {name: turns[name], PLAIN: turns[PLAIN]}, note=note)
