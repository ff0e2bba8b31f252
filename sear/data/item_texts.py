"""Items as sentences, the input of the text encoder (SEAR's method: Text embedding)."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from sear.data.atomic_table import read_atomic, read_header
from sear.errors import InputError
from sear.files import BUNDLED, PROJECT_ROOT, known_sha256, require_unchanged

OPENING = "Here is what is known about this item: "
MISSING = "N/A"
MAX_VALUE_LENGTH = 200  # characters
FORMAT = "SEAR item sentences 1"  # another where the same texts make other sentences
Make = Callable[[], Mapping[str, np.ndarray]]
Keep = Callable[[str, dict, Make], Mapping[str, np.ndarray]]
logger = logging.getLogger("sear")


def item_sentences(
    item_table: pd.DataFrame | None,
    item_tokens: Sequence[str] | np.ndarray,
    item_field: str,
    text_fields: Sequence[str],
) -> list[str]:
    """One sentence per item id, V of them: the opening, then `*field*: value` for each text field, joined by `; `.

    Args:
        item_table: the `.item` file as `read_atomic` gives it; None where the data set has none.
        item_tokens: the items' own names by item id; id 0 is padding, and its sentence holds only missing values.
        item_field: the column with the items' own names.
        text_fields: the columns to tell of, in this order.

    Raises:
        InputError: a text field is no column.
    """
    rows = np.full(len(item_tokens), -1)
    if item_table is not None:
        _refuse_absent(item_table, text_fields)
        item_table = _one_row_per_item(item_table, item_tokens[1:], item_field, list(text_fields))
        rows[1:] = pd.Index(item_table[item_field].astype(object)).get_indexer(pd.Index(item_tokens[1:], dtype=object))
    parts = [_parts(item_table, field, rows) for field in text_fields]
    if not parts:
        return [OPENING + MISSING] * len(rows)
    return [OPENING + "; ".join(values) for values in zip(*parts, strict=True)]


def _parts(item_table: pd.DataFrame | None, field: str, rows: np.ndarray) -> list[str]:
    """`*field*: value` by item id, from the table's rows (-1 = the item has none)."""
    missing = f"*{field}*: {MISSING}"
    if item_table is None:
        return [missing] * len(rows)
    told = [f"*{field}*: {text}" if text else missing for text in map(_as_text, item_table[field])]
    told.append(missing)  # where row -1 points
    return [told[row] for row in rows]


def _as_text(value: str | float) -> str:
    """The value as a reader would write it, cut to length; empty where it is missing."""
    if isinstance(value, float):
        value = "" if np.isnan(value) else repr(value).removesuffix(".0")  # 1995.0 in a float column is the year 1995
    return "" if value.isspace() else value[:MAX_VALUE_LENGTH]


def _refuse_absent(item_table: pd.DataFrame, text_fields: Sequence[str]) -> None:
    for field in text_fields:
        if field not in item_table:
            raise InputError(
                f"{_place(item_table)} has no column {field!r} (it has: {', '.join(item_table)})"
                " - add it, or take it out of load_col: item"
            )


def _one_row_per_item(
    item_table: pd.DataFrame, item_tokens: Sequence[str] | np.ndarray, item_field: str, text_fields: list[str]
) -> pd.DataFrame:
    """The first row of each of these items; one line of the log counts those whose other rows tell something else."""
    asked = item_table[item_table[item_field].isin(set(item_tokens))]
    distinct = asked.drop_duplicates([item_field, *text_fields])
    repeated = distinct[item_field].duplicated()
    if repeated.any():
        items = distinct.loc[repeated, item_field].astype(object)
        logger.warning(
            f"{_place(item_table)}: {items.nunique():,} item{' has' if items.nunique() == 1 else 's have'} rows that"
            f" differ (the first: {items.iloc[0]!r}): the first row of each counts"
        )
    return distinct[~repeated]


def _place(item_table: pd.DataFrame) -> str:
    return str(item_table.attrs.get("path", "the .item file"))


@dataclass
class ItemTexts:
    """The texts of a data set's items. Nothing is read before it is asked for, and the `.item` file only once.

    Attributes:
        path: the `.item` file, which need not be there.
        item_field: the column with the items' own ids.
        load_col: the columns that the configuration names, by file suffix; empty where it names none.
        encoder, device: what embeds the sentences, and where.
        item_tokens: the items' own ids by item id, [0] = padding; set as soon as the events are known.
        keep: finds arrays that are kept, by their kind and what they follow from besides the events, or makes and keeps
            them; None where none are kept.
        encoded_by: the encoder whose vectors `embedding` holds, see encoder_checksums; None before it is asked for.
    """

    path: Path
    item_field: str
    load_col: Mapping[str, Sequence[str]]
    encoder: str
    device: str
    item_tokens: Sequence[str] | np.ndarray = ()
    keep: Keep | None = None
    encoded_by: dict[str, str | None] | None = None
    _read: str | None = None  # SHA-256 of what `table` was read from

    @cached_property
    def types(self) -> dict[str, str]:
        """Column -> type of the `.item` file; none without the file."""
        return read_header(self.path) if self.path.is_file() else {}

    @property
    def fields(self) -> list[str]:
        """The columns that sentences are made of: those of load_col, or else all; none without the file."""
        listed = self.load_col.get("item") or self.types
        return [field for field in listed if field != self.item_field] if self.types else []

    @cached_property
    def table(self) -> pd.DataFrame:
        """The rows of the `.item` file, its ids and `fields`."""
        columns = [name for name in (self.item_field, *self.fields) if name in self.types]
        self._read = known_sha256(self.path)
        table = read_atomic(self.path, columns, exact=[self.item_field])
        require_unchanged(self.path, self._read)
        return table

    @property
    def listed_items(self) -> list[str]:
        """The ids in the `.item` file, each once, in file order; none without such a column."""
        return list(dict.fromkeys(self.table[self.item_field])) if self.item_field in self.types else []

    @cached_property
    def sentences(self) -> list[str]:
        """One sentence per item id, row 0 included (SEAR's method: Text embedding).

        Raises:
            InputError: a column is missing or of the wrong type, or no item has any text.
        """
        if not self.types:  # texts of missing values; check_settings has told who needs the file
            return item_sentences(None, self.item_tokens, self.item_field, [])
        if self.types.get(self.item_field, "token") != "token":
            kind = self.types[self.item_field]
            raise InputError(f"{self.path}, line 1: {self.item_field} is of type {kind}, not token - mend the header")
        self.require_columns()
        fields = self.fields
        sentences = item_sentences(self.table, self.item_tokens, self.item_field, fields)
        if fields and set(sentences) == {sentences[0]}:  # row 0 tells of missing values only
            raise InputError(
                f"{self.path}: no item of the events has any text in {', '.join(fields)} - use the same ids in"
                " both files, or do without texts: streams: [collaborative, rating] and text_init: False"
            )
        return sentences

    def require_columns(self) -> None:
        """Raises InputError where the `.item` file lacks its ids or one of `fields`."""
        if missing := [name for name in (self.item_field, *self.fields) if name not in self.types]:
            have = ", ".join(self.types)
            raise InputError(f"{self.path} has no column {missing[0]!r} (it has: {have}) - add it, or mend load_col")

    @property
    def title_field(self) -> str | None:
        """The column that titles come from; None where there is none."""
        texts = [name for name in self.fields if self.types.get(name, "").startswith("token")]
        if not texts or self.item_field not in self.types or (self.load_col and not self.load_col.get("item")):
            return None
        return texts[0]

    @cached_property
    def titles(self) -> list[str]:
        """(V,) by item id: the first text field of `load_col.item`, or the item's own id where there is none."""
        if self.title_field is None:
            return list(self.item_tokens)
        rows = self.table.drop_duplicates(self.item_field)  # the first counts, as in the sentences
        title = dict(zip(rows[self.item_field], rows[self.title_field], strict=True))
        return [title.get(token) or token for token in self.item_tokens]

    @cached_property
    def embedding(self) -> np.ndarray:
        """float32 (V, E): the frozen vectors of the items' sentences, from the cache where there is one."""
        from sear.data.text_cache import sentence_vectors
        from sear.data.text_encoder import encoder_checksums, find_encoder

        texts = None if self.keep is None or not self.types else self._read or known_sha256(self.path)

        def make() -> dict[str, np.ndarray]:
            ready = BUNDLED / "dataset" / self.path.stem
            name, folder, sentences = self.path.stem, self.cache_folder, self.sentences
            require_unchanged(self.path, texts)  # else the vectors would be kept as those of another file
            found = sentence_vectors(sentences, self.encoder, folder, name, device=self.device, ready_in=ready)
            return {"vectors": found}

        if self.keep is None:
            vectors = make()["vectors"]
        else:
            encoder = [self.encoder, *find_encoder(self.encoder).identities]
            what = {"format": FORMAT, "texts": texts, "fields": self.fields, "encoder": encoder}
            vectors = self.keep("text vectors", what, make)["vectors"]
        self.encoded_by = told = encoder_checksums(self.encoder)
        sums = [
            f"{part} {digest[:12]}" for part in ("weights", "files") if (digest := told[part])
        ]  # metrics.json: whole
        shown = f" (SHA-256: {', '.join(sums)})" if sums else ""
        logger.info(f"text encoder: {self.encoder}{shown}")
        return vectors

    @property
    def cache_folder(self) -> Path:
        """Where vectors are kept: beside the atomic files, but never inside the installed RecBole."""
        if "dataset_example" in self.path.parts:  # RecBole's Config sends ml-100k into its own package
            return PROJECT_ROOT / "dataset" / self.path.stem
        return self.path.parent
