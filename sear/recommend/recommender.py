"""Recommender: a trained model in use. `sear.load(folder)` makes one."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from sear.errors import InputError
from sear.recommend.catalogue import Catalogue
from sear.recommend.histories import History, from_list, from_table, joined, selected
from sear.recommend.new_items import Placement
from sear.recommend.scorer import FEW_EVENTS, Scorer, Selection
from sear.recommend.session import Session, from_bytes
from sear.recommend.similar import Similarity
from sear.recommend.top_items import TopItems
from sear.runs.model_folder import TrainedModel, UserHistories

BATCH = 4096  # users ranked at a time
SIMILAR_BATCH = 256  # items compared with all at a time


class Recommender:
    """Recommendations in the data set's own ids; no RecBole, no data files.

    Attributes:
        info: model, dataset, seed, commit, versions, metrics, counts of users, items and events, digest.
    """

    def __init__(self, model: TrainedModel, device: torch.device | str = "cpu", encoder: str | None = None):
        self.info: dict[str, Any] = model.about
        self._model, self._users, self._encoder = model, model.users, encoder
        self._catalogue = Catalogue(model.item_ids, model.titles, model.training_counts)
        self._scorer = Scorer(model, torch.device(device))

    @property
    def name(self) -> str:
        """The model's name."""
        return self.info["model"]

    @property
    def dataset(self) -> str:
        return self.info["dataset"]

    @property
    def item_ids(self) -> list[str]:
        """The data set's own ids; the one at i is item number i + 1."""
        return self._catalogue.ids

    @property
    def titles(self) -> list[str | None]:
        """As `item_ids`; None where an item has no title."""
        return self._catalogue.titles

    @property
    def popularity(self) -> np.ndarray:
        """int64, as `item_ids`: how often each item occurs among the training events; 0 for new ones."""
        return self._catalogue.counts

    @property
    def user_ids(self) -> list[str] | None:
        """The users whose histories the model folder holds; None where it holds none."""
        return None if self._users is None else self._users.user_ids

    @property
    def text_fields(self) -> list[str]:
        """The text columns that an item's sentence is made of."""
        return list(self.info["texts"]["fields"])

    @property
    def highest_rating(self) -> float | None:
        """Of the histories known, 5 where none has any; None for a model that reads no ratings."""
        if "rating" not in self._model.settings["streams"]:
            return None
        ratings = np.zeros(0) if self._users is None else self._users.rating
        return float(np.nanmax(ratings, initial=0.0)) or 5.0

    def recommend(
        self,
        users: Sequence[Any] | None = None,
        *,
        history: History | None = None,
        k: int = 10,
        filter_seen: bool = True,
        items: Sequence[Any] | None = None,
        exclude: Sequence[Any] | None = None,
        with_titles: bool = False,
        batch_size: int = BATCH,
    ) -> pd.DataFrame:
        """The best items of each user, best first.

        Args:
            users: ids, each counted once; None = all whose histories are known, or with `history` all of those. One
                that is not known is a new user, without any event.
            history: in place of the histories known: a table of columns user_id, item_id and, if there are any, rating
                and timestamp, one row per event; or for one user without a name a list of item ids, or of pairs of an
                id and a rating, the oldest first. Items that the model does not know are skipped.
            k: items per user; fewer where so few are left.
            filter_seen: leave out what a user's whole history holds.
            items: ids; only these are recommended.
            exclude: ids that are not.
            with_titles: also the column `title`.
            batch_size: users ranked at a time.

        Returns:
            Columns user_id, item_id, score, rank (from 1) and source: `model`, or `popularity` for a user without any
            known event, whose scores are counts. `.attrs["unknown_items"]`: how many events of `history` were skipped.

        Raises:
            InputError: an id is not known, k is not between 1 and the number of items, or the history is no history.
        """
        _, tables = self.recommend_batches(
            users,
            history=history,
            k=k,
            filter_seen=filter_seen,
            items=items,
            exclude=exclude,
            with_titles=with_titles,
            batch_size=batch_size,
        )
        parts = list(tables)
        return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]

    def recommend_batches(
        self,
        users: Sequence[Any] | None = None,
        *,
        history: History | None = None,
        k: int = 10,
        filter_seen: bool = True,
        items: Sequence[Any] | None = None,
        exclude: Sequence[Any] | None = None,
        with_titles: bool = False,
        batch_size: int = BATCH,
    ) -> tuple[int, Iterator[pd.DataFrame]]:
        """As `recommend`, for more users than one table should hold: their number, and the table part by part."""
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size is {batch_size!r} - write a whole number from 1")
        histories, skipped = self._histories(users, history)
        selection = self._selection(k, filter_seen, items, exclude)

        def parts() -> Iterator[pd.DataFrame]:
            for table in self._batches(histories, selection, with_titles, batch_size):
                table.attrs["unknown_items"] = skipped
                yield table

        return len(histories.user_ids), parts()

    def read_history(self, events: Sequence[Any]) -> tuple[UserHistories, int]:
        """One history, as `recommend` takes it as a list, and how many events of unknown items were skipped."""
        return from_list(events, self._catalogue)

    def known_history(self, user: Any) -> UserHistories:
        """The history of one user that the model folder holds. Raises InputError where it holds none."""
        return self._known_histories([user])

    def top_items(
        self,
        *histories: UserHistories,
        k: int = 10,
        filter_seen: bool = True,
        items: Sequence[Any] | None = None,
        exclude: Sequence[Any] | None = None,
    ) -> TopItems:
        """What `recommend` makes a table of, as arrays, for those who have no time for a table; raises alike."""
        return self._top(joined(*histories), self._selection(k, filter_seen, items, exclude))

    def similar_items(
        self, items: Sequence[Any], k: int = 10, *, by: str = "table", with_titles: bool = False
    ) -> pd.DataFrame:
        """The items most like each of these, by cosine; an item is not like itself.

        Args:
            items: ids, each counted once.
            by: `table`, what the model scores with: bought by alike users; `texts`: told of alike; `both`: the mean.

        Returns:
            Columns item_id, similar_item_id, score (-1 to 1), rank (from 1) and, on request, that item's title.

        Raises:
            InputError: an id is not known, k is not between 1 and the number of other items, or there are no texts.
        """
        numbers = self._catalogue.numbers_of(items, "items")
        others = len(self._catalogue) - 1
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= others:
            raise InputError(f"k is {k!r} - write a whole number from 1 to {others:,}, the number of other items")
        batches = np.split(numbers, range(SIMILAR_BATCH, len(numbers), SIMILAR_BATCH))
        found = [self._similarity.most_similar(batch, k, by) for batch in batches]
        score_N, item_N = (np.concatenate(parts).ravel() for parts in zip(*found, strict=True))
        names, titles = self._catalogue.names
        columns = {
            "item_id": np.repeat(names[numbers], k),
            "similar_item_id": names[item_N],
            "score": score_N,
            "rank": np.tile(np.arange(1, k + 1), len(numbers)),
        }
        return pd.DataFrame(columns | ({"title": titles[item_N]} if with_titles else {}))

    def explain(self, history: Sequence[Any], item: Any, k: int = 3) -> list[tuple[str, float]]:
        """The items of a history that are most like a recommended one, with their cosines in the output table.

        Args:
            history: item ids, or pairs of an id and a rating; unknown items are skipped.
        """
        (number,) = self._catalogue.numbers_of([str(item)], "item")
        met = np.unique(from_list(history, self._catalogue)[0].item)
        met = met[met != number]
        score_V = self._similarity.of(np.array([number]), "table")[0].cpu().numpy()
        order = met[np.argsort(-score_V[met], kind="stable")][:k]
        return [(self._catalogue.ids[other - 1], float(score_V[other])) for other in order]

    @cached_property
    def _similarity(self) -> Similarity:
        return Similarity(self._scorer.learned_VD, self._model.text_VE)

    def add_items(self, table: pd.DataFrame, vectors: np.ndarray | None = None) -> None:
        """Make items recommendable that were never sold, from their texts (sear.recommend.new_items).

        They are there for this Recommender, with a popularity of 0; its folder stays as it is. Not to be called while
        another thread recommends.

        Args:
            table: item_id and the text columns that the model's own items have; a missing text is None.
            vectors: (rows, E) text embeddings by the model's encoder, of the sentences that it makes of the texts; None
                encodes them now, for which the encoder is loaded.

        Raises:
            InputError: an id is known already or comes twice, no text column is there, the vectors are of another
                shape, the model was trained without texts, or the encoder is not there.
        """
        new = self._placement.read(table, self._catalogue, self.info["columns"]["item"])
        if not new.ids:
            return
        text_NE = self._placement.encoded(new) if vectors is None else self._placement.checked(vectors, len(new.ids))
        network, device = self._scorer.network, self._scorer.device
        rows = [None if part is None else torch.from_numpy(part).to(device) for part in self._placement.rows(text_NE)]
        network.add_items(torch.from_numpy(text_NE).to(device), *rows)
        self._scorer.renew_table()
        self._catalogue.add(new.ids, new.titles)
        self._model.text_VE = np.concatenate([self._model.text_VE, text_NE])
        self.__dict__.pop("_similarity", None)

    def vectors_of(self, table: pd.DataFrame) -> np.ndarray:
        """float32 (rows, E): what `add_items` takes as vectors. All of it that takes long is done here: the encoder is
        loaded, the texts are encoded and the regression is fitted. May run while another thread recommends."""
        vectors = self._placement.encoded(self._placement.read(table, self._catalogue, self.info["columns"]["item"]))
        self._placement.rows(vectors)  # fits
        return vectors

    @cached_property
    def _placement(self) -> Placement:
        network, counts = self._scorer.network, self._catalogue.counts
        learned = [getattr(network, name, None) for name in ("collaborative_emb", "item_decoder")]
        tables = [None if table is None else table.weight.detach().cpu().numpy() for table in learned]
        texts = self.info["texts"]
        if self._encoder:
            here = Path(self._encoder).expanduser().absolute()  # a folder counts from here, other words name the hub's
            texts = texts | {"encoder": str(here) if here.is_dir() else self._encoder}
        return Placement(texts, self._model.text_VE, tables, counts, self._scorer.device)

    def session(self, history: Sequence[Any] = (), ratings: Sequence[float | None] | None = None) -> Session:
        """One user's history that grows event by event (sear.recommend.session).

        Args:
            history: item ids, the oldest first, or pairs of an id and a rating; unknown items are skipped.
            ratings: one for each item of a history of ids; None or NaN = none.

        Raises:
            InputError: ratings are of another number than items, or are no numbers.
        """
        events = list(history)
        if ratings is not None:
            if len(ratings) != len(events):
                told = f"{len(ratings)} ratings for {len(events)} items"
                raise InputError(f"ratings: {told} - give one for each, None where there is none")
            events = list(zip(events, ratings, strict=True))
        return Session(self, *from_list(events, self._catalogue))

    def session_from_bytes(self, data: bytes) -> Session:
        """The session that `Session.to_bytes` gave, also by an earlier model: then its history is read anew.

        Raises:
            InputError: the bytes are cut, changed, or no session of this SEAR.
        """
        return from_bytes(self, data)

    def warm_up(self) -> None:
        """Answer once of each kind, so that nobody's request waits for what is compiled, read or imported.

        Raises:
            InputError: the model cannot answer, such as one whose text embeddings are damaged.
        """
        item = self.item_ids[0]
        for users in (1, FEW_EVENTS + 1):  # few events and many go different ways
            self.recommend(history=pd.DataFrame({"user_id": range(users), "item_id": item}), k=1)
        self.recommend(history=[item], k=1)
        session = self.session([item])
        session.add(item)
        session.recommend(k=1)
        self.explain([item], item)

    def _histories(self, users: Sequence[Any] | None, history: History | None) -> tuple[UserHistories, int]:
        """The users asked for with their histories, and how many events were skipped."""
        if history is None:
            return self._known_histories(users), 0
        if not isinstance(history, pd.DataFrame):
            if users is not None:
                raise InputError("history is a list, which is of one user without a name - leave out users")
            return from_list(history, self._catalogue)
        given, skipped = from_table(history, self._catalogue, self.info["columns"])
        if users is None:
            return given, skipped
        row_of = {user: row for row, user in enumerate(given.user_ids)}
        wanted = _ids(users)
        others = [user for user in wanted if user not in row_of]
        both = joined(given, self._known_histories(others)) if others else given
        row_of |= {user: row for row, user in enumerate(others, len(given.user_ids))}
        return selected(both, np.array([row_of[user] for user in wanted], dtype=np.int64)), skipped

    def _known_histories(self, users: Sequence[Any] | None) -> UserHistories:
        if self._users is None:
            raise InputError("the model folder holds no users - give a history, or export the model with its users")
        if users is None:
            return self._users
        wanted = _ids(users)
        known = [user for user in wanted if user in self._user_rows]
        found = selected(self._users, np.array([self._user_rows[user] for user in known], dtype=np.int64))
        if len(known) == len(wanted):
            return found
        new = [user for user in wanted if user not in self._user_rows]
        nothing = UserHistories(new, np.zeros(len(new) + 1, np.int64), found.item[:0], found.rating[:0])
        row_of = {user: row for row, user in enumerate([*known, *new])}
        return selected(joined(found, nothing), np.array([row_of[user] for user in wanted], dtype=np.int64))

    @cached_property
    def _user_rows(self) -> dict[str, int]:
        assert self._users is not None
        return {user: row for row, user in enumerate(self._users.user_ids)}

    def _selection(
        self, k: int, filter_seen: bool, items: Sequence[Any] | None, exclude: Sequence[Any] | None
    ) -> Selection:
        count = len(self._catalogue)
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= count:
            raise InputError(f"k is {k!r} - write a whole number from 1 to {count:,}, the number of items")
        allowed = None if items is None else np.sort(self._catalogue.numbers_of(items, "items"))
        if allowed is not None and not len(allowed):
            raise InputError("items is empty, so nothing may be recommended - name items, or leave it out")
        excluded = None if exclude is None else self._catalogue.numbers_of(exclude, "exclude")
        return Selection(int(k), filter_seen, allowed, excluded)

    def _batches(
        self, histories: UserHistories, selection: Selection, with_titles: bool, batch_size: int
    ) -> Iterator[pd.DataFrame]:
        """At least one table, however few users there are."""
        for first in range(0, max(1, len(histories.user_ids)), batch_size):
            rows = np.arange(first, min(first + batch_size, len(histories.user_ids)))
            part = selected(histories, rows)
            yield self._table(part.user_ids, self._top(part, selection), with_titles)

    def _top(self, histories: UserHistories, selection: Selection, vectors_BD: torch.Tensor | None = None) -> TopItems:
        """The best items of some users; vectors_BD: of every one of them, where they are known and all have events."""
        users = len(histories.offsets) - 1
        by_model = np.diff(histories.offsets) > 0
        width = max(min(selection.k, self._candidates(selection)), 1)
        score_Bk = np.full((users, width), -np.inf, np.float32)
        item_Bk = np.zeros((users, width), np.int64)
        if by_model.any():
            known = histories if by_model.all() else selected(histories, np.flatnonzero(by_model))
            if vectors_BD is None:
                vectors_BD = self._scorer.user_vectors(known)
            score_Bk[by_model], item_Bk[by_model] = self._scorer.best(vectors_BD, known, selection)
        if not by_model.all():
            popular = self._popular(selection)
            item_Bk[~by_model, : len(popular)] = popular
            score_Bk[~by_model, : len(popular)] = self._catalogue.counts[popular - 1]
        return TopItems(score_Bk, item_Bk, by_model)

    def _table(self, users: Sequence[str | None], top: TopItems, with_titles: bool) -> pd.DataFrame:
        """What `recommend` returns."""
        there_Bk = top.score_Bk > -np.inf
        row_N, place_N = np.nonzero(there_Bk)
        names, titles = self._catalogue.names
        item_N = top.item_Bk[there_Bk]
        ids = np.array([*users, None], dtype=object)[:-1]
        columns = {
            "user_id": ids[row_N],
            "item_id": names[item_N],
            "score": top.score_Bk[there_Bk],
            "rank": place_N + 1,
            "source": np.array(["popularity", "model"], dtype=object)[top.by_model_B.astype(int)][row_N],
        }
        return pd.DataFrame(columns | ({"title": titles[item_N]} if with_titles else {}))

    def _candidates(self, selection: Selection) -> int:
        return len(self._catalogue) if selection.allowed is None else len(selection.allowed)

    def _popular(self, selection: Selection) -> np.ndarray:
        """int64: the k most popular items that may be recommended."""
        ranked = self._catalogue.by_popularity
        if selection.allowed is not None:
            ranked = ranked[np.isin(ranked, selection.allowed)]
        if selection.excluded is not None:
            ranked = ranked[~np.isin(ranked, selection.excluded)]
        return ranked[: selection.k]


def _ids(users: Any) -> list[str]:
    if not isinstance(users, Iterable):
        raise InputError(f"users is {users!r} - write a list of ids")
    return list(dict.fromkeys(str(user) for user in ([users] if isinstance(users, str) else users)))
