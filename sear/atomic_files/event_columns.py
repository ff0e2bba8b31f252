"""Events gathered from a dump line by line, kept as compact columns: 28 bytes an event, and each id once."""

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from reprlib import repr as shortened

import numpy as np

from sear.atomic_files.raw_lines import BadLine

# The largest plausible time in each unit: 1e11 seconds is the year 5138, 1e11 milliseconds is March 1973.
LARGEST_TIMES = (1e11, 1e14, 1e17)
TIME_UNITS = ((1.0, "seconds"), (1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "nanoseconds"))
NOT_IN_IDS = set("\t\n\r\0")  # some readers end a text at a NUL byte
PADDING = "[PAD]"  # RecBole's own name for "no item"


@dataclass
class EventTable:
    """Events sorted by user (in order of first appearance) and exact time, ties in file order.

    user, item: int32 (events,) codes from 0; time: float64 (events,) seconds; rating: float64 (events,), NaN = missing;
    user_tokens, item_tokens: the ids of the codes; repeats: exact repeats left out; time_unit: as the dump has it.
    """

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    rating: np.ndarray
    user_tokens: list[str]
    item_tokens: list[str]
    repeats: int
    time_unit: str


class EventColumns:
    """Grows by one event at a time and gives the sorted table in the end."""

    def __init__(self, rating_range: tuple[float, float]):
        self.rating_range = rating_range
        self.user_codes: dict[str, int] = {}
        self.item_codes: dict[str, int] = {}
        self._user, self._item, self._line = array("i"), array("i"), array("I")
        self._time, self._rating = array("d"), array("d")

    def __len__(self) -> int:
        return len(self._user)

    def add(self, line: int, user: object, item: object, time: object, rating: object) -> None:
        """Take the event of this line; a rating of None is missing.

        Raises:
            BadLine: an id, the time or the rating cannot be used; then nothing is kept of the event.
        """
        number, stars = _time(time), self._stars(rating)
        try:
            user_code, item_code = self.user_codes.get(user), self.item_codes.get(item)
        except TypeError:  # a list or an object, which no dictionary takes
            user_code = item_code = None
        if user_code is None or item_code is None:
            _check_id("user", user)
            _check_id("item", item)
            user_code = self.user_codes.setdefault(user, len(self.user_codes))
            item_code = self.item_codes.setdefault(item, len(self.item_codes))
        self._user.append(user_code)
        self._item.append(item_code)
        self._line.append(line)
        self._time.append(number)
        self._rating.append(stars)

    def _stars(self, rating: object) -> float:
        if rating is None:
            return math.nan
        try:
            value = float(rating)
        except (TypeError, ValueError, OverflowError):
            raise BadLine(f"rating {shortened(rating)} is no number") from None
        low, high = self.rating_range
        if not low <= value <= high:
            raise BadLine(
                f"rating {rating} is outside {low:g}..{high:g} (--rating_range=LOW,HIGH states another scale)"
            )
        return value

    def unlike_times(self) -> Iterator[tuple[int, str]]:
        """(line, what is wrong with it) of every event whose time is not in the unit of most, which `table` leaves out.

        Only all events together tell the unit: a single odd time, the first above all, says nothing of the others.
        """
        time = np.frombuffer(self._time, np.float64)
        units = _units(time)
        usual = _usual(units)
        for row in np.flatnonzero(units != usual).tolist():
            found, most = TIME_UNITS[units[row]][1], TIME_UNITS[usual][1]
            yield self._line[row], f"time {time[row]:.16g} is in {found}, where most lines have {most}"

    def compact_date(self) -> tuple[int, float] | None:
        """(line, time) of the first that reads like 20240501, with or without time of day, where most do."""
        time = np.frombuffer(self._time, np.float64)
        dates = _compact_dates(time)
        row = int(np.argmax(dates))
        return (self._line[row], time[row]) if 2 * np.count_nonzero(dates) > len(dates) else None

    def table(self) -> EventTable:
        """The sorted table, times in seconds, without exact repeats; what was gathered is given up then."""
        user, item = np.frombuffer(self._user, np.int32), np.frombuffer(self._item, np.int32)
        time, rating = np.frombuffer(self._time, np.float64), np.frombuffer(self._rating, np.float64)
        units = _units(time)
        factor, unit = TIME_UNITS[_usual(units)]
        alike = units == _usual(units)
        if not alike.all():
            user, item, time, rating = user[alike], item[alike], time[alike], rating[alike]
            user, self.user_codes = _renumbered(user, self.user_codes)
            item, self.item_codes = _renumbered(item, self.item_codes)
        order = _first_of_repeats(user, item, time, rating)
        order = order[np.lexsort((time[order], user[order]))]
        self._user, self._item, self._line = array("i"), array("i"), array("I")
        self._time, self._rating = array("d"), array("d")
        return EventTable(
            user[order],
            item[order],
            time[order] / factor,
            rating[order],
            list(self.user_codes),
            list(self.item_codes),
            len(user) - len(order),
            unit,
        )


def _time(time: object) -> float:
    try:
        value = float(time)
    except (TypeError, ValueError, OverflowError):
        raise BadLine("no time" if time is None or time == "" else f"time {shortened(time)} is no number") from None
    if not math.isfinite(value):
        raise BadLine(f"time {shortened(time)} is not finite")
    return value


def _units(time: np.ndarray) -> np.ndarray:
    """The unit of each time, a number into TIME_UNITS."""
    return np.searchsorted(LARGEST_TIMES, np.abs(time), side="right").astype(np.int8)


def _compact_dates(time: np.ndarray) -> np.ndarray:
    """bool (events,): which read as YYYYMMDD, YYYYMMDDhhmm or YYYYMMDDhhmmss of the years 1900 to 2100."""
    found = np.zeros(len(time), dtype=bool)
    for after_day in (1, 10**4, 10**6):
        rows = np.flatnonzero((time >= 19_000_101 * after_day) & (time < 21_010_101 * after_day))
        day, of_day = np.divmod(time[rows], after_day)
        of_day = of_day * 10**6 // after_day  # hhmmss
        month = day // 100 % 100
        lawful = (month >= 1) & (month <= 12) & (day % 100 >= 1) & (day % 100 <= 31)
        found[rows] |= lawful & (of_day < 240_000) & (of_day // 100 % 100 < 60) & (of_day % 100 < 60)
    return found


def _usual(units: np.ndarray) -> int:
    """The unit that most have; of two that are equally frequent the coarser one."""
    return int(np.argmax(np.bincount(units, minlength=len(TIME_UNITS))))


def _renumbered(values: np.ndarray, codes: dict[str, int]) -> tuple[np.ndarray, dict[str, int]]:
    """Codes from 0 without those that no event has any more, in the order of first appearance as before."""
    left, numbers = np.unique(values, return_inverse=True)
    tokens = list(codes)
    return numbers.astype(np.int32), {tokens[code]: number for number, code in enumerate(left.tolist())}


def _check_id(kind: str, token: object) -> None:
    if not isinstance(token, str) or not token.strip():
        raise BadLine(f"no {kind} id" if token is None or token == "" else f"{kind} id {shortened(token)} is no text")
    if token == PADDING or not NOT_IN_IDS.isdisjoint(token) or token != token.encode("utf-8", "replace").decode():
        raise BadLine(f"{kind} id {shortened(token)} cannot be written to an atomic file")


def _first_of_repeats(user: np.ndarray, item: np.ndarray, time: np.ndarray, rating: np.ndarray) -> np.ndarray:
    """Row numbers, ascending, of the events that repeat no earlier one in user, item, time and rating."""
    rating = np.nan_to_num(rating, nan=-np.inf)  # a missing rating equals a missing rating
    columns = (rating, time, item, user)
    order = np.lexsort(columns)  # stable: of equal events the earliest comes first
    first = np.zeros(len(order), dtype=bool)
    first[:1] = True
    for column in columns:
        values = column[order]
        first[1:] |= values[1:] != values[:-1]
    return np.sort(order[first])
