"""Items like other items: by the table that the model scores with, by their texts, or both. V items, E text width."""

import numpy as np
import torch
from torch import Tensor

from sear.errors import InputError
from sear.recommend.top_items import best_items

BY = ("table", "texts", "both")


class Similarity:
    """Cosines between items. Row 0 of what is compared is padding.

    Args:
        table_VD: the items as the model scores them.
        text_VE: their text embeddings; None where there are none.
    """

    def __init__(self, table_VD: Tensor, text_VE: np.ndarray | None):
        self._unit = {"table": torch.nn.functional.normalize(table_VD.float(), dim=-1)}
        if text_VE is not None:
            texts = torch.from_numpy(text_VE).to(table_VD.device)
            self._unit["texts"] = torch.nn.functional.normalize(texts, dim=-1)

    def of(self, item_B: np.ndarray, by: str) -> Tensor:
        """float32 (B, V): the cosines of these items with all; with `both` the mean of the two."""
        if by not in BY:
            raise InputError(f"by is {by!r} - write {', '.join(BY[:-1])} or {BY[-1]}")
        names = ["table", "texts"] if by == "both" else [by]
        if "texts" not in self._unit and "texts" in names:
            raise InputError(f"by is {by}, but the model was trained without texts - write table")
        parts = [self._unit[name][torch.from_numpy(item_B)] @ self._unit[name].T for name in names]
        return torch.stack(parts).mean(0) if len(parts) > 1 else parts[0]

    def most_similar(self, item_B: np.ndarray, k: int, by: str) -> tuple[np.ndarray, np.ndarray]:
        """Cosines and item numbers (B, k) of the items most like these, themselves left out."""
        score_BV = self.of(item_B, by)
        score_BV[:, 0] = -torch.inf
        score_BV[torch.arange(len(item_B)), torch.from_numpy(item_B)] = -torch.inf
        return best_items(score_BV, k)
