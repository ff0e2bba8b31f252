"""The items that a model can recommend: is an item known, what is its title, which titles hold these words."""

import unicodedata
from collections.abc import Sequence
from heapq import nsmallest

import numpy as np

MOST_WORDS = 8  # of a search: each is looked for in every title


class TitledItems:
    """Ids and titles of a model's items, and titles to search in.

    Args:
        item_ids: the model's items, in its order.
        titles: one per item, None where there is none.
        popularity: events per item; what is found is ordered by it.
    """

    def __init__(self, item_ids: Sequence[str], titles: Sequence[str | None], popularity: np.ndarray):
        self.item_ids = list(item_ids)
        self._titles = dict(zip(self.item_ids, titles, strict=True))
        counts = np.zeros(len(self.item_ids))
        counts[: len(popularity)] = popularity[: len(counts)]  # items added later were never sold
        by_popularity = np.argsort(-counts, kind="stable").tolist()
        self._texts = [(self.item_ids[place], self._text(self.item_ids[place])) for place in by_popularity]

    def __len__(self) -> int:
        return len(self.item_ids)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._titles

    def title(self, item_id: str) -> str | None:
        return self._titles.get(item_id)

    def search(self, words: str, k: int) -> list[str]:
        """Ids of up to k items whose title or id holds all words (the first MOST_WORDS); those that begin so first."""
        words = folded(words)
        parts = words.split()[:MOST_WORDS]
        if not parts:
            return [item_id for item_id, _ in self._texts[:k]]
        found = ((item_id, text) for item_id, text in self._texts if all(part in text for part in parts))
        first = f" {parts[0]}"
        best = nsmallest(k, found, key=lambda one: (not one[1].startswith(words), first not in f" {one[1]}"))
        return [item_id for item_id, _ in best]

    def _text(self, item_id: str) -> str:
        return folded(f"{self._titles[item_id] or ''} {item_id}".strip())


def folded(text: str) -> str:
    """Without case and accents, so that "creme brulee" finds "Crème brûlée"."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).strip()
