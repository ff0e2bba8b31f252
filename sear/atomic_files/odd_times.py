"""Times of other years than the data's: placeholders, far from all others; and clocks that are not Unix's."""

from dataclasses import dataclass

import numpy as np

YEAR = 365.25 * 86_400  # seconds
EDGE = 12_000  # years before and after 1970 that are counted one by one
DECADE = 10  # years without events on the way to the others
PLACEHOLDERS = (-1, 0, 315_532_800, 946_684_800)  # Unix seconds; 1980 and 2000 begin; others are a decade away anyway
SEVERAL = 5  # users; a few of the earliest ones may share their day by chance
SLICE = 1 << 22  # events looked at at a time
LOOKED_AT = 8  # of the groups of years, the largest
MOST_TOLD = 4
SPREADSHEET_DAYS = "days since 1900, as spreadsheets do"
CLOCKS = (  # what they count, how many of it make a second, and where they begin in Unix seconds
    ("microseconds since 1601, as Chrome does", 1e6, -11_644_473_600),
    ("100 ns since 1601, as Windows does", 1e7, -11_644_473_600),
    ("100 ns since the year 1, as .NET does", 1e7, -62_135_596_800),
    ("tenths of a second", 10, 0),
    ("hundredths of a second", 100, 0),
    ("100 ns", 1e7, 0),
    ("seconds since 1900, as NTP does", 1, -2_208_988_800),
    ("minutes", 1 / 60, 0),
    ("hours", 1 / 3_600, 0),
    ("days", 1 / 86_400, 0),
    (SPREADSHEET_DAYS, 1 / 86_400, -25_569 * 86_400),
    ("Julian days", 1 / 86_400, -2_440_587.5 * 86_400),
    ("days since the year 0, as MATLAB does", 1 / 86_400, -719_529 * 86_400),
)


@dataclass(frozen=True)
class Group:
    """Events of years that follow each other; row: of the first of them in the file, time: its own, alike: all have it.

    first, last: the years, from 1970 on; users: how many users' they are, where all are alike, counted up to SEVERAL.
    """

    first: int
    last: int
    count: int
    row: int
    time: float
    alike: bool
    users: int


def far_times(time: np.ndarray, user: np.ndarray, per_second: float) -> list[Group]:
    """Events that lie a decade or more before or after all others, or years away and all at one and the same time.

    time: float64 (events,), NaN for events that do not count; user: int32 (events,); per_second: of the times' unit.
    """
    years = np.empty(len(time), dtype=np.int16)
    counts = np.zeros(2 * EDGE + 2, dtype=np.int64)  # the last: NaN
    for start in range(0, len(time), SLICE):
        part = slice(start, start + SLICE)
        found = np.clip(np.floor(time[part] / (per_second * YEAR)), -EDGE, EDGE)
        years[part] = np.nan_to_num(found, nan=EDGE + 1)
        counts += np.bincount(years[part] + EDGE, minlength=len(counts))
    known = np.flatnonzero(counts[:-1])
    spans = [(part[0], part[-1]) for part in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1) if len(part)]
    spans.sort(key=lambda span: -counts[span[0] : span[1] + 1].sum())
    if len(spans) < 2:
        return []
    groups = [_group(time, user, years, first - EDGE, last - EDGE) for first, last in spans[:LOOKED_AT]]
    main = max(groups, key=lambda group: (not group.alike, group.count))
    if main.alike:
        return []
    return sorted(_far(groups, main, len(time), per_second), key=lambda group: group.row)[:MOST_TOLD]


def _group(time: np.ndarray, user: np.ndarray, years: np.ndarray, first: int, last: int) -> Group:
    count, row, alike = 0, -1, True
    users: set[int] = set()
    for start in range(0, len(time), SLICE):
        inside = (
            np.flatnonzero((years[start : start + SLICE] >= first) & (years[start : start + SLICE] <= last)) + start
        )
        if len(inside):
            row = row if count else int(inside[0])
            count += len(inside)
            alike = alike and bool((time[inside] == time[row]).all())
            if alike and len(users) < SEVERAL:
                users.update(np.unique(user[inside])[:SEVERAL].tolist())
    return Group(int(first), int(last), count, row, float(time[row]), alike and count > 1, min(len(users), SEVERAL))


def _far(groups: list[Group], main: Group, events: int, per_second: float) -> list[Group]:
    """Those that do not belong to the years of the main group, seen from there outwards."""
    far = []
    for before in (True, False):
        edge = main.first if before else main.last
        side = [group for group in groups if (group.last < main.first if before else group.first > main.last)]
        for group in sorted(side, key=lambda group: group.first, reverse=before):
            gap = edge - group.last if before else group.first - edge
            one_time = group.alike and (group.users == SEVERAL or group.time / per_second in PLACEHOLDERS)
            if one_time or (gap > DECADE and (group.alike or 3 * group.count < events)):
                far.append(group)
            else:
                edge = group.first if before else group.last
    return far


def clocks_of(time: float, earliest: float, latest: float) -> list[tuple[str, float]]:
    """(what a clock counts, Unix seconds) of those by which this time lies between `earliest` and `latest`."""
    found = [(name, time / per_second + begin) for name, per_second, begin in CLOCKS]
    return [(name, seconds) for name, seconds in found if earliest <= seconds < latest]
