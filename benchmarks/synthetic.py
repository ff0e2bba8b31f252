"""Synthetic histories with the sizes of the published data sets, so that a benchmark needs no download.

Only what decides speed is imitated: users, items, events, the distribution of history lengths, popularity falling off
over the items. Which item follows which is chance.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sear.files import write_aside

SHARES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)
EVENTS_PER_ITEM = 5  # at least, so that 5-core keeps every item
FIRST_TIME = 900_000_000


@dataclass(frozen=True)
class Sizes:
    """A data set in numbers: `lengths` are the quantiles of the history length at SHARES, after 5-core."""

    users: int
    items: int
    events: int
    lengths: tuple[int, ...]


# measured on the converted data sets, the counts as published; the last has no dump here and takes Beauty's shape
ML_1M = Sizes(6_040, 3_416, 999_611, (18, 44, 96, 207, 556, 2277))
BEAUTY = Sizes(22_363, 12_101, 198_502, (5, 5, 6, 9, 21, 204))
SUPPLIES = Sizes(236_506, 42_351, 2_093_662, BEAUTY.lengths)
TOY = Sizes(80, 40, 1_000, (5, 6, 9, 15, 30, 60))


def history_lengths(sizes: Sizes) -> np.ndarray:
    """int64 (users,): the fitted distribution's quantiles at users evenly spread shares; sum is `events`.

    Between two known quantiles the logarithm of the length rises evenly with the share; in the last stretch, to the
    longest history, it rises with a power of the share, the one that gives the published number of events.
    """
    share = np.linspace(0, 1, sizes.users)
    low, high = 1e-3, 1e3
    for _ in range(60):  # bisection: a greater power gives shorter long histories
        power = np.sqrt(low * high)
        length = np.round(_quantile(share, sizes.lengths, power)).astype(np.int64)
        low, high = (power, high) if length.sum() > sizes.events else (low, power)
    return _settle(length, sizes.events)


def _quantile(share: np.ndarray, known: tuple[int, ...], power: float) -> np.ndarray:
    segment = np.clip(np.searchsorted(SHARES, share, side="right") - 1, 0, len(SHARES) - 2)
    begin, end = np.take(SHARES, segment), np.take(SHARES, segment + 1)
    low, high = np.log(np.take(known, segment)), np.log(np.take(known, segment + 1))
    within = (share - begin) / (end - begin)
    return np.exp(low + (high - low) * np.where(segment == len(SHARES) - 2, within**power, within))


def _settle(length: np.ndarray, events: int) -> np.ndarray:
    """Lengths with what rounding left over spread by ones over the longer half of the users, the longest apart."""
    missing = events - int(length.sum())
    half = np.arange(len(length) // 2, len(length) - 1)
    assert abs(missing) <= len(half), f"no power comes nearer to {events} events than {missing}"
    chosen = half[np.linspace(0, len(half) - 1, abs(missing)).astype(int)] if missing else half[:0]
    length[chosen] += np.sign(missing)
    return length


def make_events(sizes: Sizes, seed: int = 2020) -> pd.DataFrame:
    """The rows of an .inter file, in random order: user_id, item_id, rating 1-5, timestamp; every item occurs."""
    random = np.random.default_rng(seed)
    length = random.permutation(history_lengths(sizes))
    user = np.repeat(np.arange(sizes.users), length)
    popularity = 1 / (np.arange(sizes.items) + 100.0)
    often = np.repeat(np.arange(sizes.items), EVENTS_PER_ITEM)
    assert len(often) <= sizes.events, f"{sizes.items} items need {len(often)} events"
    rest = random.choice(sizes.items, sizes.events - len(often), p=popularity / popularity.sum())
    table = {
        "user_id": user,
        "item_id": random.permutation(np.concatenate([often, rest])),
        "rating": random.choice(5, sizes.events, p=[0.06, 0.11, 0.26, 0.35, 0.22]) + 1,
        "timestamp": FIRST_TIME + random.permutation(sizes.events),
    }
    return pd.DataFrame(table).iloc[random.permutation(sizes.events)]


def write_atomic_files(sizes: Sizes, folder: Path, name: str, seed: int = 2020) -> Path:
    """`folder`/`name`/`name`.inter, made unless it is there; returns `folder`."""
    path = folder / name / f"{name}.inter"
    if not path.exists():
        header = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
        with write_aside(path) as aside:
            make_events(sizes, seed).to_csv(aside, sep="\t", index=False, header=header)
    return folder
