"""A user's own tables: one with user, item and time, the items' texts in it or in a second one."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sear.atomic_files.bad_lines import BadLines, counted
from sear.atomic_files.column_names import looks_like_time, recognised
from sear.atomic_files.parquet import ParquetTable
from sear.atomic_files.plain_text import joined, one_line
from sear.atomic_files.reading import AS_SHOWN, Reading
from sear.atomic_files.source import Event, ItemRow, Source
from sear.atomic_files.table_choice import Parts, only, open_tables, unread
from sear.atomic_files.tables import Table
from sear.atomic_files.values import Times
from sear.errors import InputError

RATING_RANGE = (0.5, 5.0)
EXACT = 2.0**53  # decimal numbers from here on are rounded
NOT_IN_NAMES = set(":\t\r\n")  # in the header of an atomic file
NULL = "\\N"  # as MySQL writes a text that is not there
LINE_ORDER = "line_order"  # as --time: the table has none


@dataclass(frozen=True)
class Columns:
    """What the user's columns are called; rating "" and text () where there are none.

    time: "" where the table has none; text_item: what the table of texts calls the item, "" where it is `item`.
    """

    user: str = ""
    item: str = ""
    time: str = ""
    rating: str = ""
    text: tuple[str, ...] = ()
    text_item: str = ""


def find(path: Path, columns: Columns, no_text: bool, reading: Reading = AS_SHOWN) -> Source:
    """The tables in `path`, a folder or a single file.

    Raises:
        InputError: no table, or more than one, has the columns named.
    """
    columns = _completed(columns, reading)
    for option in ("user", "item"):
        if not getattr(columns, option):
            raise InputError(f"--{option}=COLUMN is missing: --format=csv needs --user, --item and --time")
    faulty = [name for name in columns.text if NOT_IN_NAMES & set(name) or name == "item_id"]
    if faulty or len(set(columns.text)) < len(columns.text):
        raise InputError(
            f"--text={','.join(columns.text)!r}: names must differ, hold no ':', tab or line break and not be item_id"
            " - rename the columns"
        )
    texts = columns.text if not no_text else ()
    text_item = columns.text_item or columns.item
    tables, others = open_tables(path, reading, {*_event_names(columns), text_item, *texts})
    times = _time_columns(columns.time, tables)
    names = [name for name in (columns.user, columns.item, *times, columns.rating) if name]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise InputError(f"--user, --item, --time and --rating name {twice[0]!r} twice - give each a column of its own")
    events = only(path, tables, others, names, "")
    if not times and columns.time != LINE_ORDER:
        _refuse_unread_time(events, names)
    items = only(path, tables, others, [text_item, *texts], columns.item) if texts else None
    read = {(columns.user, columns.item, *times): events} | ({(text_item, *texts): items} if items else {})
    left_out = unread(path, read, tables, others)
    source = _source(events, items, replace(columns, text=texts, text_item=text_item), times, reading)
    source.notices += left_out
    return source


def _completed(columns: Columns, reading: Reading) -> Columns:
    """--columns=user,item,rating,time names the roles by itself."""
    user, item, time, rating = (
        getattr(columns, role) or (role if role in reading.columns else "")
        for role in ("user", "item", "time", "rating")
    )
    return replace(columns, user=user, item=item, time=time, rating=rating)


def _event_names(columns: Columns) -> list[str]:
    times = [columns.time, *columns.time.split(",")]
    return [name for name in (columns.user, columns.item, *times, columns.rating) if name]


def _time_columns(time: str, tables: list[Table]) -> list[str]:
    """The columns of the time: one, or DATE,TIME where no column has that name."""
    if time in ("", LINE_ORDER) and not any(time in table.columns for table in tables if time):
        return []
    whole = any(time in table.columns for table in tables) or "," not in time
    names = [time] if whole else [name.strip() for name in time.split(",")]
    if len(names) > 2:
        raise InputError(f"--time={time!r} names {len(names)} columns - give one, or two: DATE,TIME")
    return names


def _source(events: Parts, items: Parts | None, columns: Columns, times: list[str], reading: Reading) -> Source:
    both = items is not None and items.path == events.path
    told = [columns.text_item, *columns.text]
    clock = Times(reading)
    alone = (times[0], clock.reads) if times else None
    source = Source(
        "csv",
        events.path,
        items.path if items else None,
        dict.fromkeys(columns.text, "token_seq"),
        RATING_RANGE if columns.rating else None,
        lambda bad_lines: _events(source, events, columns, times, alone, bad_lines),
        # bad lines of a table that holds both are reported once
        lambda bad_lines: _items(
            items or Parts(), told, BadLines(skip=True) if both else bad_lines, alone if both else None
        ),
        by_line=not times,
    )
    source.notices += _notices(events, items, source)
    return source


def _notices(events: Parts, items: Parts | None, source: Source) -> list[str]:
    tables = list({table.path: table for table in [*events.tables, *(items.tables if items else [])]}.values())
    told = [f"{table.path.name}: {table.told}" for table in tables if table.told]
    if len(events.tables) > 1:
        told.append(f"{counted(len(events.tables), 'part')} of one table, read in the order of their names")
    if source.by_line:
        told.append(
            "no column of times: the order of the lines stands for it, and the number of the line is the timestamp"
        )
    return told


def _refuse_unread_time(events: Parts, names: Sequence[str]) -> None:
    """A table that has times is not read in the order of its lines unless that is asked for."""
    table = events.tables[0]
    rows = table.first_rows()
    for place, name in enumerate(table.columns):
        values = [row[place] for row in rows if len(row) > place]
        if name not in names and (recognised([name]).get("time") or looks_like_time(values)):
            raise InputError(
                f"{table.path}: --time is missing, and the column {name!r} looks like times - give --time={name}, or"
                f" --time={LINE_ORDER} to take the lines in their order"
            )


def _events(
    source: Source, events: Parts, columns: Columns, times: list[str], alone, bad_lines: BadLines
) -> Iterator[Event]:
    names = [columns.user, columns.item, *times, *([columns.rating] if columns.rating else [])]
    source.parts, before, last, rounded = [], 0, 0, []
    for table in events.tables:
        _require_types(table, columns, times)
        source.parts.append((before, table.path))
        exact = [
            table.exact_below(name) if isinstance(table, ParquetTable) else EXACT
            for name in (columns.user, columns.item)
        ]
        for line, (user, item, *rest) in table.rows(names, bad_lines, alone):
            last = before + line
            time = (rest[0], rest[1]) if len(times) == 2 else rest[0] if times else last
            if type(user) is float or type(item) is float:
                ids = zip((user, item), exact, strict=True)
                rounded += [found for found in ids if type(found[0]) is float and abs(found[0]) >= found[1]][:1]
            stars = rest[len(times)] if columns.rating else None
            yield (
                last,
                user if type(user) is str else token(user),
                item if type(item) is str else token(item),
                time,
                stars,
            )
        before = max(last, before + bad_lines.last_lines[table.path])
    if rounded:
        value, limit = rounded[0]
        source.notices.append(
            f"{counted(len(rounded), 'event')} with an id that is a decimal number above 2^{math.log2(limit):.0f}"
            f" (first: {value!r}): it has lost its last digits, and different ids may have become one - export ids as"
            " text"
        )


def _require_types(table: Table, columns: Columns, times: list[str]) -> None:
    if isinstance(table, ParquetTable):
        purposes = {columns.user: "ids", columns.item: "ids"} | dict.fromkeys(times, "time")
        table.require_types(purposes | ({columns.rating: "rating"} if columns.rating else {}))


def _items(items: Parts, names: list[str], bad_lines: BadLines, alone) -> Iterator[ItemRow]:
    for table in items.tables:
        if isinstance(table, ParquetTable):
            table.require_types(dict.fromkeys(names, "text") | {names[0]: "ids"})
        for _, (item, *texts) in table.rows(names, bad_lines, alone):
            yield token(item), [joined(text, one_line) if text != NULL else "" for text in texts]


def token(value: Any) -> Any:
    """An id as text: 12 and 12.0 (an integer column with gaps) are both `12`."""
    if isinstance(value, (str, bool)) or value is None:
        return value
    try:
        return str(int(value)) if value == int(value) else str(value)
    except (TypeError, ValueError, OverflowError):  # a list, NaN: no id
        return value
