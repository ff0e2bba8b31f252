"""A user's own tables, CSV or parquet: one with user, item and time, the items' texts in it or in a second one."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path

from sear.atomic_files.plain_text import joined, one_line
from sear.atomic_files.raw_lines import BadLines, csv_rows, decode, raw_lines
from sear.atomic_files.source import Event, ItemRow, Source
from sear.errors import InputError

CSV_SUFFIXES, PARQUET_SUFFIX = (".csv", ".tsv", ".txt"), ".parquet"
RATING_RANGE = (0.5, 5.0)
NOT_IN_NAMES = set(":\t\r\n")  # in the header of an atomic file


@dataclass(frozen=True)
class Columns:
    """What the user's columns are called; rating "" and text () where there are none."""

    user: str
    item: str
    time: str
    rating: str = ""
    text: tuple[str, ...] = ()


def find(path: Path, columns: Columns, no_text: bool) -> Source:
    """The tables in `path`, a folder or a single file.

    Raises:
        InputError: no table, or more than one, has the columns named.
    """
    for option in ("user", "item", "time"):
        if not getattr(columns, option):
            raise InputError(f"--{option}=COLUMN is missing: --format=csv needs --user, --item and --time")
    faulty = [name for name in columns.text if NOT_IN_NAMES & set(name) or name == "item_id"]
    if faulty or len(set(columns.text)) < len(columns.text):
        raise InputError(
            f"--text={','.join(columns.text)!r}: names must differ, hold no ':', tab or line break and not be item_id"
            " - rename the columns"
        )
    headers = {table: table_columns(table) for table in _tables(path)}
    events = [name for name in (columns.user, columns.item, columns.time, columns.rating) if name]
    event_path = _only(path, headers, events)
    told, item_path = [columns.item, *columns.text], None
    if columns.text and not no_text:
        item_path = _only(path, headers, told)
    both = item_path == event_path
    return Source(
        "csv",
        event_path,
        item_path,
        dict.fromkeys(columns.text, "token_seq"),
        RATING_RANGE if columns.rating else None,
        lambda bad_lines: _events(event_path, events, bad_lines),
        # bad lines of a table that holds both are reported once
        lambda bad_lines: _items(item_path, told, None if both else bad_lines, columns.time if both else ""),
    )


def _tables(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    suffixes = (*CSV_SUFFIXES, PARQUET_SUFFIX)
    return [file for file in sorted(path.iterdir()) if file.is_file() and _suffix(file) in suffixes]


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _only(path: Path, headers: dict[Path, list[str]], names: Sequence[str]) -> Path:
    having = [table for table, header in headers.items() if set(names) <= set(header)]
    if len(having) == 1:
        _refuse_twice(having[0], headers[having[0]], names)
        return having[0]
    if having:
        tables = ", ".join(table.name for table in having)
        raise InputError(f"{path}: {tables} all have the columns {', '.join(names)} - leave one of them there")
    found = "; ".join(f"{table.name} has {', '.join(header)}" for table, header in headers.items())
    remedy = "give them as the header has them, case included"
    raise InputError(
        f"{path}: no CSV or parquet table has the columns {', '.join(names)} ({found or 'no table there'}) - {remedy}"
    )


def _refuse_twice(table: Path, header: list[str], names: Sequence[str]) -> None:
    twice = [name for name in names if header.count(name) > 1]
    if twice:
        raise InputError(f"{table}: the header has the column {twice[0]!r} more than once - rename one of them")


def table_columns(path: Path) -> list[str]:
    """Column names of a table."""
    if _suffix(path) == PARQUET_SUFFIX:
        return _parquet(path).schema_arrow.names
    bad_lines = BadLines(skip=True)  # a text file beside the tables may hold anything
    header = next(csv_rows(path, bad_lines, _delimiter(_first_line(path))), (0, []))[1]
    return [f"no header ({bad_lines.first[path]})"] if bad_lines.counts else header


def _first_line(path: Path) -> str:
    return next((decode(line) for _, line in raw_lines(path)), "")


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _parquet(path: Path):
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:  # absent, or made for another NumPy than RecBole's
        remedy = "pip install 'pyarrow<22', or give a CSV"
        raise InputError(f"{path}: reading parquet needs pyarrow ({error}) - {remedy}") from None
    try:
        return parquet.ParquetFile(path)
    except (ArrowException, OSError) as error:
        raise InputError(f"{path}: no readable parquet file ({error}) - write it anew") from None


def _rows(path: Path, names: list[str], bad_lines: BadLines | None, time: str) -> Iterator[tuple[int, list]]:
    """(line or row number, the values of these columns); short and long lines go to `bad_lines` if any is given.

    time: the column that tells an event by itself from a line of some text; "" in a table without events.
    """
    if _suffix(path) == PARQUET_SUFFIX:
        yield from enumerate(_parquet_rows(path, names), 1)
        return
    header = table_columns(path)
    places = [header.index(name) for name in names]
    delimiter = _delimiter(_first_line(path))
    alone = (lambda fields: _is_time(fields[header.index(time)])) if time else lambda _: False
    rows = csv_rows(path, bad_lines or BadLines(skip=True), delimiter, len(header), alone)
    next(rows)
    for line, fields in rows:
        if len(fields) == len(header):
            yield line, [fields[place] for place in places]
        elif bad_lines:
            bad_lines.report(path, line, f"{len(fields)} fields where the header has {len(header)}")


def _parquet_rows(path: Path, names: list[str]) -> Iterator[list]:
    file = _parquet(path)
    from pyarrow import ArrowException

    batches = file.iter_batches(columns=names)
    while True:
        try:
            columns = [batch.column(name).to_pylist() for batch in [next(batches)] for name in names]
        except StopIteration:
            return
        except (ArrowException, OSError) as error:
            raise InputError(f"{path}: its rows cannot be read ({error}) - write it anew") from None
        yield from map(list, zip(*columns, strict=True))


def _events(path: Path, names: list[str], bad_lines: BadLines) -> Iterator[Event]:
    for line, (user, item, time, *rating) in _rows(path, names, bad_lines, names[2]):
        stars = rating[0] if rating and str(rating[0]).strip().lower() not in ("", "nan", "none") else None
        yield line, token(user), token(item), seconds(time), stars


def _items(path: Path, names: list[str], bad_lines: BadLines | None, time: str) -> Iterator[ItemRow]:
    for _, (item, *texts) in _rows(path, names, bad_lines, time):
        yield token(item), [joined(text, one_line) for text in texts]


def _is_time(text: str) -> bool:
    try:
        return math.isfinite(float(seconds(text)))
    except ValueError:
        return False


def token(value: object) -> object:
    """An id as text: 12 and 12.0 (an integer column with gaps) are both `12`."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) else value


def seconds(time: object) -> object:
    """A date, with or without time of day, as Unix seconds (UTC where no zone is given); numbers stay as they are."""
    if isinstance(time, str):
        text = time.strip()
        if text.count("-") < 2:
            return text
        try:
            time = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            return text
    if isinstance(time, date) and not isinstance(time, datetime):  # parquet has columns of days
        time = datetime(time.year, time.month, time.day)
    if isinstance(time, datetime):
        return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()
    return time
