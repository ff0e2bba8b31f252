"""Columns that their names give away: which one holds the users, the items, the times and the ratings."""

import re
from collections.abc import Sequence

from sear.atomic_files.values import iso_seconds

NAMES = {
    "user": "user userid uid username customer customerid reviewer reviewerid member memberid visitorid userindex",
    "item": "item itemid iid asin parentasin product productid movie movieid business businessid book bookid isbn game "
    "gameid appid track trackid song songid article articleid anime animeid newsid recipeid venueid poi locationid",
    "time": "time timestamp unixreviewtime unixtime ts date datetime createdat timestamps reviewdate",
    "rating": "rating ratings stars star starrating overall score bookrating userrating",
}
ROLES = {name: role for role, names in NAMES.items() for name in names.split()}
LONGEST_NAME = 40  # characters
EARLIEST, LATEST = 631_152_000, 4_102_444_800  # 1990 and 2100


def recognised(columns: Sequence[str]) -> dict[str, str]:
    """Role -> column, of the roles that exactly one column's name stands for."""
    found: dict[str, list[str]] = {}
    for column in columns:
        if len(column) > LONGEST_NAME:
            continue
        role = ROLES.get(re.sub(r"[\W\d_]", "", column.lower()))
        if role:
            found.setdefault(role, []).append(column)
    return {role: names[0] for role, names in found.items() if len(names) == 1}


def looks_like_time(values: Sequence[object]) -> bool:
    """Whether these are dates, or Unix times between 1990 and 2100 in one unit."""
    return bool(values) and all(map(_is_time, values))


def _is_time(value: object) -> bool:
    if isinstance(value, str):
        if iso_seconds(value.strip()) is not None:
            return True
        try:
            value = float(value)
        except ValueError:
            return False
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return hasattr(value, "year")
    return any(EARLIEST <= value / unit < LATEST for unit in (1, 1e3, 1e6, 1e9))
