"""A parquet file as a table: each column read as what it is, or refused by the name of its type."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from sear.atomic_files.bad_lines import BadLines
from sear.errors import InputError

PURPOSES = {"ids": "an id", "time": "a time", "rating": "a rating", "text": "a text"}


class ParquetTable:
    """columns: the names in the file's schema."""

    told = ""

    def __init__(self, path: Path):
        self.path = path
        self.columns: list[str] = _opened(path).schema_arrow.names

    def looks_headless(self) -> bool:
        return False

    def first_rows(self) -> list[list[object]]:
        rows = self._batches(self.columns, 100)
        return list(map(list, zip(*next(rows, [[]]), strict=True)))

    def rows(self, names: Sequence[str], bad_lines: BadLines, alone: object = None) -> Iterator:
        """(row number from 1, the values of these columns)."""
        number = 0
        for columns in self._batches(list(dict.fromkeys(names)), 1 << 16):
            by_name = dict(zip(dict.fromkeys(names), columns, strict=True))
            for values in zip(*(by_name[name] for name in names), strict=True):
                number += 1
                bad_lines.seen(self.path, number)
                yield number, list(values)
        bad_lines.settle()

    def require_types(self, purposes: dict[str, str]) -> None:
        """Raises InputError where a column cannot be what it is read as; purposes: column -> key of PURPOSES."""
        from pyarrow import types

        schema = _opened(self.path).schema_arrow
        for name, purpose in purposes.items():
            kind = schema.field(name).type
            kind = kind.value_type if types.is_dictionary(kind) else kind
            if not _fits(types, kind, purpose):
                raise InputError(
                    f"{self.path}: column {name!r} is of type {str(kind)[:60]}, not {PURPOSES[purpose]} - write it as"
                    " text or numbers"
                )

    def exact_below(self, name: str) -> float:
        """The number from which on those of a column of decimal numbers are rounded; infinity for other columns."""
        from pyarrow import types

        kind = _opened(self.path).schema_arrow.field(name).type
        return 2.0 ** {16: 11, 32: 24, 64: 53}[kind.bit_width] if types.is_floating(kind) else float("inf")

    def _batches(self, names: list[str], size: int) -> Iterator[list[list]]:
        from pyarrow import ArrowException

        batches = _opened(self.path).iter_batches(batch_size=size, columns=names)
        while True:
            try:
                batch = next(batches)
                places = [batch.schema.names.index(name) for name in names]  # of two columns of one name the first
                yield [_values(self.path, name, batch.column(place)) for name, place in zip(names, places, strict=True)]
            except StopIteration:
                return
            except (ArrowException, OSError, ValueError, OverflowError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{self.path}: its rows cannot be read ({_short(error)}) - write it anew") from None


def _opened(path: Path):
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:  # absent, or made for another NumPy than RecBole's
        remedy = "pip install 'pyarrow<22', or give a CSV"
        raise InputError(f"{path}: reading parquet needs pyarrow ({error}) - {remedy}") from None
    try:
        return parquet.ParquetFile(path)
    except (ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path}: no readable parquet file ({_short(error)}) - write it anew") from None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _fits(types, kind, purpose: str) -> bool:
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    text = text or types.is_null(kind) or types.is_fixed_size_binary(kind)
    text = text or str(kind) in ("string_view", "binary_view")  # of newer versions of pyarrow
    number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    if purpose == "ids":
        return text or number
    if purpose == "time":
        return text or number or types.is_timestamp(kind) or types.is_date(kind) or types.is_time(kind)
    if purpose == "rating":
        return text or number or types.is_boolean(kind)
    lists = types.is_list(kind) or types.is_large_list(kind)
    if lists:
        return _fits(types, kind.value_type, purpose)
    return not (types.is_struct(kind) or types.is_map(kind) or types.is_union(kind))


def _values(path: Path, name: str, column) -> list:
    """Python values; bytes are text in UTF-8."""
    values = column.to_pylist()
    if any(isinstance(value, bytes) for value in values):
        try:
            return [value.decode() if isinstance(value, bytes) else value for value in values]
        except UnicodeDecodeError:
            raise InputError(
                f"{path}: column {name!r} holds bytes that are no UTF-8 text - write it as text or numbers"
            ) from None
    return values
