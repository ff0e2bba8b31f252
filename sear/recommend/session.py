"""Session: one user's history that grows event by event, with the network's memory of it carried on.

An event costs the same after 10 and after 10,000 others. The scores are those of the network over all events since the
session began, which was with the last MAX_ITEM_LIST_LENGTH events of a history. So up to that many events they are the
scores of `Recommender.recommend`, which cuts longer histories; a session does not, and the network has not been trained
with more. `recommender.session(session.history, session.ratings)` begins anew with the last events.
"""

import hashlib
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pandas as pd
import torch
from safetensors.torch import load, save

from sear.errors import InputError
from sear.model.stacked_streams import Memory
from sear.recommend.histories import stars
from sear.recommend.top_items import TopItems
from sear.runs.model_folder import UserHistories

if TYPE_CHECKING:
    from sear.recommend.recommender import Recommender

FORMAT = "sear-session-1"
MEMORY = ("inputs", "states", "rated", "texts")
DIGEST_BYTES = hashlib.sha256().digest_size


class Session:
    """Made by `Recommender.session`; one user's, and not for two threads at a time.

    Attributes:
        history: ids of the items so far, the oldest first.
        unknown_items: how many events of the history it began with were skipped.
    """

    def __init__(self, recommender: "Recommender", events: UserHistories, unknown_items: int = 0):
        self._recommender, self.unknown_items = recommender, unknown_items
        self._numbers = array("i", events.item.tolist())  # arrays grow like lists, and are copied at once
        self._ratings = array("d", events.rating.tolist())
        self.history: list[str] = recommender._catalogue.names[0][events.item].tolist()
        self._memory: Memory | None = None
        self._user_1D: torch.Tensor | None = None  # after the last event

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def ratings(self) -> list[float]:
        """One of each event, NaN = none."""
        return self._ratings.tolist()

    def add(self, item_id: Any, rating: float | None = None) -> None:
        """One more event. Raises InputError where the item is not known or the rating is no number."""
        (number,) = self._recommender._catalogue.numbers_of([str(item_id)], "item_id").tolist()
        try:
            value = stars(rating)
        except (ValueError, TypeError):
            raise InputError(f"rating is {rating!r}, no number - write one such as 4, or leave it out") from None
        scorer, memory = self._recommender._scorer, self._current()
        item_B = torch.tensor([number], device=scorer.device)
        rating_B = torch.tensor([value], dtype=torch.float32, device=scorer.device)
        self._user_1D, self._memory = scorer.stacked.add(memory, item_B, rating_B)
        self._numbers.append(number)
        self.history.append(str(item_id))
        self._ratings.append(value)

    def _current(self) -> Memory:
        """The memory of the events so far; read from the history when it is first asked for."""
        scorer = self._recommender._scorer
        if self._memory is None:
            self._memory = scorer.stacked.start()
            if self._numbers:
                self._user_1D, self._memory = scorer.stacked.read(*scorer.padded(self._events()))
        return self._memory

    def _events(self) -> UserHistories:
        items, ratings = np.array(self._numbers, np.int32), np.array(self._ratings, np.float32)
        return UserHistories([""], np.array([0, len(items)]), items, ratings)

    def recommend(
        self,
        k: int = 10,
        filter_seen: bool = True,
        items: Sequence[Any] | None = None,
        exclude: Sequence[Any] | None = None,
        with_titles: bool = False,
    ) -> pd.DataFrame:
        """The best next items: item_id, score, rank and, on request, title; arguments as in `Recommender.recommend`.

        Before the first event they are the popular ones, and their scores are counts.
        """
        top = self.top_items(k, filter_seen, items, exclude)
        names, titles = self._recommender._catalogue.names
        numbers, scores = top.of(0)
        columns = {"item_id": names[numbers], "score": np.array(scores, np.float32), "rank": range(1, len(numbers) + 1)}
        return pd.DataFrame(columns | ({"title": titles[numbers]} if with_titles else {}))

    def top_items(
        self,
        k: int = 10,
        filter_seen: bool = True,
        items: Sequence[Any] | None = None,
        exclude: Sequence[Any] | None = None,
    ) -> TopItems:
        """The same as arrays, for those who have no time for a table."""
        selection = self._recommender._selection(k, filter_seen, items, exclude)
        self._current()
        return self._recommender._top(self._events(), selection, self._user_1D)

    def to_bytes(self) -> bytes:
        """The session, for `Recommender.session_from_bytes`."""
        memory = self._current()
        tensors = {name: getattr(memory, name).cpu().contiguous() for name in MEMORY}
        if self._user_1D is not None:
            tensors["user"] = self._user_1D.cpu().contiguous()
        tensors["ratings"] = torch.tensor(self.ratings, dtype=torch.float32)
        about = {"format": FORMAT, "model": self._recommender.info["digest"], "history": self.history}
        tensors["about"] = torch.from_numpy(np.frombuffer(orjson.dumps(about), np.uint8).copy())
        content = save(tensors)
        return hashlib.sha256(content).digest() + content


def from_bytes(recommender: "Recommender", data: bytes) -> Session:
    """The session that `to_bytes` gave; of another model, such as yesterday's, its history is read anew.

    Raises:
        InputError: the bytes are cut, changed, or no session of this SEAR.
    """
    content = data[DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != data[:DIGEST_BYTES]:
        raise InputError("session: the bytes are cut, changed or no session - start a new one from a history")
    tensors = load(content)
    about = orjson.loads(tensors["about"].numpy().tobytes())
    if about["format"] != FORMAT:
        raise InputError(f"session: its format is {about['format']}, this SEAR reads {FORMAT} - start a new one")
    session = recommender.session(about["history"], tensors["ratings"].tolist())
    if recommender._scorer.network.text_match is None:  # the bytes of an earlier SEAR have no such memory
        tensors.setdefault("texts", torch.zeros(1, 0))
    carried_on = set(MEMORY) <= set(tensors)
    if about["model"] == recommender.info["digest"] and not session.unknown_items and carried_on:
        device = recommender._scorer.device
        session._memory = Memory(*(tensors[name].to(device) for name in MEMORY))
        session._user_1D = tensors["user"].to(device) if "user" in tensors else None
    return session
