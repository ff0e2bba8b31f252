"""Items as sentences, the input of the text encoder (SEAR's method: Text embedding)."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from sear.errors import InputError

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
