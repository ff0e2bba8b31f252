"""A user's own tables: one with user, item and time, the items' texts in it or in a second one."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from sear.atomic_files.bad_lines import BadLines, counted
from sear.atomic_files.column_names import looks_like_time, recognised
from sear.atomic_files.parquet import ParquetTable
from sear.atomic_files.plain_text import joined, one_line
from sear.atomic_files.reading import AS_SHOWN, UNNAMED, Reading
from sear.atomic_files.source import Event, ItemRow, Source, plain_suffix
from sear.atomic_files.tables import Table, open_table
from sear.atomic_files.values import Times
from sear.errors import InputError

SUFFIXES = (
    "",
    ".csv",
    ".tsv",
    ".tab",
    ".txt",
    ".dat",
    ".data",
    ".json",
    ".jsonl",
    ".ndjson",
    ".parquet",
    ".pq",
    ".inter",
)
OTHERS = (".xlsx", ".xls", ".ods", ".db", ".sqlite", ".h5", ".hdf5", ".feather", ".arrow", ".orc", ".avro", ".pkl")
OTHERS += (".pickle", ".rdata", ".rds", ".sav", ".dta", ".tar", ".tgz", ".7z", ".rar", ".mat", ".npy", ".npz")
RATING_RANGE = (0.5, 5.0)
EXACT = 2**53  # decimal numbers above it are rounded
NOT_IN_NAMES = set(":\t\r\n")  # in the header of an atomic file
LINE_ORDER = "line_order"  # as --time: the table has none
HEADLESS = ("user", "item", "rating", "time")


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


@dataclass
class Parts:
    """Tables with the same columns, read one after the other; mostly a single one."""

    tables: list[Table] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.tables[0].path


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
    tables, others = _open_tables(path, reading, {*_event_names(columns), text_item, *texts})
    times = _time_columns(columns.time, tables)
    names = [name for name in (columns.user, columns.item, *times, columns.rating) if name]
    events = _only(path, tables, others, names, "")
    if not times and columns.time != LINE_ORDER:
        _refuse_unread_time(events, names)
    items = _only(path, tables, others, [text_item, *texts], columns.item) if texts else None
    return _source(events, items, replace(columns, text=texts, text_item=text_item), times, reading)


def _completed(columns: Columns, reading: Reading) -> Columns:
    """--columns=user,item,rating,time names the roles by itself."""
    roles = {role: getattr(columns, role) or (role if role in reading.columns else "") for role in _ROLES}
    return replace(columns, **roles)


_ROLES = ("user", "item", "time", "rating")


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
        lambda bad_lines: _items(items, told, BadLines(skip=True) if both else bad_lines, alone if both else None),
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


def _open_tables(path: Path, reading: Reading, names: set[str]) -> tuple[list[Table], list[str]]:
    """The tables there, and what is wrong with the files that are none."""
    if path.is_file():
        return [open_table(path, reading, names)], []
    tables, others = [], []
    for file in table_files(path):
        try:
            tables.append(open_table(file, reading, names))
        except InputError as error:
            others.append(str(error))
            if reading.columns:  # the texts may stand in a table that has a header
                with suppress(InputError):
                    table = open_table(file, replace(reading, columns=()), names)
                    tables += [table] if set(table.columns) & (names - set(reading.columns)) else []
    return tables, others


def table_files(folder: Path) -> list[Path]:
    """The files of a folder that may be tables, by name."""
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and file.name[0] not in "._"]
    return [file for file in files if plain_suffix(file) in (*SUFFIXES, *OTHERS) or re.match(r"part-\d+", file.name)]


def _only(path: Path, tables: list[Table], others: list[str], names: Sequence[str], item: str) -> Parts:
    """The one table with these columns, or its parts; item: what the events call the item of a table of texts."""
    having = [table for table in tables if set(names) <= set(table.columns)]
    if len(having) > 1 and _are_parts(having):
        return Parts(having)
    if len(having) == 1:
        _refuse_twice(having[0], names)
        return Parts(having)
    if having:
        listed = ", ".join(table.path.name for table in having)
        raise InputError(
            f"{path}: {listed} all have the columns {', '.join(names)} - give the one that is meant as RAW_DIR, or"
            " leave it alone there"
        )
    if not tables and len(others) == 1:
        raise InputError(others[0])
    found = "; ".join([*(_described(table) for table in tables), *others])[:1_000]
    remedy = _remedy(tables, names, item)
    raise InputError(
        f"{path}: no CSV or parquet table has the columns {', '.join(names)} ({found or 'no table there'}) - {remedy}"
    )


def _are_parts(tables: list[Table]) -> bool:
    """Whether the files have names that differ in digits only, and the same columns."""
    names = {re.sub(r"\d+", "0", table.path.name) for table in tables}
    return len(names) == 1 and all(table.columns == tables[0].columns for table in tables)


def _described(table: Table) -> str:
    if table.looks_headless():
        return f"{table.path.name} has no header, its first line is {shortened(table.columns)}"
    return f"{table.path.name} has {shortened(table.columns)}"


def shortened(names: Sequence[str]) -> str:
    """Names of columns for a message."""
    shown = [name if len(name) <= 40 else f"{name[:37]}..." for name in names[:12]]
    return ", ".join(shown) + (f", … ({len(names)} in all)" if len(names) > 12 else "")


def _remedy(tables: list[Table], names: Sequence[str], item: str) -> str:
    atomic = next((table.path.name for table in tables if any(name.endswith(":token") for name in table.columns)), "")
    if atomic:
        return f"{atomic} is an atomic file already: put it into dataset/NAME/ as NAME.inter, without this program"
    headless = next((table for table in tables if table.looks_headless()), None)
    if headless:
        return headless_hint(headless)
    for table in tables:
        lower = {name.lower(): name for name in table.columns}
        others = {name: lower[name.lower()] for name in names if name not in table.columns and name.lower() in lower}
        if others and len(others) == len(set(names) - set(table.columns)):
            return f"case counts: {', '.join(f'{name} is {other}' for name, other in others.items())}"
        if item and set(names) - {item} <= set(table.columns):
            return f"where {table.path.name} calls the item otherwise, say how with --text_item=COLUMN"
    return "give them as the header has them, case included"


def headless_hint(table: Table) -> str:
    """What to do with a table that has no header."""
    width = len(table.columns)
    names = ("user", "item", "time") if width == 3 else (*HEADLESS[:width], *[UNNAMED] * min(width - 4, 6))
    names = (*names, "…") if width > 10 else names
    return f"say what its columns are, in order: --columns={','.join(names)} ({UNNAMED} for those not needed)"


def _refuse_twice(table: Table, names: Sequence[str]) -> None:
    twice = [name for name in names if table.columns.count(name) > 1 and name != UNNAMED]
    if twice:
        raise InputError(f"{table.path}: the header has the column {twice[0]!r} more than once - rename one of them")


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
        for line, (user, item, *rest) in table.rows(names, bad_lines, alone):
            last = before + line
            time = (rest[0], rest[1]) if len(times) == 2 else rest[0] if times else last
            if type(user) is float or type(item) is float:
                rounded += [value for value in (user, item) if type(value) is float and abs(value) >= EXACT][:1]
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
        source.notices.append(
            f"{counted(len(rounded), 'event')} with an id that is a decimal number above 2^53 (first: {rounded[0]!r}):"
            " it has lost its last digits, and different ids may have become one - export ids as text"
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
            yield token(item), [joined(text, one_line) for text in texts]


def token(value: object) -> object:
    """An id as text: 12 and 12.0 (an integer column with gaps) are both `12`."""
    if isinstance(value, (str, bool)) or value is None:
        return value
    try:
        return str(int(value)) if value == int(value) else str(value)
    except (TypeError, ValueError, OverflowError):  # a list, NaN: no id
        return value
