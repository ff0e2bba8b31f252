"""New items from their texts: where training would have put them, as far as the texts of the others tell.

A ridge regression (sear.model.text_map) maps the items' text embeddings to what training learned of them: their rows of
the item embedding and of a free output table. A tied table has its text part by itself. N new items, V items incl.
padding id 0, E text width, D width of a learned row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch

from sear.data.item_texts import item_sentences
from sear.data.text_encoder import Encoder, download, encode, find_encoder, load_encoder
from sear.errors import InputError
from sear.model.text_map import TextMap
from sear.recommend.catalogue import Catalogue

PADDING = "[PAD]"


@dataclass
class NewItems:
    """What a table of new items tells."""

    ids: list[str]
    titles: list[str | None]
    sentences: list[str]


class Placement:
    """Where new items go in one model. What it needs is read and fitted when it is first asked for.

    Args:
        texts: what model.json tells: `fields`, `title`, `encoder` and its `identity`.
        text_VE: the items' text embeddings; None where the model was trained without texts.
        learned: (V, D) each: the item embedding and the free output table; None for what the model has not.
        counts: (V - 1,), how often each item occurs among the training events.
    """

    def __init__(
        self,
        texts: Mapping[str, Any],
        text_VE: np.ndarray | None,
        learned: Sequence[np.ndarray | None],
        counts: np.ndarray,
        device: torch.device,
    ):
        if text_VE is None:
            raise InputError("the model was trained without texts, which new items are placed by - train it with texts")
        self._texts, self._text_VE, self._learned, self._device = texts, text_VE, learned, device
        self._counts = counts

    def read(self, table: pd.DataFrame, catalogue: Catalogue, item_column: str) -> NewItems:
        """Ids, titles and sentences of a table of new items. Raises InputError where it does not fit."""
        column = next((name for name in (item_column, "item_id") if name in table), None)
        if column is None:
            raise InputError(f"new items: no column item_id (it has: {', '.join(map(str, table))}) - add it")
        fields: list[str] = self._texts["fields"]
        if not any(field in table for field in fields):
            have = f"none of the text columns {', '.join(fields)} (it has: {', '.join(map(str, table))})"
            raise InputError(f"new items: {have} - add one")
        empty = table[column].isna() | (table[column].astype(str) == "")
        if empty.any():
            raise InputError(
                f"new items, row {int(np.argmax(empty.to_numpy())) + 1}: {column} is empty - give it a value"
            )
        ids = table[column].astype(str).tolist()
        seen: set[str] = set()
        for item in ids:
            if item in catalogue.numbers or item in seen:
                told = "comes twice" if item in seen else "is an item that the model knows already"
                raise InputError(f"new items: {item!r} {told} - leave it out")
            seen.add(item)
        told_of = pd.DataFrame({"item_id": ids} | {field: _as_texts(table, field) for field in fields})
        sentences = item_sentences(told_of, [PADDING, *ids], "item_id", fields)[1:]
        title = self._texts.get("title")
        titles: list[str | None] = [None] * len(ids)
        if title in fields:
            titles = [str(text) or None for text in told_of[title]]
        return NewItems(ids, titles, sentences)

    def encoded(self, new: NewItems) -> np.ndarray:
        """float32 (N, E): the text embeddings, by the model's own encoder."""
        encoder, model = self._encoder
        return self.checked(encode(encoder, new.sentences, None, str(self._device), model), len(new.ids))

    def checked(self, vectors: np.ndarray, count: int) -> np.ndarray:
        """The vectors as float32. Raises InputError where they are of another shape, or not finite."""
        vectors, width = np.asarray(vectors), self._text_VE.shape[1]
        if vectors.shape != (count, width):
            raise InputError(f"vectors of new items: {vectors.shape}, not {(count, width)} - give one for each row")
        vectors = vectors.astype(np.float32)
        if not np.isfinite(vectors).all():
            raise InputError("vectors of new items: some are not finite - mend them")
        return vectors

    def rows(self, text_NE: np.ndarray) -> list[np.ndarray | None]:
        """float32 (N, D) of each learned table; None for what the model has not."""
        return [None if text_map is None else text_map(text_NE) for text_map in self._maps]

    @cached_property
    def _maps(self) -> list[TextMap | None]:
        weight = self._counts.astype(np.float64)
        return [None if table is None else TextMap(self._text_VE[1:], table[1:], weight) for table in self._learned]

    @cached_property
    def _encoder(self) -> tuple[Encoder, Any]:
        """The model's encoder, loaded."""
        name, identity = self._texts["encoder"], self._texts["identity"]
        encoder = find_encoder(name)
        if not (encoder.filled or encoder.hub_name):
            raise InputError(
                f"{encoder.folder} has no encoder, which new texts need - fill it (all-mpnet-base-v2/README.md), "
                "say where it is (encoder), or give vectors"
            )
        encoder = download(encoder)
        if identity is not None and identity not in encoder.identities:
            raise InputError(f"{encoder.folder} is not the encoder that the model was trained with - restore that one")
        return encoder, load_encoder(encoder, str(self._device))


def _as_texts(table: pd.DataFrame, field: str) -> list[str | float]:
    """A column as an `.item` file has it; missing ones are empty."""
    if field not in table:
        return [""] * len(table)
    return [_as_text(value) for value in table[field]]


def _as_text(value: Any) -> str | float:
    if isinstance(value, (list, tuple, np.ndarray)):
        return " ".join(map(str, value))
    if value is None or value is pd.NA or (isinstance(value, (float, np.floating)) and np.isnan(value)):
        return ""
    return float(value) if isinstance(value, (float, np.floating)) else str(value)
