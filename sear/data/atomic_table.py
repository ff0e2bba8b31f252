"""RecBole atomic files as tables, exactly as they are on disk: nothing is NA, and every fault has a line.

RecBole's own reader loses ids such as `NA`, collapses spaces and stumbles over a leading quotation mark. Quotation
marks are characters like others, but in `.item` files: RecBole's published ones come from a CSV writer, so a text that
holds a quotation mark, a tab or a line break stands between quotation marks, and those inside it are doubled. Ids are
never unquoted, so that they equal those of the events.
"""

import csv
import io
import mmap
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sear.errors import InputError

PIECE = 1 << 20  # rows of a file that is read in pieces
FIELD_TYPES = ("token", "token_seq", "float", "float_seq")
# for read_csv: the default parser may miss the last digit of a time; that of pandas 3.1 is exact, and knows no other
_PANDAS = tuple(int(part) for part in pd.__version__.split(".")[:2])
EXACT_FLOATS: dict[str, Any] = {"float_precision": "round_trip"} if _PANDAS < (3, 1) else {}


def read_header(path: Path | str) -> dict[str, str]:
    """Column name -> RecBole type, in file order. Raises InputError for a missing, empty or headless file."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            header = file.readline().decode("utf-8-sig").rstrip("\r\n")
    except FileNotFoundError:
        raise InputError(f"{path} is missing - see dataset/README.md for the command that makes it") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}, line 1: not UTF-8 - convert the file to UTF-8") from None
    if not header:
        raise InputError(f"{path} is empty - its first line must be a header such as user_id:token<TAB>item_id:token")
    types: dict[str, str] = {}
    for column in header.split("\t"):
        name, _, kind = column.rpartition(":")
        if not name or kind not in FIELD_TYPES:
            raise InputError(f"{path}, line 1: column {column!r} must read name:type, type {' or '.join(FIELD_TYPES)}")
        if name in types:
            raise InputError(f"{path}, line 1: column {name!r} appears twice - remove one")
        types[name] = kind
    return types


def read_atomic(
    path: Path | str,
    columns: Iterable[str] | None = None,
    codes: Iterable[str] = (),
    exact: Iterable[str] = ("item_id",),
) -> pd.DataFrame:
    """The rows of an atomic file, in file order; row i stands on line i + 2 (unless quoted texts hold line breaks).

    Args:
        columns: names to read, in this order (default: all).
        codes: token columns to return as pandas categories, in the order in which the file names them; the file is then
            read in pieces, so that no piece but the last has a string for each row.
        exact: the columns of an `.item` file that keep any CSV quoting: its ids.

    Returns:
        token, token_seq and float_seq columns as str ("" = missing), float columns as float64 (NaN = missing);
        `.attrs["types"]` maps each column to its RecBole type, `.attrs["path"]` says where it is from.

    Raises:
        InputError: naming file, line and column.
    """
    path = Path(path)
    types = read_header(path)
    wanted = list(types) if columns is None else list(columns)
    for name in wanted:
        if name not in types:
            raise InputError(f"{path} has no column {name!r} (it has: {', '.join(types)}) - add it, or mend load_col")
    kinds = {name: types[name] for name in wanted}
    table = _rows(path, types, kinds, set(codes) & set(kinds))
    if table.empty:
        without = "add the items' texts, or do without: no item in load_col, streams without semantic, text_init: False"
        remedy = without if path.suffix == ".item" else "nothing can be learned from it; fetch or make it anew"
        raise InputError(f"{path} holds a header but no rows - {remedy}")
    if path.suffix == ".item" and opens_quotes(path):
        for name in [name for name, kind in kinds.items() if kind.startswith("token") and name not in exact]:
            table[name] = table[name].map(unquoted)
    table.attrs |= {"types": kinds, "path": str(path)}
    return table


def _rows(path: Path, types: dict[str, str], kinds: dict[str, str], codes: set[str]) -> pd.DataFrame:
    """The columns `kinds` of a file with the columns `types`, every line checked."""
    source, lines = _whole_records(path, len(types))
    floats = [name for name, kind in kinds.items() if kind == "float"]
    texts = dict.fromkeys(kinds, str)
    pieces = PIECE if codes else None
    try:
        return _joined(_parse(source, types, texts | dict.fromkeys(floats, np.float64), pieces), codes)
    except UnicodeDecodeError as error:
        line = _undecodable_line(path)
        raise InputError(f"{path}, line {line}: not UTF-8 ({error.reason}) - convert the file to UTF-8") from None
    except ValueError:  # a float column holds a word: read it as text to say where
        as_text = _parse(source, types, texts | dict.fromkeys(floats, str), pieces)
    return _joined(_with_floats(as_text, path, floats, lines), codes)


def _with_floats(
    pieces: Iterable[pd.DataFrame], path: Path, floats: list[str], lines: list[int] | None
) -> Iterator[pd.DataFrame]:
    before = 0
    for piece in pieces:
        for name in floats:
            piece[name] = _floats_or_error(path, name, piece[name], lines, before)
        before += len(piece)
        yield piece


def _joined(pieces: Iterable[pd.DataFrame], codes: set[str]) -> pd.DataFrame:
    """The pieces as one table, in which the columns `codes` are categories."""
    if not codes:
        (table,) = pieces
        return table
    parts: dict[str, list] = {}
    numbers: dict[str, dict[str, int]] = {name: {} for name in codes}
    for piece in pieces:
        for name in piece:
            column = _codes(piece[name], numbers[name]) if name in codes else piece[name].to_numpy()
            parts.setdefault(name, []).append(column)
    columns = {}
    for name in list(parts):
        values = np.concatenate(parts.pop(name))
        if name in codes:
            values = pd.Categorical.from_codes(values, pd.Index(list(numbers[name]), dtype=str))
        columns[name] = values
    return pd.DataFrame(columns, copy=False)


def _codes(column: pd.Series, numbers: dict[str, int]) -> np.ndarray:
    """int32: each text's number; a new one gets the next and is written into `numbers`."""
    places, texts = pd.factorize(column)
    return np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int32)[places]


def _whole_records(path: Path, width: int) -> tuple[Path | bytes, list[int] | None]:
    """What to parse, the file or its records with each on one line; and then the line on which each began."""
    try:
        _check_line_shapes(path, width)
    except InputError:
        joined = joined_records(path, width) if path.suffix == ".item" else None
        if joined is None:
            raise
        return joined
    return path, None


def _parse(source: Path | bytes, types: dict[str, str], dtypes: dict, rows: int | None) -> Iterator[pd.DataFrame]:
    """The columns `dtypes`, so many rows at a time, or all at once.

    The last column loses the carriage return of Windows' line ends.
    """
    last = list(types)[-1]
    found = pd.read_csv(
        io.BytesIO(source) if isinstance(source, bytes) else source,
        sep="\t",
        header=None,
        names=list(types),
        usecols=list(dtypes),
        dtype=dtypes,
        skiprows=1,
        quoting=csv.QUOTE_NONE,
        keep_default_na=False,
        na_values={name: ["", "\r"] for name, kind in dtypes.items() if kind is np.float64},
        skip_blank_lines=False,
        encoding="utf-8",
        low_memory=False,  # in one piece, so that a type holds for the whole column
        lineterminator="\n",  # a stray carriage return inside a text is no line end, in no file
        chunksize=rows,
        **EXACT_FLOATS,
    )
    for table in [found] if rows is None else found:
        table = table[list(dtypes)]
        if last in dtypes and dtypes[last] is not np.float64:
            if table[last].str.endswith("\r").any():
                table[last] = table[last].str.removesuffix("\r")
        yield table


def _floats_or_error(path: Path, name: str, texts: pd.Series, lines: list[int] | None, before: int) -> pd.Series:
    """before: rows in earlier pieces."""
    numbers = pd.to_numeric(texts.where(texts != "", "nan"), errors="coerce")
    bad = np.flatnonzero(numbers.isna() & ~texts.str.strip().str.lower().isin(["", "nan"]))
    if len(bad):
        line = lines[before + bad[0]] if lines else before + bad[0] + 2
        raise InputError(f"{path}, line {line}: {name} is {texts.iloc[bad[0]]!r}, not a number - mend the line")
    return numbers.astype(np.float64)


def _undecodable_line(path: Path) -> int:
    with open(path, "rb") as file:
        return next(number for number, line in enumerate(file, 1) if line != line.decode("utf-8", "ignore").encode())


def _check_line_shapes(path: Path, width: int, block: int = 1 << 24) -> None:
    """Every line has width - 1 tabs: pandas fills short lines up in silence, we do not."""
    line, open_tabs, ended = 1, 0, True
    with open(path, "rb") as file:
        while chunk := file.read(block):
            nul = chunk.find(b"\0")
            if nul >= 0:  # pandas ends a text there
                number = line + chunk.count(b"\n", 0, nul)
                raise InputError(f"{path}, line {number}: a NUL byte - remove it, or write the file anew")
            data = np.frombuffer(chunk, dtype=np.uint8)
            ends = np.flatnonzero(data == ord("\n"))
            tabs_before = np.searchsorted(np.flatnonzero(data == ord("\t")), ends)
            counts = np.diff(tabs_before, prepend=0)
            if len(counts):
                counts[0] += open_tabs
                _refuse_other_width(path, line, counts, width)
                line += len(counts)
                open_tabs = 0
            tail_start = ends[-1] + 1 if len(ends) else 0
            open_tabs += int(np.count_nonzero(data[tail_start:] == ord("\t")))
            ended = tail_start == len(data)
    if not ended:
        _refuse_other_width(path, line, np.array([open_tabs]), width)


def _refuse_other_width(path: Path, first_line: int, tabs: np.ndarray, width: int) -> None:
    bad = np.flatnonzero(tabs != width - 1)
    if len(bad):
        found = tabs[bad[0]] + 1
        where = f"{path}, line {first_line + bad[0]}"
        raise InputError(f"{where}: {found} columns where the header has {width} - mend or remove the line")


QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"')
BREAKS = re.compile(r"[\t\r\n]+")
# the same in bytes, for lines: a whole field, one whose end is yet to come, and the quoted fields of a record
FIELD = rb'(?:"[^"]*(?:""[^"]*)*"|[^"\t\n][^\t\n]*|)'
OPEN_RECORD = re.compile(rb"(?:%b\t)*" % FIELD + rb'"[^"]*(?:""[^"]*)*')
QUOTED_FIELD = re.compile(rb'(?:(?<=\t)|\A)"[^"]*(?:""[^"]*)*"(?=\t|\Z)')
MOST_LINES = 500  # of one record


def quoted(text: str) -> str:
    """The text as it must be written, so that `unquoted` gives it back (and RecBole's own reader too)."""
    return '"' + text.replace('"', '""') + '"' if text.startswith('"') else text


def unquoted(text: str) -> str:
    """The text without CSV quoting, its tabs and line breaks spaces; anything not so quoted stays as it is."""
    found = QUOTED.fullmatch(text) if text[:1] == '"' else None
    return BREAKS.sub(" ", found[1].replace('""', '"')) if found else text


def opens_quotes(path: Path) -> bool:
    """Whether any field below the header begins with a quotation mark."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(b'\t"') >= 0 or data.find(b'\n"') >= 0


def joined_records(path: Path, width: int) -> tuple[bytes, list[int]] | None:
    """The file with every record on one line, and the line on which each began (the header's left out).

    A line with too few or too many tabs is taken together with the next ones where this gives exactly `width` fields,
    quoted as CSV asks; so is a line with the right number that ends inside such quoting, where the next ones have not.
    None when a line stays that has not the right number, or there is a NUL byte: then the file is faulty.
    """
    data = path.read_bytes().removesuffix(b"\n")
    if b"\0" in data:
        return None
    lines = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    record = re.compile(rb"%b(?:\t%b){%d}" % (FIELD, FIELD, width - 1))
    records, first_lines, row = [lines[0]], [], 1
    while row < len(lines):
        whole = lines[row].count(b"\t") == width - 1
        end = row + 1 if whole and not OPEN_RECORD.fullmatch(lines[row]) else _record_end(lines, row, record, width)
        if end is None and not whole:
            return None
        end = end or row + 1
        text = b"\n".join(lines[row:end])
        if end > row + 1 or not whole:
            text = QUOTED_FIELD.sub(lambda field: re.sub(rb"[\t\r\n]+", b" ", field[0]), text)
        records.append(text)
        first_lines.append(row + 1)
        row = end
    return b"\n".join(records) + b"\n", first_lines


def _record_end(lines: list[bytes], row: int, record: re.Pattern, width: int) -> int | None:
    """One past the last line of the record that begins on line `row`, None where there is no such record."""
    starts_whole = lines[row].count(b"\t") == width - 1
    text = lines[row]
    for end in range(row + 1, min(len(lines), row + MOST_LINES) + 1):
        if record.fullmatch(text):
            return end
        if end == len(lines) or not OPEN_RECORD.fullmatch(text):
            return None
        if starts_whole and lines[end].count(b"\t") == width - 1:
            return None  # a record by itself: the quotation mark before it was a title's own
        text += b"\n" + lines[end]
    return None
