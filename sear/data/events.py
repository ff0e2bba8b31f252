"""The events of a `.inter` file: read, checked, filtered to their core and put in exact time order.

Times stay float64 from file to sort: through float32, as RecBole carries them, events within a minute or two of each
other lose their order, and with it many users get another test item.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from sear.data.atomic_table import read_atomic, read_header
from sear.data.history import is_training
from sear.errors import InputError

PADDING = "[PAD]"
SLICE = 1 << 22  # events looked at at a time: what is made on the way stays small beside the columns themselves
LARGEST_EXACT_TIME = 2.0**53  # above it float64 skips whole numbers, so order could be lost


@dataclass
class Events:
    """Events sorted by user and time; users and items are numbered from 1 in the order the file first names them.

    user, item: int64 (events,); rating: float32 (events,), NaN = missing; time: float64 (events,);
    user_tokens, item_tokens: by number, [0] = "[PAD]"; has_rating: whether a rating column was read; hold_out: whether
    the last two events of a user validate and test, or train like all others.
    """

    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray
    time: np.ndarray
    user_tokens: "Tokens"
    item_tokens: "Tokens"
    has_rating: bool
    hold_out: bool = True

    def __len__(self) -> int:
        return len(self.user)

    @cached_property
    def offsets(self) -> np.ndarray:
        """int64 (users + 1,): user u's events, u from 1, are offsets[u - 1] .. offsets[u] - 1."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.user, minlength=len(self.user_tokens))[1:])])

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it but `hold_out` as arrays of numbers, for `from_arrays`."""
        tokens = {"user": self.user_tokens, "item": self.item_tokens}
        texts = {f"{kind}_{name}": array for kind, of in tokens.items() for name, array in of.arrays().items()}
        columns = {"user": self.user, "item": self.item, "rating": self.rating, "time": self.time}
        return columns | {"offsets": self.offsets, "has_rating": np.array(self.has_rating)} | texts

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Events":
        users, items = (Tokens(arrays[f"{kind}_text"], arrays[f"{kind}_ends"]) for kind in ("user", "item"))
        user, item, rating, time = (arrays[name] for name in ("user", "item", "rating", "time"))
        events = cls(user, item, rating, time, users, items, bool(arrays["has_rating"]))
        events.offsets = arrays["offsets"]
        return events

    @cached_property
    def training(self) -> np.ndarray:
        """bool (events,): which of them train."""
        return is_training(self.offsets, self.hold_out)


class Tokens(Sequence):
    """Ids as text by number; kept as bytes, which processes can share, and made texts when they are asked for.

    >>> tokens = Tokens.of(["[PAD]", "a", "bc"])
    >>> tokens[2], tokens[np.array([1, 2])].tolist(), len(tokens), list(tokens)
    ('bc', ['a', 'bc'], 3, ['[PAD]', 'a', 'bc'])
    """

    def __init__(self, text: np.ndarray, ends: np.ndarray):
        """text: uint8, all of them in UTF-8, one after the other; ends: int64, where each of them ends."""
        self._text, self._ends = text, ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Tokens":
        parts = [text.encode() for text in texts]
        ends = np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)))
        return cls(np.frombuffer(b"".join(parts), np.uint8), ends)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"text": self._text, "ends": self._ends}

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number):
        """One id, or an object array of those that an array or a slice of numbers names."""
        if isinstance(number, (int, np.integer)):
            return self._one(range(len(self))[number])
        numbers = np.arange(len(self))[number]
        if numbers.ndim == 0:
            return self._one(int(numbers))
        found = np.empty(numbers.shape, dtype=object)
        found.flat = [self._one(one) for one in numbers.ravel().tolist()]
        return found

    def __iter__(self) -> Iterator[str]:
        return map(self._one, range(len(self)))

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self[:]

    def _one(self, number: int) -> str:
        begin = int(self._ends[number - 1]) if number else 0
        return self._text[begin : self._ends[number]].tobytes().decode()


class Numbers(Mapping):
    """The number of each id, as a dictionary that is made when it is first asked."""

    def __init__(self, tokens: Sequence[str]):
        self._tokens = tokens

    @cached_property
    def _number(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self._tokens)}

    def __getitem__(self, token: str) -> int:
        return self._number[token]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tokens)

    def __len__(self) -> int:
        return len(self._tokens)


def rating_column(load_col: dict | None, rating: str) -> str | None:
    """The rating column to read; None where load_col lists the columns of `.inter` without it: then nobody rated."""
    listed = (load_col or {}).get("inter")
    return rating if not listed or rating in listed else None


def read_event_table(path: Path | str, user: str, item: str, time: str, rating: str | None) -> pd.DataFrame:
    """The columns user, item (pandas categories), time and rating (float64) of a `.inter` file, in file order.

    Raises:
        InputError: a column is missing or of the wrong type, an id is empty, a time is missing or not finite.
    """
    types = read_header(path)
    columns = [user, item, time] + ([rating] if rating in types else [])
    table = read_atomic(path, columns, codes=(user, item))
    for name in columns:
        wanted = "token" if name in (user, item) else "float"
        if types[name] != wanted:
            raise InputError(
                f"{path}, line 1: column {name!r} is of type {types[name]}, not {wanted} - mend the header"
            )
    for name in (user, item):
        bad = table[name].isin(["", PADDING]).to_numpy()  # PADDING would be taken for item or user 0
        _refuse(path, name, bad, table[name], "an id", "give it another or remove the line")
    times = table[time].to_numpy()
    _refuse(path, time, ~np.isfinite(times), table[time], "a finite time", "mend or remove the line")
    _refuse(path, time, abs(times) >= LARGEST_EXACT_TIME, table[time], "exact below 2^53", "write seconds")
    if rating is not None and rating in table:
        _refuse(path, rating, np.isinf(table[rating].to_numpy()), table[rating], "a finite rating", "mend the line")
    return table


def _refuse(path: Path | str, name: str, bad: np.ndarray, values: pd.Series, wanted: str, remedy: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        (value,) = values.iloc[[row]].tolist()  # a plain number: NumPy 2 writes its own as np.float64(1.0)
        raise InputError(f"{path}, line {row + 2}: {name} is {value!r}, not {wanted} - {remedy}")


def count_interval(text: str | None, key: str) -> tuple[float, float]:
    """Inclusive (low, high) of a RecBole interval such as `[5,inf)`; without one, every count is allowed."""
    if text is None or str(text) == "None":
        return 0, math.inf
    text = str(text).strip()
    try:
        low, high = (float(part) for part in text[1:-1].split(","))
        if text[0] not in "[(" or text[-1] not in "])" or low > high:
            raise ValueError
    except (ValueError, IndexError):
        raise InputError(f"{key}: {text!r} is no interval - write one such as '[5,inf)'") from None
    low = low if text[0] == "[" or math.isinf(low) else math.floor(low) + 1
    return low, high if text[-1] == "]" or math.isinf(high) else math.ceil(high) - 1


def core_events(
    table: pd.DataFrame, user: str, item: str, user_interval: tuple[float, float], item_interval: tuple[float, float]
) -> pd.DataFrame:
    """The rows left when every user and every item has a number of events inside its interval, in file order."""
    codes = (table[user].cat.codes.to_numpy(), table[item].cat.codes.to_numpy())
    mask = core_mask(*codes, user_interval, item_interval)
    return table if mask.all() else table[mask]


def sort_events(table: pd.DataFrame, user: str, item: str, time: str, rating: str | None) -> Events:
    """Number users and items by first appearance and sort by user and exact time; ties keep file order.

    The table is used up, a column at a time, so that no more than one of them is there twice.
    """
    count, has_rating = len(table), rating in table
    users, user_tokens = _number(table.pop(user))
    order = slice(None) if _is_sorted(users, table[time].to_numpy()) else np.lexsort((table[time].to_numpy(), users))
    users = users[order]
    items, item_tokens = _number(table.pop(item))
    items = items[order]
    ratings = table.pop(rating).to_numpy(np.float32)[order] if has_rating else np.full(count, np.nan, np.float32)
    times = np.array(table.pop(time).to_numpy()[order])  # one that may be written to, as torch wants it
    return Events(users, items, ratings, times, user_tokens, item_tokens, has_rating)


def _is_sorted(users: np.ndarray, times: np.ndarray) -> bool:
    """Whether events are in the order of their users, and those of a user in that of their times; files of
    sear.atomic_files are."""
    for start in range(0, len(users) - 1, SLICE):
        part = slice(start, start + SLICE + 1)
        steps = np.diff(users[part])
        if (steps < 0).any() or (np.diff(times[part])[steps == 0] < 0).any():
            return False
    return True


def _number(column: pd.Series) -> tuple[np.ndarray, Tokens]:
    """int64 (events,): numbers from 1 by first appearance; and the tokens by number, [0] = "[PAD]"."""
    codes, categories = column.cat.codes.to_numpy(), column.cat.categories.to_numpy(dtype=object)
    first = np.full(len(categories), len(codes))
    for start in reversed(range(0, len(codes), SLICE)):  # of all rows with a code the first is written last
        part = codes[start : start + SLICE][::-1]
        first[part] = np.arange(start + len(part) - 1, start - 1, -1)
    order = np.argsort(first, kind="stable")[: np.count_nonzero(first < len(codes))]
    number = np.zeros(len(categories), dtype=np.int64)
    number[order] = np.arange(1, len(order) + 1)
    return number[codes], Tokens.of([PADDING, *categories[order]])


def day(seconds: float) -> str:
    """The day of a Unix time (UTC); the number itself where it is none that a calendar has."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g}"


Interval = tuple[float, float]


def core_mask(
    user_codes: np.ndarray,
    item_codes: np.ndarray,
    user_interval: Interval = (5, np.inf),
    item_interval: Interval = (5, np.inf),
) -> np.ndarray:
    """bool (events,): the events left when every user and item has a number of events inside its interval.

    Codes are integers from 0; both ends of an interval are allowed numbers. Each round counts users and items
    together and only then drops events, as RecBole does: with an upper bound the order would change the result.
    """
    mask = np.ones(len(user_codes), dtype=bool)
    users, items = np.asarray(user_codes), np.asarray(item_codes)
    while len(users):
        lawful = _within(users, user_interval) & _within(items, item_interval)
        if lawful.all():
            break
        mask[np.flatnonzero(mask)] = lawful
        users, items = users[lawful], items[lawful]
    return mask


def _within(codes: np.ndarray, interval: Interval) -> np.ndarray:
    """bool (events,): whether a code occurs so often."""
    counts = np.zeros(int(codes.max()) + 1, dtype=np.int64)
    for start in range(0, len(codes), SLICE):  # bincount makes a wider copy of what it counts
        part = np.bincount(codes[start : start + SLICE])
        counts[: len(part)] += part
    low, high = interval
    return ((counts >= low) & (counts <= high))[codes]
