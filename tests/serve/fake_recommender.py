"""A recommender of made-up items that is there at once, with the interface of sear.recommend's."""

import hashlib

import numpy as np
import pandas as pd

from sear.errors import InputError

TITLES = ["Crème brûlée", "<img src=x onerror=alert(1)>", None, "Käsespätzle", "Straße nach Süden", "Tom & Jerry's"]


class FakeRecommender:
    name, dataset = "SEAR", "spices"
    text_fields = ["title", "kind"]
    uses_ratings = True
    highest_rating = 5.0

    def __init__(self, items=30, seed=0):
        self.item_ids = [f"i{n}" for n in range(items)]
        self.titles = [TITLES[n] if n < len(TITLES) else f"Spice no. {n}" for n in range(items)]
        self.popularity = np.arange(items, 0, -1)
        self.user_ids = [f"u{n}" for n in range(5)]
        self.info = {"model": "SEAR", "dataset": "spices", "commit": "0" * 40, "metrics": {"ndcg@10": 0.1}}
        self.seed, self.calls = seed, []

    def _likeness(self, one, other):
        digest = hashlib.sha256(f"{self.seed} {min(one, other)} {max(one, other)}".encode()).digest()
        return int.from_bytes(digest[:4], "big") / 2**32

    def _ranked(self, events, k, filter_seen, items, exclude):
        scores = {
            item: sum(self._likeness(item, past) * (rating or 3) for past, rating in events)
            if events
            else -self.item_ids.index(item)
            for item in self.item_ids
            if (items is None or item in items) and item not in (exclude or ())
        }
        seen = {past for past, _ in events} if filter_seen else set()
        ranked = sorted((item for item in scores if item not in seen), key=lambda item: -scores[item])[:k]
        return [(item, float(scores[item]), place + 1) for place, item in enumerate(ranked)]

    def recommend(self, users=None, *, history=None, k=10, filter_seen=True, items=None, exclude=None,
                  with_titles=False, batch_size=128):  # fmt: skip
        self.calls.append(users if history is None else history)
        if history is None:
            for user in users:
                if user not in self.user_ids:
                    raise InputError(f"user {user!r} is unknown - give a history")
            past = {user: [(self.item_ids[int(user[1:])], 5.0)] for user in users}
        elif isinstance(history, pd.DataFrame):
            past = {}
            for user, item, rating in history[["user_id", "item_id", "rating"]].itertuples(index=False):
                past.setdefault(user, []).append((item, None if np.isnan(rating) else rating))
        else:
            past = {None: [(one, None) if isinstance(one, str) else one for one in history]}
        rows = [
            (user, *row, "model" if events else "popularity")
            for user, events in past.items()
            for row in self._ranked(events, k, filter_seen, items, exclude)
        ]
        return pd.DataFrame(rows, columns=["user_id", "item_id", "score", "rank", "source"])

    def similar_items(self, items, k=10, *, by="table", with_titles=False):
        rows = []
        for item in items:
            others = sorted((o for o in self.item_ids if o != item), key=lambda o: -self._likeness(item, o))[:k]
            rows += [(item, other, self._likeness(item, other), n + 1) for n, other in enumerate(others)]
        return pd.DataFrame(rows, columns=["item_id", "similar_item_id", "score", "rank"])

    def add_items(self, table, vectors=None):
        self.item_ids = self.item_ids + table["item_id"].tolist()
        self.titles = self.titles + (table["title"].tolist() if "title" in table else [None] * len(table))
        self.popularity = np.append(self.popularity, np.zeros(len(table)))

    def session(self, history=(), ratings=None):
        return FakeSession(self, list(zip(history, ratings or [None] * len(history), strict=True)))

    def explain(self, history, item, k=3):
        return sorted(((past, self._likeness(past, item)) for past in set(history)), key=lambda one: -one[1])[:k]


class FakeSession:
    def __init__(self, recommender, events):
        self.recommender, self.events = recommender, events

    def add(self, item_id, rating=None):
        self.events.append((item_id, rating))

    def recommend(self, k=10, filter_seen=True, items=None, exclude=None, with_titles=False):
        rows = self.recommender._ranked(self.events, k, filter_seen, items, exclude)
        table = pd.DataFrame(rows, columns=["item_id", "score", "rank"])
        table["source"] = "model" if self.events else "popularity"
        return table
