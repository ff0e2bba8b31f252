"""Which table of a folder has the columns asked for; and what to do where none or several have."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from sear.atomic_files.dialect import named
from sear.atomic_files.reading import UNNAMED, Reading
from sear.atomic_files.source import plain_suffix, unpacked_name
from sear.atomic_files.tables import DelimitedTable, JsonTable, Table, open_table
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
OTHERS: tuple[str, ...] = (
    ".xlsx",
    ".xls",
    ".ods",
    ".db",
    ".sqlite",
    ".h5",
    ".hdf5",
    ".feather",
    ".arrow",
    ".orc",
    ".avro",
    ".pkl",
)
OTHERS += (".pickle", ".rdata", ".rds", ".sav", ".dta", ".tar", ".tgz", ".7z", ".rar", ".mat", ".npy", ".npz")
AS_NAMED = "give them as the header has them, case included"
HEADLESS = ("user", "item", "rating", "time")


@dataclass
class Parts:
    """Tables with the same columns, read one after the other; mostly a single one."""

    tables: list[Table] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.tables[0].path


def open_tables(path: Path, reading: Reading, names: set[str]) -> tuple[list[Table], dict[Path, str]]:
    """The tables there, and what is wrong with the files that are none."""
    if path.is_file():
        return [open_table(path, reading, names)], {}
    tables: list[Table] = []
    others: dict[Path, str] = {}
    for file in table_files(path):
        try:
            tables.append(open_table(file, reading, names))
        except InputError as error:
            others[file] = str(error)
            if reading.columns:  # the texts may stand in a table that has a header
                with suppress(InputError):
                    table = open_table(file, replace(reading, columns=()), names)
                    tables += [table] if set(table.columns) & (names - set(reading.columns)) else []
    return tables, others


def table_files(folder: Path) -> list[Path]:
    """The files of a folder that may be tables, by name; of numbers in it, 2 comes before 10."""
    files = [file for file in sorted(folder.iterdir(), key=_in_parts) if file.is_file() and file.name[0] not in "._"]
    return [file for file in files if plain_suffix(file) in (*SUFFIXES, *OTHERS) or re.match(r"part-\d+", file.name)]


def _in_parts(file: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def only(path: Path, tables: list[Table], others: Mapping[Path, str], names: Sequence[str], item: str) -> Parts:
    """The one table with these columns, or its parts; item: what the events call the item of a table of texts."""
    having = [table for table in tables if set(names) <= set(table.columns)]
    if len(having) > 1 and are_parts(having):
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
        raise InputError(*others.values())
    found = "; ".join([*(_described(table) for table in tables), *others.values()])[:1_000]
    if not found:
        there = shortened([file.name for file in sorted(path.iterdir())])
        raise InputError(
            f"{path}: no table there, only {there or 'nothing'} - where one is a table, give it as RAW_DIR"
        )
    remedy = _remedy(tables, names, item)
    if others and remedy == AS_NAMED:
        remedy = f"mend what cannot be read there, or {AS_NAMED}"
    raise InputError(f"{path}: no CSV or parquet table has the columns {', '.join(names)} ({found}) - {remedy}")


def are_parts(tables: list[Table]) -> bool:
    """Whether the files have names that differ in digits only, and the same columns, in whatever order.

    Objects of JSON lines may leave out what they have not: there the columns asked for suffice.
    """
    alike = all(isinstance(table, JsonTable) for table in tables)
    alike = alike or all(sorted(table.columns) == sorted(tables[0].columns) for table in tables)
    packed_too = len({unpacked_name(table.path) for table in tables}) < len(tables)
    return alike and not packed_too and len({_without_digits(table.path) for table in tables}) == 1


def _without_digits(file: Path) -> str:
    """What the names of a table's parts have in common."""
    return re.sub(r"\d+", "0", unpacked_name(file))


def unread(
    folder: Path, read: Mapping[tuple[str, ...], Parts], tables: list[Table], others: Mapping[Path, str]
) -> list[str]:
    """What is said of everything else in the folder: its name, and why it is not read.

    read: the columns that make a table one of events or of texts, and the tables that are read as such.

    Raises:
        InputError: a file is, by its name, a part of a table that is read, and cannot be read like it.
    """
    if not folder.is_dir():
        return []
    used = [table.path for parts in read.values() for table in parts.tables]
    named, firsts = set(map(unpacked_name, used)), {_without_digits(file): file for file in reversed(used)}
    found = {table.path: table for table in tables}
    left = [file for file in sorted(folder.iterdir(), key=_in_parts) if file not in used and file.name[0] not in "._"]
    widths = {len(table.columns): table.path.name for parts in read.values() for table in parts.tables}
    told = {file: _like_a_part(found[file], widths) for file in left if file in found} | dict(others)
    for file in left:
        first = firsts.get(_without_digits(file)) if file.is_file() and unpacked_name(file) not in named else None
        by_name = f"by its name it is a part of the same table as {first.name}" if first else ""
        if first and file in others:
            raise InputError(f"{others[file]}, or move it elsewhere: {by_name}")
        if not first or file not in found or not found[file].columns:
            continue
        if any(_holds(found[file], names) for names, parts in read.items() if _of_one_name(parts, file)):
            what = f"{folder}: {_described(found[file])}, and {by_name}"
            raise InputError(f"{what} - give all parts the same columns and header, or move it elsewhere")
        told[file] = f"{_described(found[file])}: other columns than {first.name} has"
    names = [f"{file.name}{'/' if file.is_dir() else ''}" for file in left if not told.get(file)]
    notices = [f"NOT READ: {told[file]}" for file in left if told.get(file)]
    return notices + ([f"not read, there too: {shortened(names)}"] if names else [])


def _of_one_name(parts: Parts, file: Path) -> bool:
    return any(_without_digits(table.path) == _without_digits(file) for table in parts.tables)


def _holds(table: Table, names: Sequence[str]) -> bool:
    """Whether the table has values of these columns: below such a header, whatever its case, or without any."""
    if table.looks_headless() or isinstance(table, DelimitedTable) and table.has_later_header(names):
        return True
    return {name.lower() for name in names} <= {name.lower() for name in table.columns}


def _like_a_part(table: Table, widths: Mapping[int, str]) -> str:
    """What speaks for a table that was left out being a part of one that is read; "" where nothing does."""
    if not table.columns:
        return f"{table.path.name} is empty"
    if table.looks_headless() and len(table.columns) in widths:
        alike = widths[len(table.columns)]
        return (
            f"{_described(table)}, and as many fields as {alike}: if it goes on there, write the same header above it"
        )
    return ""


def _described(table: Table) -> str:
    if not table.columns:
        return f"{table.path.name} is empty, or its first line cannot be read"
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
    for table in tables:
        if isinstance(table, DelimitedTable) and table.has_later_header(names):
            return f"in {table.path.name} these stand below other lines: remove those above them"
        if isinstance(table, DelimitedTable) and (other := table.other_delimiter(names)):
            below = named(table.dialect.delimiter)
            return f"in {table.path.name} the header is separated by {named(other)}, the lines by {below}: write one"
        if len(table.columns) == 1 and all(name in table.columns[0] for name in names):
            return f"what separates them in {table.path.name} is not known here: write commas, tabs or |"
    headless = next((table for table in tables if table.looks_headless()), None)
    if headless:
        return headless_hint(headless)
    for table in tables:
        lower = {name.lower(): name for name in table.columns}
        others = {name: lower[name.lower()] for name in names if name not in table.columns and name.lower() in lower}
        if others and len(others) == len(set(names) - set(table.columns)):
            return f"case counts: {', '.join(f'{name} is {other}' for name, other in others.items())}"
        marked = {name: re.compile(rf"[\W_]*{re.escape(name)}[\W_]*") for name in names}
        signs = [(next(filter(way.fullmatch, table.columns), None), name) for name, way in marked.items()]
        if len(table.columns) > 1 and all(column for column, _ in signs):
            column, name = next(pair for pair in signs if pair[0] != pair[1])
            return f"{table.path.name} has {column!r} for {name}: write one sign between fields, and none around them"
        if item and set(names) - {item} <= set(table.columns):
            return f"where {table.path.name} calls the item otherwise, say how with --text_item=COLUMN"
    if tables and all(len(table.columns) == 1 for table in tables):
        return "what separates fields is not known here, or columns have a fixed width: write commas, tabs or | between"
    return AS_NAMED


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
