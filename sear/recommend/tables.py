"""Tables in and out of files: histories and ids that are read, recommendations that are written while they are made.

The name's ending says what a file is: .csv, .parquet, .jsonl (written only), or .inter and .item (read only: RecBole's
atomic files).
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from sear.data.atomic_table import read_atomic
from sear.errors import InputError
from sear.files import write_aside

WRITTEN = (".csv", ".parquet", ".jsonl")
READ = (".csv", ".parquet", ".inter", ".item")
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
Write = Callable[[pd.DataFrame], None]


def read_table(path: Path) -> pd.DataFrame:
    """A table of text columns, nothing in it taken for a number or for missing; an empty cell is None.

    Raises:
        InputError: the file is missing, of another kind, or cannot be read.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing - name a table: .csv, .parquet or .inter")
    if path.suffix in (".inter", ".item"):
        return read_atomic(path)
    try:
        if path.suffix == ".parquet":
            _require_pyarrow(path)
            return pd.read_parquet(path)
        if path.suffix == ".csv":
            _refuse_other_separators(path)
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
            return table.astype(object).where(table != "", None)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start + 1:,}) - save it as UTF-8") from None
    except (ValueError, OSError) as error:  # not a table, an empty file
        raise InputError(f"{path} cannot be read ({' '.join(str(error).split())}) - mend the file") from None
    raise InputError(f"{path} is no .csv, .parquet, .inter or .item - write the table as one of them")


def _refuse_other_separators(path: Path) -> None:
    """Raises InputError where the first line is parted by something else than commas, as by some spreadsheets."""
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        first = file.readline()
    for separator, name in SEPARATORS.items():
        if separator in first and "," not in first:
            raise InputError(f"{path} is separated by {name} - write it with commas, or as .parquet")


def read_ids(words: str, column: str) -> list[str]:
    """Ids by the word a user typed: a file with one id a line or a table with the column, else ids between commas.

    Raises:
        InputError: an id is empty, or what is named like a file is not there or cannot be read.
    """
    path = Path(words)
    if not path.is_file():
        if "," not in words and (os.sep in words or path.suffix.lower() in (*READ, ".txt")):
            raise InputError(f"{words} is missing - name a file that is there, or ids between commas")
        ids = [word.strip() for word in words.split(",")]
        if not all(ids):
            raise InputError(f"{words!r} holds an empty id - write ids between commas, or name a file")
        return ids
    if path.suffix in READ:
        table = read_table(path)
        if column not in table:
            raise InputError(f"{path} has no column {column} (it has: {', '.join(map(str, table))}) - add it")
        return [str(value) for value in table[column].dropna()]
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}) - write one id a line, in UTF-8") from None
    return [line.strip() for line in lines if line.strip()]


@contextmanager
def table_file(path: Path | None) -> Iterator[Write]:
    """What writes tables one after another into one file, aside until the block ends; None: CSV to standard output.

    Raises:
        InputError: the file's kind is not one of WRITTEN, or parquet cannot be written here.
    """
    if path is None:
        yield _csv(sys.stdout)
        return
    if path.suffix not in WRITTEN:
        raise InputError(
            f"{path} is no {', '.join(WRITTEN[:-1])} or {WRITTEN[-1]} - give the file one of these endings"
        )
    if path.suffix == ".parquet":
        _require_pyarrow(path)
    with write_aside(path) as aside:
        if path.suffix == ".parquet":
            with _parquet(aside) as write:
                yield write
        elif path.suffix == ".csv":
            with open(aside, "w", encoding="utf-8", newline="") as text:
                yield _csv(text)
        else:
            with open(aside, "wb") as file:
                yield lambda table: file.writelines(_lines(table))


def _csv(file) -> Write:
    header = [True]

    def write(table: pd.DataFrame) -> None:
        table.to_csv(file, index=False, header=header.pop() if header else False, lineterminator="\n")

    return write


def _lines(table: pd.DataFrame) -> Iterator[bytes]:
    names = list(table.columns)
    for row in zip(*(table[name].tolist() for name in names), strict=True):
        yield orjson.dumps(dict(zip(names, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE)


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    import pyarrow
    import pyarrow.parquet

    kinds = {"score": pyarrow.float32(), "rank": pyarrow.int32()}  # the same in every part, also where one is all None
    writers: list[Any] = []

    def write(table: pd.DataFrame) -> None:
        schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in table.columns])
        if not writers:
            writers.append(pyarrow.parquet.ParquetWriter(path, schema))
        writers[0].write_table(pyarrow.Table.from_pandas(table, schema, preserve_index=False))

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()


def _require_pyarrow(path: Path) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise InputError(f"{path}: parquet needs pyarrow - run: pip install pyarrow; or take .csv") from None
