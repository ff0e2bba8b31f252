"""What is worth saying about the events and texts of a conversion."""

import re
import time
import unicodedata
from collections.abc import Callable, Iterable

import numpy as np

from sear.atomic_files.bad_lines import BadLines, counted
from sear.atomic_files.event_columns import EventColumns, EventTable
from sear.atomic_files.odd_times import SPREADSHEET_DAYS, YEAR, clocks_of
from sear.atomic_files.source import Source
from sear.atomic_files.values import SCIENTIFIC
from sear.data.events import day
from sear.errors import InputError

NO_IDS = frozenset(
    "null none nan na n/a nil undefined unknown (null) <na> #n/a \\n - ? -1 anonymous"
    " #ref! #name? #value! #null! #num! #div/0!".split()
)
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
SHEET_DATE = re.compile(rf"\d{{1,2}}-(?:{'|'.join(MONTHS)})|(?:{'|'.join(MONTHS)})-\d{{2}}", re.IGNORECASE)
WHOLE_WITH_POINT = re.compile(r"\d+\.0+")
MARKS = "\"'"
INVISIBLE = "\ufeff\u200b\u200e\u200f\u2060"  # byte order mark, marks of no width
MANY = 0.1  # a share of all events that no single user has, nor the rating 0 where it is one
STEPS = 20  # with fewer of them, they may all go up by chance
USERS = 100  # with fewer of them, one may well have many events
EARLIEST = 21 * YEAR  # 1991: hardly a data set of events is older


def text_notices(source: Source, table: EventTable, has_text: np.ndarray, differing: int) -> list[str]:
    """Items without text and rows that contradict; has_text, differing: as `write_items` gives them.

    Raises:
        InputError: no item has any text.
    """
    if not has_text.any():
        raise InputError(
            f"{source.item_path} has no text for any item of {source.event_path} - give the file with the same item"
            " ids, or do without texts with --no-text"
        )
    notices = []
    if not has_text.all():
        first = table.item_tokens[int(np.argmin(has_text))]
        missing = f"{np.count_nonzero(~has_text):,} of {len(has_text):,} items have no text"
        notices.append(f"{missing} (the first: {first}); their sentences will say so")
    if differing:
        told = f"{counted(differing, 'row')} with another text than an earlier row of the same item"
        notices.append(f"{told}: the first of each field counts")
    return notices


def event_notices(source: Source, table: EventTable) -> list[str]:
    """Repeats, missing ratings, another unit of time, ties."""
    missing = int(np.isnan(table.rating).sum())
    notices = [f"{counted(table.repeats, 'exact repeat')} (same user, item, time and rating) counted once"]
    if source.rating_range is None:
        notices.append("without a rating column: every event counts as unrated")
    elif missing:
        notices.append(f"{missing:,} of {len(table.rating):,} events have no rating: left empty, never invented")
    if source.by_line:
        if _sorted_by_item(table):
            notices.append(
                "THE EVENTS OF EACH USER ARE SORTED BY THEIR ITEMS' IDS: then the order of the lines is none of time,"
                " and no model can learn from it what comes next - fetch the data with times"
            )
        return notices
    if table.time_unit != "seconds":
        notices.append(f"times are in {table.time_unit}: written as seconds")
    if table.tied:
        shared = f"{table.tied:,} of {len(table.time):,} events share user and time with another"
        told = f"{shared}: the order of the file decides"
        if table.backwards:
            told += (
                "; the file runs backwards, newest events first, so these probably do too - reverse its lines, or name"
                " a second column that decides: --time=DATE,TIME"
            )
        notices.append(told)
    return notices


def _sorted_by_item(table: EventTable) -> bool:
    """Whether nearly every step from a user's event to the next goes up in the items' ids, or nearly every one down."""
    tokens = table.item_tokens
    number: Callable = _by_size if all(map(str.isdecimal, tokens)) else str
    rank = np.empty(len(tokens), dtype=np.int64)
    rank[sorted(range(len(tokens)), key=lambda code: number(tokens[code]))] = np.arange(len(tokens))
    steps = np.diff(rank[table.item])[np.diff(table.user) == 0]
    most = max(np.count_nonzero(steps > 0), np.count_nonzero(steps < 0))
    return len(steps) >= STEPS and bool(most > 0.99 * len(steps))


def _by_size(digits: str) -> tuple[int, str]:
    """What sorts whole numbers of any length, which int() does not take."""
    digits = digits.lstrip("0")
    return len(digits), digits


def value_notices(source: Source, columns: EventColumns) -> list[str]:
    """Ids, ratings and times that have lost their meaning on the way, before `columns` are made a table."""
    notices = []
    for kind, codes in (("user", columns.user_codes), ("item", columns.item_codes)):
        notices += _id_notices(kind, codes, columns)
    found = columns.ratings.found
    if found["minus one"]:
        lower = f"--rating_range=-1,{columns.ratings.high:g} if it is one"
        notices.append(f"{counted(found['minus one'], 'rating')} of -1, outside the scale: taken as none ({lower})")
    if found["truth"]:
        notices.append("ratings are true and false: written as 1 and 0")
        if found["number"]:
            notices.append("AMONG THEM ARE NUMBERS TOO: are these one scale?")
    zeros = columns.zero_ratings()
    if zeros > MANY * len(columns):
        notices.append(f"{zeros:,} of {len(columns):,} events are rated 0: if that means none, say so with --missing=0")
    user, events = columns.most_of_one_user()
    if len(columns.user_codes) >= USERS and events > MANY * len(columns):
        notices.append(
            f"{events:,} of {len(columns):,} events are of the user {user!r}: is that one user, or a word for none? -"
            " if it is none, leave these lines out"
        )
    notices += _time_notices(columns)
    if not source.by_line:
        notices += _far_notices(source, columns) + _clock_notices(columns)
    return notices


def _time_notices(columns: EventColumns) -> list[str]:
    """Times that are less exact than others, or less than they were."""
    notices = []
    scientific, dates, days, zones = (columns.times.found[kind] for kind in ("scientific", "date", "day", "zone"))
    if scientific:
        notices.append(
            f"{counted(scientific, 'time')} in scientific notation: a spreadsheet has cut off their last digits -"
            " export them as text"
        )
    if not columns.two_columns and 0 < days < dates:
        notices.append(
            f"{days:,} of {dates:,} dates have no time of day: they count as the first moment of their day, before the"
            " others of that day"
        )
    if 0 < zones < dates - days:
        count = dates - days - zones
        notices.append(f"{count:,} of {dates:,} dates have no time zone, where others have: taken as UTC")
    if columns.second_only_decides:
        notices.append(
            "the second column of --time puts events of an equal first one in order, and is no part of the times"
            " written (times of day like 14:30:00 would be)"
        )
    if columns.clocks_left_out:
        notices.append(
            "the times of day in the second column of --time only put events of an equal first one in order: the first"
            " has other times than midnights of one time zone, so they cannot be added - write both into one column"
        )
    return notices


def _far_notices(source: Source, columns: EventColumns) -> list[str]:
    notices = []
    for group, line, seconds in columns.far_times():
        path, number = source.place(line)
        share = f" ({group.count / len(columns):.1%})" if 1_000 * group.count >= len(columns) else ""
        where = f"the first: {path.name}, line {number}"
        events = f"{counted(group.count, 'event')}{share}"
        if group.alike:
            notices.append(
                f"{events} at {group.time:.16g}, {day(seconds)}, years away from all others ({where}): if that stands"
                " for an unknown time, remove these lines"
            )
        else:
            notices.append(
                f"{events} decades away from all others ({where}, {day(seconds)}): a"
                " missing time, or a line cut off? - mend or remove these lines"
            )
    return notices


def _clock_notices(columns: EventColumns) -> list[str]:
    """Half of all events are of years that no data set is of: what other clock these times may be of."""
    raw, seconds = columns.median_time()
    latest = time.time() + YEAR
    if EARLIEST <= seconds < latest:
        return []
    dates = columns.times.found["date"] > 0
    fitting = [] if dates else clocks_of(raw, EARLIEST, latest)
    guess = " or ".join(f"{name} ({day(found)})" for name, found in fitting)
    when = f"BEFORE 1991 (half of them by {day(seconds)})"
    if seconds >= latest:
        when = f"IN THE FUTURE (half of them from {day(seconds)} on)"
    told = f"MOST EVENTS ARE {when}"
    if guess:
        write = "write them as Unix seconds"
        if any(name == SPREADSHEET_DAYS for name, _ in fitting):
            write = "format the column as 2024-05-01 12:30 in the spreadsheet"
        return [f"{told}: do the times count {guess}? - {write}; their order is right"]
    if dates:
        return [f"{told}: are the dates right?"]
    remedy = "say what they are with --date_format, or that they are none with --time=line_order"
    return [f"{told}: are the times Unix times? If not, {remedy}"]


def _id_notices(kind: str, codes: Iterable[str], columns: EventColumns) -> list[str]:
    """Ids that may be two of one thing, or one of none."""
    notices = []
    blanks = [token for token in codes if token != _stripped(token)]
    if blanks:
        twins = sum(_stripped(token) in codes for token in blanks)
        notices.append(
            f"{counted(len(blanks), f'{kind} id')} with blanks around (the first: {blanks[0]!r}), kept as they are;"
            f" {twins:,} of them are another id without"
        )
    for token in codes:
        if len(token) < 12 and (token.strip().lower() in NO_IDS or not token.strip("# ")):
            count = counted(columns.events_of(kind, token), "event")
            notices.append(f"{count} of the {kind} {token!r}: is that one {kind}, or a word for none?")
    alike = [token for token in codes if (plain := _plain(token)) != token and plain in codes]
    if alike:
        notices.append(
            f"{counted(len(alike), f'{kind} id')} unlike another one in case, zeros in front, .0, quotation marks or"
            f" spelling alone (the first: {alike[0]!r}), kept apart: is each pair one {kind}? - write its id in one way"
        )
    return notices + _changed_ids(kind, codes)


def _changed_ids(kind: str, codes: Iterable[str]) -> list[str]:
    """Ids that a spreadsheet or another program has changed."""
    notices = []
    scientific = [token for token in codes if "e" in token.lower() and SCIENTIFIC.fullmatch(token)]
    if scientific:
        notices.append(
            f"{counted(len(scientific), f'{kind} id')} in scientific notation (the first: {scientific[0]}): a"
            " spreadsheet has cut off their last digits, and different ones may have become one - export ids as text"
        )
    dates = [token for token in codes if len(token) < 7 and SHEET_DATE.fullmatch(token)]
    if dates:
        notices.append(
            f"{counted(len(dates), f'{kind} id')} such as {dates[0]}: did a spreadsheet make a date of 1-2 or MAR1? -"
            " export ids as text"
        )
    marked = [token for token in codes if len(token) > 2 and token[-1] in MARKS and token[0] in (*MARKS, "=")]
    if marked:
        notices.append(
            f"{counted(len(marked), f'{kind} id')} between quotation marks (the first: {marked[0]}), kept as they are:"
            ' --quoting=csv takes " away, and other files must write the same ids'
        )
    pointed = sum("." in token and WHOLE_WITH_POINT.fullmatch(token) is not None for token in codes)
    if pointed:
        notices.append(
            f"{counted(pointed, f'{kind} id')} such as 12.0, kept as they are: whole numbers that became decimal ones"
        )
    return notices


def _plain(token: str) -> str:
    """What a spreadsheet, another program or a person may have made of an id."""
    if not token.isascii():
        token = unicodedata.normalize("NFKC", token)
    token = token.casefold().strip("\"'=")
    whole = WHOLE_WITH_POINT.fullmatch(token) if "." in token else None
    return (token.partition(".")[0] if whole else token).lstrip("0") or "0"


def _stripped(token: str) -> str:
    return token.strip().strip(INVISIBLE)


def cut_off_notices(bad_lines: BadLines) -> list[str]:
    """Files whose last line has no line break."""
    return [
        f"{path.name}: its last line ({line:,}) has no line break: if the file was cut off there, so was the last value"
        for path, line in bad_lines.without_end.items()
    ]
