"""Events gathered from a dump line by line, kept as compact columns: 28 bytes an event, and each id once."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from reprlib import repr as shortened
from typing import Any

import numpy as np

from sear.atomic_files.bad_lines import BadLine
from sear.atomic_files.digit_dates import Found, dates_in_digits
from sear.atomic_files.odd_times import Group, far_times
from sear.atomic_files.values import Ratings, Times

# The largest plausible time in each unit: 1e11 seconds is the year 5138, 1e11 milliseconds is March 1973.
LARGEST_TIMES = (1e11, 1e14, 1e17)
TIME_UNITS = ((1.0, "seconds"), (1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "nanoseconds"))
NOT_IN_IDS = set("\t\n\r\0")  # some readers end a text at a NUL byte
NAN = float("nan")
FILL_IN = {"user": "give each guest an id of their own", "item": "give each item its id"}
PADDING = "[PAD]"  # RecBole's own name for "no item"
DAY = 86_400  # seconds
LOOKED_AT = 1 << 22  # events looked at at a time, or at all where some suffice


@dataclass
class EventTable:
    """Events sorted by user (in order of first appearance) and exact time, ties in file order.

    user, item: int32 (events,) codes from 0; time: float64 (events,) seconds; rating: float64 (events,), NaN = missing;
    user_tokens, item_tokens: the ids of the codes; repeats: exact repeats left out; time_unit: as the dump has it;
    tied: events that another of the same user equals in time; backwards: whether the file has the newest events first.
    """

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    rating: np.ndarray
    user_tokens: list[str]
    item_tokens: list[str]
    repeats: int
    time_unit: str
    tied: int
    backwards: bool


class EventColumns:
    """Grows by one event at a time and gives the sorted table in the end."""

    def __init__(self, rating_range: tuple[float, float], ratings: Ratings | None = None, times: Times | None = None):
        self.ratings = ratings or Ratings(rating_range)
        self.times = times or Times()
        self.user_codes: dict[str, int] = {}
        self.item_codes: dict[str, int] = {}
        self._clear()

    def _clear(self) -> None:
        self._user, self._item, self._line = array("i"), array("i"), array("I")
        self._time, self._rating = array("d"), array("d")
        self._second = array("d")  # of times in two columns: what decides between equal times
        self.clocks = 0  # events of which that is a time of day

    def __len__(self) -> int:
        return len(self._user)

    def add(self, line: int, user: Any, item: Any, time: Any, rating: Any) -> None:
        """Take the event of this line; a time may be a pair, of which the second decides where the first is equal.

        Raises:
            BadLine: an id, the time or the rating cannot be used; then nothing is kept of the event.
        """
        pair = type(time) is tuple
        number, second, is_clock = self.times.ordered(*time) if pair else (self.times(time), None, False)
        stars = NAN if rating is None else self.ratings(rating)
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
        if second is not None:
            self._second.append(second)
            self.clocks += is_clock

    @property
    def two_columns(self) -> bool:
        """Whether times stand in two columns."""
        return len(self._second) > 0

    @property
    def second_only_decides(self) -> bool:
        """Whether they do, and the second is no time of day that can be added to the first."""
        return self.two_columns and not self.clocks

    @property
    def clocks_left_out(self) -> bool:
        """Whether the second is a time of day, and the first no day that it can be added to: it only decides, then."""
        if not self.clocks:
            return False
        time, per_second, alike = self._in_usual_unit()
        return not _are_days(time[alike] / per_second)

    def events_of(self, kind: str, token: str) -> int:
        """How many events the user or item of this id has."""
        codes, values = (self.user_codes, self._user) if kind == "user" else (self.item_codes, self._item)
        return int(np.count_nonzero(np.frombuffer(values, np.int32) == codes[token]))

    def most_of_one_user(self) -> tuple[str, int]:
        """The user with the most events, and how many these are."""
        user, counts = np.frombuffer(self._user, np.int32), np.zeros(len(self.user_codes), dtype=np.int64)
        for start in range(0, len(user), LOOKED_AT):  # bincount makes a wider copy of what it counts
            counts += np.bincount(user[start : start + LOOKED_AT], minlength=len(counts))
        most = int(np.argmax(counts))
        return next(islice(self.user_codes, most, None)), int(counts[most])

    def zero_ratings(self) -> int:
        """How many ratings are 0, where some are above 1."""
        rating = np.frombuffer(self._rating, np.float64)
        return int(np.count_nonzero(rating == 0)) if (rating > 1).any() else 0

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

    def digit_dates(self) -> tuple[int, float, Found] | None:
        """(line, time, how it would be read) of the first that reads like 20240501 or 31122024, where most do."""
        time = np.frombuffer(self._time, np.float64)
        found = dates_in_digits(time)
        return (self._line[found.row], time[found.row], found) if found else None

    def far_times(self) -> list[tuple[Group, int, float]]:
        """(events, line of the first, its time in seconds) of those that lie years before or after all others."""
        time, per_second, alike = self._in_usual_unit()
        user = np.frombuffer(self._user, np.int32)
        groups = far_times(time if alike.all() else np.where(alike, time, NAN), user, per_second)
        return [(group, self._line[group.row], group.time / per_second) for group in groups]

    def median_time(self) -> tuple[float, float]:
        """The time in the middle: as the file has it, and in seconds."""
        time, per_second, alike = self._in_usual_unit()
        median = float(np.median(time if alike.all() else time[alike]))
        return median, median / per_second

    def _in_usual_unit(self) -> tuple[np.ndarray, float, np.ndarray]:
        """All times; how many of their usual unit make a second; and which are in it."""
        time = np.frombuffer(self._time, np.float64)
        units = _units(time)
        usual = _usual(units)
        return time, TIME_UNITS[usual][0], units == usual

    def table(self) -> EventTable:
        """The sorted table, times in seconds, without exact repeats; what was gathered is given up then."""
        self._line = array("I")
        units = _units(np.frombuffer(self._time, np.float64))
        usual = _usual(units)
        alike = units == usual
        gathered = len(alike)
        factor, unit = TIME_UNITS[usual]
        user, item = self._given_up("_user", np.int32, alike), self._given_up("_item", np.int32, alike)
        time, rating = self._given_up("_time", np.float64, alike), self._given_up("_rating", np.float64, alike)
        second = self._given_up("_second", np.float64, alike) if len(self._second) else None
        if len(user) < gathered:
            user, self.user_codes = _renumbered(user, self.user_codes)
            item, self.item_codes = _renumbered(item, self.item_codes)
        if second is not None and self.clocks and _are_days(time / factor):
            time, second = time + factor * second, None
        backwards = _runs_backwards(user, time)
        seconds = () if second is None else (second,)
        order = np.lexsort((*seconds, time, user))  # of equal events the earliest comes first
        order = order[_first_of_repeats(order, user, time, item, rating, *seconds)]
        user, time = user[order], time[order]
        tied = _tied(user, time, *(column[order] for column in seconds))
        time /= factor
        item, rating = item[order], rating[order]
        tokens = list(self.user_codes), list(self.item_codes)
        repeats = int(np.count_nonzero(alike)) - len(order)
        return EventTable(user, item, time, rating, *tokens, repeats, unit, tied, backwards)

    def _given_up(self, name: str, dtype: type, alike: np.ndarray) -> np.ndarray:
        """A column's values in the rows `alike`; they are gathered no more."""
        gathered = getattr(self, name)
        setattr(self, name, array(gathered.typecode))
        values: np.ndarray = np.frombuffer(gathered, dtype)
        return values if alike.all() else values[alike]


def _units(time: np.ndarray) -> np.ndarray:
    """The unit of each time, a number into TIME_UNITS."""
    return np.searchsorted(LARGEST_TIMES, np.abs(time), side="right").astype(np.int8)


def _usual(units: np.ndarray) -> int:
    """The unit that most have; of two that are equally frequent the coarser one."""
    return int(np.argmax(np.bincount(units, minlength=len(TIME_UNITS))))


def _are_days(seconds: np.ndarray) -> bool:
    """Whether these are midnights of one time zone, by summer or winter time, to which times of day can be added."""
    of_day = seconds % DAY
    others = of_day[of_day != of_day[:1]]
    return not (of_day % 900).any() and bool((others == others[:1]).all())


def _renumbered(values: np.ndarray, codes: dict[str, int]) -> tuple[np.ndarray, dict[str, int]]:
    """Codes from 0 without those that no event has any more, in the order of first appearance as before."""
    left, numbers = np.unique(values, return_inverse=True)
    tokens = list(codes)
    return numbers.astype(np.int32), {tokens[code]: number for number, code in enumerate(left.tolist())}


def _check_id(kind: str, token: object) -> None:
    if token is None or (isinstance(token, str) and not token.strip()):
        raise BadLine(f"no {kind} id", fill_in=FILL_IN[kind])
    if not isinstance(token, str):
        raise BadLine(f"{kind} id {shortened(token)} is no text")
    if token == PADDING or not NOT_IN_IDS.isdisjoint(token) or token != token.encode("utf-8", "replace").decode():
        raise BadLine(f"{kind} id {shortened(token)} cannot be written to an atomic file")


def _tied(user: np.ndarray, *times: np.ndarray) -> int:
    """How many events of a sorted table another one of the same user equals in every column of `times`."""
    same = user[1:] == user[:-1]
    for time in times:
        same &= time[1:] == time[:-1]
    tied = np.zeros(len(user), dtype=bool)
    tied[1:] |= same
    tied[:-1] |= same
    return int(np.count_nonzero(tied))


def _runs_backwards(user: np.ndarray, time: np.ndarray) -> bool:
    """Whether a user's later line has the earlier event, nine times out of ten; of many events, those of some users."""
    if len(user) > LOOKED_AT:
        some = user % (len(user) // LOOKED_AT + 1) == 0
        user, time = user[some], time[some]
    order = np.argsort(user, kind="stable")
    steps = np.diff(time[order])[np.diff(user[order]) == 0]
    down, up = np.count_nonzero(steps < 0), np.count_nonzero(steps > 0)
    return bool(down > 9 * up)


def _first_of_repeats(order: np.ndarray, user: np.ndarray, time: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """bool: which events repeat no earlier one in any column; NaN equals NaN.

    order: the events' row numbers by user and time, those equal in both in file order. Repeats are equal in both, so
    that no other events need be compared.
    """
    tied = np.zeros(len(order), dtype=bool)
    for start in range(0, len(order) - 1, LOOKED_AT):
        rows = order[start : start + LOOKED_AT + 1]
        same = (user[rows[1:]] == user[rows[:-1]]) & (time[rows[1:]] == time[rows[:-1]])
        tied[start + 1 : start + len(rows)] |= same
        tied[start : start + len(rows) - 1] |= same
    places = np.flatnonzero(tied)
    rows = order[places]
    columns = [np.nan_to_num(column[rows], nan=-np.inf) for column in (*others, time, user)]
    by_value = np.lexsort((rows, *columns))
    first = np.zeros(len(rows), dtype=bool)
    first[:1] = True
    for column in columns:
        values = column[by_value]
        first[1:] |= values[1:] != values[:-1]
    kept = np.ones(len(order), dtype=bool)
    kept[places[by_value[~first]]] = False
    return kept
