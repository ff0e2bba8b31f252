"""Items as sentences, the input of the text encoder (SEAR's method: Text embedding)."""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from sear.data.atomic_table import read_atomic, read_header
from sear.errors import InputError
from sear.files import BUNDLED, PROJECT_ROOT

OPENING = "Here is what is known about this item: "
MISSING = "N/A"
MAX_VALUE_LENGTH = 200  # characters
logger = logging.getLogger("sear")


def item_sentences(
    item_table: pd.DataFrame | None, item_tokens: Sequence[str], item_field: str, text_fields: Sequence[str]
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
    item_table: pd.DataFrame, item_tokens: Sequence[str], item_field: str, text_fields: list[str]
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


def item_titles(dataset) -> list[str]:
    """(V,) by item id: the first text field of `load_col.item`, or the item's own id where there is none."""
    tokens = dataset.field2id_token[dataset.iid_field]
    columns = dataset.config["load_col"] or {}
    if not dataset.item_path.is_file() or (columns and not columns.get("item")):
        return list(tokens)
    types = read_header(dataset.item_path)
    texts = [name for name in columns.get("item") or types if types.get(name, "").startswith("token")]
    fields = [name for name in texts if name != dataset.iid_field]
    if not fields:
        return list(tokens)
    table = read_atomic(dataset.item_path, [dataset.iid_field, fields[0]], exact=[dataset.iid_field])
    table = table.drop_duplicates(dataset.iid_field)  # the first counts, as in the sentences
    title = dict(zip(table[dataset.iid_field], table[fields[0]], strict=True))
    return [title.get(token) or token for token in tokens]


class DatasetText:
    """The half of SEARDataset that reads `.item`; nothing is read before it is asked for."""

    _embedding: np.ndarray | None = None

    @property
    def item_path(self) -> Path:
        return Path(self.dataset_path) / f"{self.dataset_name}.item"

    @property
    def text_directory(self) -> Path:
        """Where text embeddings are kept: beside the atomic files, but never inside the installed RecBole."""
        path = Path(self.dataset_path)
        if "dataset_example" in path.parts:  # RecBole's Config sends ml-100k into its own package
            return PROJECT_ROOT / "dataset" / self.dataset_name
        return path

    @property
    def text_fields(self) -> list[str]:
        """The columns of `.item` that are told of: those of load_col, or else all; none without the file."""
        if not self.item_path.is_file():
            return []
        listed = (self.config["load_col"] or {}).get("item") or read_header(self.item_path)
        return [field for field in listed if field != self.iid_field]

    @cached_property
    def item_sentences(self) -> list[str]:
        """One sentence per item id, row 0 included (the method's Text embedding)."""

        if not self.item_path.is_file():  # texts of missing values; check_settings has told who needs the file
            return item_sentences(None, self.field2id_token[self.iid_field], self.iid_field, [])
        types = read_header(self.item_path)
        fields = self.text_fields
        if types.get(self.iid_field) not in (None, "token"):
            kind = types[self.iid_field]
            raise InputError(
                f"{self.item_path}, line 1: {self.iid_field} is of type {kind}, not token - mend the header"
            )
        table = read_atomic(self.item_path, [self.iid_field, *fields], exact=[self.iid_field])
        sentences = item_sentences(table, self.field2id_token[self.iid_field], self.iid_field, fields)
        if fields and set(sentences) == {sentences[0]}:  # row 0 tells of missing values only
            raise InputError(
                f"{self.item_path}: no item of the events has any text in {', '.join(fields)} - use the same ids in"
                " both files, or do without texts: streams: [collaborative, rating] and text_init: False"
            )
        return sentences

    def item_text_embedding(self) -> np.ndarray:
        """float32 (V, E): the frozen embeddings of the items' sentences, from the cache where there is one."""
        from sear.data.text_cache import text_embedding

        if self._embedding is None:
            self._embedding = text_embedding(
                self.item_sentences,
                self.config["item_sem_embedding_model_path"],
                self.text_directory,
                self.dataset_name,
                device=str(self.config["device"]),
                ready_in=BUNDLED / "dataset" / self.dataset_name,
            )
        return self._embedding
