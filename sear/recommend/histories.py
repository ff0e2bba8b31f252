"""Histories that somebody brings along, as item numbers: a table of many users, or a list of one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from sear.errors import InputError
from sear.recommend.catalogue import Catalogue
from sear.runs.model_folder import UserHistories

STANDARD = {"user": "user_id", "item": "item_id", "rating": "rating", "time": "timestamp"}
HIGHEST = 1e6  # that a rating may be; the network's numbers would overflow far above
History: TypeAlias = pd.DataFrame | Sequence[Any]


def from_table(
    table: pd.DataFrame, catalogue: Catalogue, columns: Mapping[str, str], place: str = "history"
) -> tuple[UserHistories, int]:
    """Everybody's history, users in the order in which they first come, and how many events had unknown items.

    Args:
        table: one row per event: user, item and, where there are any, rating and time, a number or an ISO date. Without
            times the rows stand in order.
        columns: what the model's own data call them: {"user": …, "item": …, "rating": …, "time": …}; the names in
            STANDARD are understood too.
        place: what messages call the table.

    Raises:
        InputError: a column is missing, or holds what it must not.
    """
    names = {role: name for role in STANDARD if (name := _column(table, role, columns))}
    for role in ("user", "item"):
        if role not in names:
            have = ", ".join(map(str, table.columns))
            remedy = f"rename yours, or name it on the command line: --{role}=COLUMN (--rating and --time likewise)"
            raise InputError(f"{place} has no column {STANDARD[role]} (it has: {have}) - {remedy}")
        if table[names[role]].isna().any():
            row = int(np.argmax(table[names[role]].isna().to_numpy())) + 1
            raise InputError(f"{place}, row {row}: {names[role]} is empty - give it a value, or remove the row")
    user, ids = pd.factorize(table[names["user"]].astype(str))
    time = _times(table, names["time"], place) if "time" in names else np.zeros(len(table))
    if np.isnan(time).any():
        row = int(np.argmax(np.isnan(time))) + 1
        raise InputError(f"{place}, row {row}: {names['time']} is empty - give it a value, or remove the row")
    order = np.lexsort((time, user))
    codes, tokens = pd.factorize(table[names["item"]].astype(str))
    item = np.array([catalogue.numbers.get(token, 0) for token in tokens], dtype=np.int32)[codes]
    rating = _numbers(table, names["rating"], place) if "rating" in names else np.full(len(table), np.nan)
    if (np.abs(rating) > HIGHEST).any():
        row = int(np.nanargmax(np.abs(rating))) + 1
        raise InputError(f"{place}, row {row}: {names['rating']} is {rating[row - 1]:g}, above {HIGHEST:g} - mend it")
    known = order[item[order] > 0]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(user[known], minlength=len(ids)))]).astype(np.int64)
    return UserHistories(list(ids), offsets, item[known], rating[known].astype(np.float32)), len(table) - len(known)


def from_list(events: Sequence[Any], catalogue: Catalogue) -> tuple[UserHistories, int]:
    """The history of one user without a name: item ids, or pairs of an id and a rating; the oldest first.

    Raises:
        InputError: a pair has another length, or its rating is no number.
    """
    if isinstance(events, str):
        raise InputError(f"history is the text {events!r} - write a list of item ids, such as [{events!r}]")
    if not isinstance(events, Iterable):
        raise InputError(f"history is {events!r} - write a table, or a list of item ids")
    pairs = [_pair(event) for event in events]
    numbers = np.array([catalogue.numbers.get(item, 0) for item, _ in pairs], dtype=np.int32)
    rating = np.array([stars for _, stars in pairs], dtype=np.float32)
    known = numbers > 0
    offsets = np.array([0, known.sum()], dtype=np.int64)
    return UserHistories([None], offsets, numbers[known], rating[known]), len(pairs) - int(known.sum())  # type: ignore[list-item]


def _pair(event: Any) -> tuple[str, float]:
    if not isinstance(event, (tuple, list)):
        return str(event), np.nan
    try:
        item, rating = event
        return str(item), stars(rating)
    except (ValueError, TypeError):
        raise InputError(
            f"history: {event!r} is no pair of an item id and a rating - write (id, 4.0), or the id alone"
        ) from None


def stars(rating: Any) -> float:
    """A rating as the model reads it, None as NaN. Raises ValueError or TypeError for what is no such number."""
    value = np.nan if rating is None else float(rating)
    if abs(value) > HIGHEST:
        raise ValueError(rating)
    return value


def selected(histories: UserHistories, rows: np.ndarray) -> UserHistories:
    """The histories of some users, in this order."""
    length = np.diff(histories.offsets)[rows]
    offsets = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    at = np.arange(offsets[-1]) + np.repeat(histories.offsets[rows] - offsets[:-1], length)
    ids = [histories.user_ids[row] for row in rows]
    return UserHistories(ids, offsets, histories.item[at], histories.rating[at])


def joined(*parts: UserHistories) -> UserHistories:
    """The users of all parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    events = (np.concatenate([getattr(part, name) for part in parts]) for name in ("item", "rating"))
    return UserHistories([user for part in parts for user in part.user_ids], offsets, *events)


def _column(table: pd.DataFrame, role: str, columns: Mapping[str, str]) -> str | None:
    return next((name for name in (columns.get(role), STANDARD[role]) if name in table), None)


def _numbers(table: pd.DataFrame, name: str, place: str) -> np.ndarray:
    """float64 of a column of numbers, NaN = empty. Raises InputError where it holds anything else."""
    values = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    bad = (np.isnan(values) & ~table[name].isna().to_numpy()) | np.isinf(values)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(f"{place}, row {row + 1}: {name} is {table[name].iloc[row]!r}, no number - mend it")
    return values


def _times(table: pd.DataFrame, name: str, place: str) -> np.ndarray:
    """float64 of a column of numbers or of ISO dates, these as seconds, NaN = empty; raises as `_numbers`."""
    column = table[name]
    is_date = pd.api.types.is_datetime64_any_dtype(column)
    if not is_date and not pd.api.types.is_numeric_dtype(column):
        is_date = pd.to_numeric(column, errors="coerce").isna().sum() > column.isna().sum()
    if not is_date:
        return _numbers(table, name, place)
    found = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")
    bad = found.isna() & column.notna()
    if bad.any():
        row = int(np.argmax(bad))
        told = f"{name} is {column.iloc[row]!r}, no number and no date as it is read here"
        raise InputError(f"{place}, row {row + 1}: {told} - write dates as 2026-01-31 12:00")
    return ((found - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(np.float64)
