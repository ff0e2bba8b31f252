"""Items by number and by the data set's own ids; new ones are added at the end."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import numpy as np

from sear.errors import InputError

MOST_COMPARED = 5000  # ids that an unknown one is compared with: more would take longer than an answer may


class Catalogue:
    """Item numbers count from 1, for 0 is padding.

    Attributes:
        ids, titles: of item number i at i - 1; a title may be None.
        counts: int64, how often each occurs among the training events; 0 for new items.
    """

    def __init__(self, ids: Sequence[str], titles: Sequence[str | None], counts: np.ndarray):
        self.ids, self.titles, self.counts = list(ids), list(titles), counts

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def numbers(self) -> dict[str, int]:
        return {item: number for number, item in enumerate(self.ids, 1)}

    @cached_property
    def names(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids and titles as arrays by item number, [0] = None."""
        arrays = np.full((2, len(self.ids) + 1), None, dtype=object)
        arrays[0, 1:], arrays[1, 1:] = self.ids, self.titles
        return arrays[0], arrays[1]

    def numbers_of(self, items: Iterable[Any] | str, what: str) -> np.ndarray:
        """int64: the numbers of these ids, each id once. Raises InputError, naming `what`, where one is not known."""
        wanted = [str(item) for item in ([items] if isinstance(items, str) else items)]
        wanted = list(dict.fromkeys(wanted))
        unknown = [item for item in wanted if item not in self.numbers]
        if unknown:
            near = get_close_matches(unknown[0], self.ids, n=1) if len(self.ids) <= MOST_COMPARED else []
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise InputError(
                f"{what}: no item {unknown[0]!r}{hint}{more} among the {len(self.ids):,} that the model knows"
                " - leave it out, or add it with its texts (add_items)"
            )
        return np.array([self.numbers[item] for item in wanted], dtype=np.int64)

    def add(self, ids: Sequence[str], titles: Sequence[str | None]) -> None:
        """New items, which nobody has met in training."""
        counts = np.concatenate([self.counts, np.zeros(len(ids), self.counts.dtype)])
        self.__dict__.update(ids=[*self.ids, *ids], titles=[*self.titles, *titles], counts=counts)
        for stale in ("numbers", "names", "by_popularity"):
            self.__dict__.pop(stale, None)

    @cached_property
    def by_popularity(self) -> np.ndarray:
        """int64: item numbers, the most frequent first, of equal ones the lower."""
        return np.argsort(-self.counts, kind="stable") + 1
