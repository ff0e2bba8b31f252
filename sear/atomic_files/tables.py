"""A user's own tables, one file each: delimited text, JSON lines or parquet, as rows of named columns."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from pathlib import Path
from reprlib import repr as shortened

from sear.atomic_files.amazon import json_records, record
from sear.atomic_files.bad_lines import BadLine, BadLines, counted
from sear.atomic_files.column_names import recognised
from sear.atomic_files.compressed import head_of
from sear.atomic_files.csv_rows import QUOTING_HINT, Rows, csv_rows, split_rows
from sear.atomic_files.dialect import DELIMITERS, Dialect, dialect_of, looks_like_data, named
from sear.atomic_files.parquet import ParquetTable
from sear.atomic_files.raw_lines import LineFile, line_file
from sear.atomic_files.reading import UNNAMED, Reading
from sear.errors import InputError

ROW_NAMES = "(row names)"
MOST_ROWS_SEEN = 100
RULE = set("-+|=: ")  # signs of the line below a header, as tables on a screen have it
BLANKS = "fields may hold blanks, or columns be of a fixed width: write commas or tabs between them"
Alone = tuple[str, Callable[[str], bool]]  # a column, and whether its text can be what the column holds


@dataclass
class DelimitedTable:
    """columns: of the header, or as --columns names them; headless: whether there is no header."""

    lines: LineFile
    dialect: Dialect
    columns: list[str]
    headless: bool

    @property
    def path(self) -> Path:
        return self.lines.path

    @property
    def told(self) -> str:
        named = "the first column, which the header does not name, is left out: names of rows, as R writes them"
        return "; ".join(filter(None, [self.lines.encoding.told, named if ROW_NAMES in self.columns else ""]))

    def looks_headless(self) -> bool:
        """Whether the header holds values in place of names."""
        return not self.headless and looks_like_data(self.columns)

    def has_later_header(self, names: Collection[str]) -> bool:
        """Whether one of the first lines has these names, below a title or remarks."""
        dialects = [Dialect(delimiter, "none" if len(delimiter) > 1 else "csv") for delimiter in DELIMITERS]
        lines = self.lines.first[1:MOST_ROWS_SEEN]
        return any(set(names) <= {field.strip() for field in way.fields(line)} for line in lines for way in dialects)

    def other_delimiter(self, names: Collection[str]) -> str:
        """What separates these names in the header, where it is not what separates the lines below; or ""."""
        header = "".join(self.lines.first[self.dialect.skipped : self.dialect.skipped + 1])
        found = (way for way in DELIMITERS if set(names) <= {field.strip() for field in header.split(way)})
        return next(found, "") if len(names) > 1 else ""

    def first_rows(self) -> list[list[str]]:
        """The fields of the first lines below the header, as far as single lines tell them."""
        lines = self.lines.first[self.dialect.skipped + (not self.headless) :]
        return [self.dialect.fields(line) for line in lines[:MOST_ROWS_SEEN]]

    def rows(self, names: Sequence[str], bad_lines: BadLines, alone: Alone | None = None) -> Iterator:
        """(line number, the values of these columns) of every row; short and long ones go to `bad_lines`.

        alone: shows whether a line is a row by itself and no piece of a text; None: nothing shows it.
        """
        picked = itemgetter(*(self.columns.index(name) for name in names), 0)  # a tuple, even of one
        width = len(self.columns)
        expected = "--columns names" if self.headless else "the header has"
        widths = {len(row) for row in self.first_rows()}
        unnamed = len(widths) == 1 and min(widths) > width
        first = self.columns[0]
        for line, fields in self._all_rows(bad_lines, width, alone):
            if len(fields) == width:
                if first in fields[0] and self._is_header(fields):
                    again = BadLine("the header once more, as files put together have it", "take these lines out")
                    bad_lines.report(self.path, line, again)
                    continue
                yield line, picked(fields)[:-1]
            else:
                option = QUOTING_HINT if len(fields) > width else ""  # the separator may stand inside a text
                option = "give each column a name there" if unnamed else option
                option = BLANKS if self.dialect.delimiter == " " else option
                bad_lines.report(
                    self.path, line, BadLine(f"{counted(len(fields), 'field')} where {expected} {width}", option)
                )

    def _is_header(self, fields: list[str]) -> bool:
        return not self.headless and [field.strip(" \ufeff") for field in fields] == self.columns

    def _all_rows(self, bad_lines: BadLines, width: int, alone: Alone | None) -> Rows:
        dialect = self.dialect
        lines = islice(self.lines.text_lines(bad_lines), dialect.skipped + (not self.headless), None)
        if dialect.quoting == "none":
            return split_rows(lines, dialect.delimiter)
        is_row = (lambda fields: alone[1](fields[self.columns.index(alone[0])])) if alone else (lambda _: False)
        backslash = dialect.quoting == "backslash"
        return csv_rows(self.path, lines, bad_lines, dialect.delimiter, width, is_row, backslash, dialect.spaced)


@dataclass
class JsonTable:
    """Objects, one a line, JSON or Python literals; columns: the keys of the first of them."""

    lines: LineFile
    columns: list[str]

    @property
    def path(self) -> Path:
        return self.lines.path

    @property
    def told(self) -> str:
        return self.lines.encoding.told

    def looks_headless(self) -> bool:
        return False

    def first_rows(self) -> list[list[object]]:
        return [[found.get(name) for name in self.columns] for found in first_records(self.lines)]

    def rows(self, names: Sequence[str], bad_lines: BadLines, alone: object = None) -> Iterator:
        for line, found in json_records(self.lines, bad_lines):
            yield line, [found.get(name) for name in names]


Table = DelimitedTable | JsonTable | ParquetTable


def open_table(path: Path, reading: Reading, names: Collection[str] = ()) -> Table:
    """The table in this file; names: columns that are looked for.

    Raises:
        InputError: naming what the file is instead, or what is wrong with it.
    """
    with open(path, "rb") as file:
        if file.read(4) == b"PAR1":
            return ParquetTable(path)
    if head_of(path).startswith(b"PAR1"):
        raise InputError(f"{path} is a packed parquet file - unpack it")
    lines = line_file(path, reading.encoding)
    start = lines.first[0].lstrip() if lines.first else ""
    if start.startswith("{"):
        found = first_records(lines)
        if not found:
            raise InputError(f"{path} looks like JSON, but has not one object a line - write it so (jq -c . FILE)")
        return JsonTable(lines, list(dict.fromkeys(name for one in found for name in one)))
    if start.startswith("["):
        raise InputError(f"{path} is one JSON array, not one object a line - write it as JSON lines (jq -c '.[]' FILE)")
    rule = next((number for number, line in enumerate(lines.first[:3], 1) if _is_rule(line)), None)
    if rule:
        raise InputError(
            f"{path}: its line {rule} is a rule, {shortened(lines.first[rule - 1])}, as tables on a screen have it -"
            " export it as CSV (psql --csv, mysql --batch)"
        )
    columns = list(reading.columns)
    dialect = dialect_of(lines.first, lines.quoted, names, len(columns), reading.quoting)
    if columns:
        return _headless(DelimitedTable(lines, dialect, columns, True))
    return _with_header(lines, dialect)


def _is_rule(line: str) -> bool:
    return RULE >= set(line) and "--" in line and not {"|", "+"}.isdisjoint(line)


def _with_header(lines: LineFile, dialect: Dialect) -> DelimitedTable:
    header = dialect.fields(lines.first[dialect.skipped]) if len(lines.first) > dialect.skipped else []
    table = DelimitedTable(lines, dialect, [name.strip() for name in header], False)
    rows = table.first_rows()
    if header and rows and all(len(row) == len(header) + 1 for row in rows):
        if not any(row[-1].strip() for row in rows):  # a last comma
            table.columns = [*table.columns, ""]
        elif len({row[0] for row in rows}) == len(rows):  # as R writes names of rows
            table.columns = [ROW_NAMES, *table.columns]
    return table


def _headless(table: DelimitedTable) -> DelimitedTable:
    """The table; a header that stands there all the same, or another number of columns, is told."""
    rows = table.first_rows()
    widths = {len(row) for row in rows}
    names = [name for name in table.columns if name != UNNAMED]
    if rows and widths == {len(rows[0])} and len(rows[0]) != len(table.columns):
        found = f"have {len(rows[0])} fields, separated by {named(table.dialect.delimiter)}"
        remedy = f"name all of them in order, {UNNAMED} for those not needed; if other signs separate, write commas"
        if len(rows[0]) == 1:
            found, remedy = "are one field each", "what separates fields is not known here: write commas, tabs or |"
        raise InputError(f"{table.path}: its lines {found}, and --columns names {len(table.columns)} - {remedy}")
    first = rows[0] if rows else []
    data_follow = len(rows) > 1 and looks_like_data(rows[1])
    if not looks_like_data(first) and (data_follow or {"user", "item"} <= set(recognised(first))):
        raise InputError(
            f"{table.path}, line 1: {','.join(first)[:80]} looks like a header - leave --columns out and say which"
            f" columns are the {', '.join(names[:3])}: --user=… --item=… --time=…"
        )
    return table


def first_records(lines: LineFile) -> list[dict]:
    """The objects of the first lines, those left out that hold none."""
    found = []
    for line in lines.first[:MOST_ROWS_SEEN]:
        try:
            found.append(record(line.encode()))
        except BadLine:
            continue
    return found
