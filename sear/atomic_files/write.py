"""Event and item tables -> the lines of `.inter` and `.item`."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sear.atomic_files.event_columns import EventTable
from sear.atomic_files.source import ItemRow
from sear.data.atomic_table import quoted

CHUNK = 1 << 17  # events turned into text at a time


def write_events(path: Path, table: EventTable, with_rating: bool) -> None:
    """One line per event; a missing rating is an empty field."""
    columns = {"user_id": "token", "item_id": "token", "rating": "float", "timestamp": "float"}
    if not with_rating:
        del columns["rating"]
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(f"{name}:{kind}" for name, kind in columns.items()) + "\n")
        for start in tqdm(range(0, len(table.user), CHUNK), desc=".inter", disable=None, leave=False):
            part = slice(start, start + CHUNK)
            texts = [
                [table.user_tokens[code] for code in table.user[part].tolist()],
                [table.item_tokens[code] for code in table.item[part].tolist()],
                number_texts(table.time[part]),
            ]
            if with_rating:
                texts.insert(2, number_texts(table.rating[part]))
            file.write("\n".join(map("\t".join, zip(*texts, strict=True))) + "\n")


def number_texts(values: np.ndarray) -> list[str]:
    """Shortest text that reads back as the same float64; whole numbers without a point, NaN as ""."""
    unique, position = np.unique(values, return_inverse=True)
    texts = [
        "" if value != value else str(int(value)) if value.is_integer() else repr(value) for value in unique.tolist()
    ]
    return [texts[index] for index in position.tolist()]


def write_items(
    path: Path, columns: dict[str, str], rows: Iterable[ItemRow], codes: dict[str, int]
) -> tuple[np.ndarray, int]:
    """One line per item of `codes` that has any text, in the order of `rows`; of each field the first text counts.

    Returns:
        bool (items,): which have a line; and the number of rows with another text than an earlier row of their item.
    """
    told: dict[str, str] = {}
    differing = 0
    for item, texts in rows:
        if not isinstance(item, str) or item not in codes or not any(texts):
            continue
        line = "\t".join(texts)
        before = told.setdefault(item, line)
        if before != line:
            pairs = list(zip(before.split("\t"), texts, strict=True))
            differing += any(first and text and first != text for first, text in pairs)
            told[item] = "\t".join(first or text for first, text in pairs)
    written = np.zeros(len(codes), dtype=bool)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(["item_id:token", *(f"{name}:{kind}" for name, kind in columns.items())]) + "\n")
        for item, line in told.items():
            written[codes[item]] = True
            file.write("\t".join([item, *map(quoted, line.split("\t"))]) + "\n")
    return written, differing
