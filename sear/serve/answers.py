"""Answers of a Recommender as what the service sends. Runs in the model's thread; knows nothing of HTTP."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sear.errors import InputError
from sear.serve.bodies import (
    ExplainBody,
    Explanation,
    ModelInfo,
    NewItemsBody,
    Reason,
    Recommendations,
    Recommended,
    SimilarAnswer,
    SimilarBody,
    SimilarItem,
)
from sear.serve.catalogue import Catalogue
from sear.serve.live_model import LiveModel, ServedModel

Events = Sequence[tuple[str, float | None]]
ANONYMOUS = "\x1f"  # begins no id of a table; NUL would end a text for pandas


class UnknownError(InputError):
    """An item or session that is not there."""


class ConflictError(InputError):
    """What the model as it is stands against, such as an item that is there already."""


class NotReady(InputError):
    """The model is not warm yet."""


@dataclass(frozen=True)
class Query:
    """One wish for recommendations. Exactly one of user_id and events is None."""

    user_id: str | None
    events: tuple[tuple[str, float | None], ...] | None
    k: int = 10
    filter_seen: bool = True
    items: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()


def check_k(k: int, catalogue: Catalogue) -> None:
    if k > len(catalogue):
        raise InputError(f"k: {k:,} is more than the model's {len(catalogue):,} items - ask for fewer")


def check_known(ids: Sequence[str], catalogue: Catalogue, what: str) -> None:
    for item_id in ids:
        if item_id not in catalogue:
            raise UnknownError(f"{what}: the model knows no item {item_id!r} - search for it, or add it as a new one")


def check_query(query: Query, model: ServedModel) -> None:
    """Raises InputError for what the model cannot answer."""
    check_k(query.k, model.catalogue)
    check_known(query.items or (), model.catalogue, "items")
    check_known(query.exclude, model.catalogue, "exclude")
    if query.user_id is not None and model.recommender.user_ids is None:
        raise InputError("user_id: this model was exported without users - send a history")


def recommend_all(model: ServedModel, queries: Sequence[Query]) -> list[Recommendations]:
    """One answer per query; those that differ only in user and k are scored together."""
    groups: dict[tuple, list[int]] = defaultdict(list)
    for place, query in enumerate(queries):
        check_query(query, model)
        by_id = query.user_id is not None
        groups[(by_id, query.filter_seen, query.items, query.exclude)].append(place)
    answers: dict[int, Recommendations] = {}
    for (by_id, *_), places in groups.items():
        group = [queries[place] for place in places]
        found = _by_user(model, group) if by_id else _by_history(model, group)
        answers |= dict(zip(places, found, strict=True))
    return [answers[place] for place in range(len(queries))]


def _by_user(model: ServedModel, queries: list[Query]) -> list[Recommendations]:
    users = [query.user_id for query in queries]
    table = model.recommender.recommend(users=list(dict.fromkeys(users)), **_wishes(queries))
    rows = dict(iter(table.groupby("user_id", sort=False)))
    return [
        recommendations(rows.get(user), query.k, model.catalogue, 0) for user, query in zip(users, queries, strict=True)
    ]


def _by_history(model: ServedModel, queries: list[Query]) -> list[Recommendations]:
    """Histories of nobody in particular, each under a made-up user id; the empty ones share one answer."""
    catalogue = model.catalogue
    unknown = [sum(item not in catalogue for item, _ in query.events or ()) for query in queries]
    rows = [
        (f"{ANONYMOUS}{place}", item_id, rating)
        for place, query in enumerate(queries)
        for item_id, rating in query.events or ()
        if item_id in catalogue
    ]
    tables: dict[str, pd.DataFrame] = {}
    if rows and len(queries) == 1:  # a list is read in less time than a table
        history = [(item_id, rating) for _, item_id, rating in rows]
        tables = {f"{ANONYMOUS}0": model.recommender.recommend(history=history, **_wishes(queries))}
    elif rows:
        events = pd.DataFrame(rows, columns=["user_id", "item_id", "rating"]).astype({"rating": float})
        table = model.recommender.recommend(history=events, **_wishes(queries))
        tables = dict(iter(table.groupby("user_id", sort=False)))
    names = [f"{ANONYMOUS}{place}" for place in range(len(queries))]
    popular = None
    if not {row[0] for row in rows}.issuperset(names):
        popular = model.recommender.recommend(history=[], **_wishes(queries))
    return [
        recommendations(tables.get(name, popular), query.k, catalogue, count)
        for name, query, count in zip(names, queries, unknown, strict=True)
    ]


def _wishes(queries: list[Query]) -> dict[str, Any]:
    first = queries[0]
    return {
        "k": max(query.k for query in queries),
        "filter_seen": first.filter_seen,
        "items": None if first.items is None else list(dict.fromkeys(first.items)),
        "exclude": list(dict.fromkeys(first.exclude)) or None,
    }


def recommendations(table: pd.DataFrame | None, k: int, catalogue: Catalogue, unknown: int) -> Recommendations:
    """The first k rows of one user's table; None and no rows where nothing was left to recommend."""
    if table is None or not len(table):
        return Recommendations(items=[], source="model", unknown_items=unknown)
    rows = zip(table["item_id"].tolist(), table["score"].tolist(), table["rank"].tolist(), strict=True)
    items = [
        Recommended(item_id=item_id, title=catalogue.title(item_id), score=score, rank=rank)
        for item_id, score, rank in rows
        if rank <= k
    ]
    source = table["source"].iloc[0] if "source" in table else "model"
    return Recommendations(items=items, source=source, unknown_items=unknown)


def similar(model: ServedModel, body: SimilarBody) -> SimilarAnswer:
    check_known([body.item_id], model.catalogue, "item_id")
    check_k(body.k, model.catalogue)
    k = min(body.k, len(model.catalogue) - 1)  # an item is not similar to itself
    table = model.recommender.similar_items([body.item_id], k=k, by=body.by)
    rows = zip(table["similar_item_id"].tolist(), table["score"].tolist(), table["rank"].tolist(), strict=True)
    items = [SimilarItem(item_id=i, title=model.catalogue.title(i), score=score, rank=rank) for i, score, rank in rows]
    return SimilarAnswer(item_id=body.item_id, items=items)


def explain(model: ServedModel, body: ExplainBody, events: Events) -> Explanation:
    """The item's place in the whole ranking, and the most similar items of the history."""
    catalogue = model.catalogue
    check_known([body.item_id], catalogue, "item_id")
    rank, count = model.recommender.rank(events, body.item_id, body.filter_seen)
    known = [item_id for item_id, _ in events if item_id in catalogue]
    because = model.recommender.explain(known, body.item_id, k=body.k) if known else []
    return Explanation(
        item_id=body.item_id,
        title=catalogue.title(body.item_id),
        rank=rank,
        of=count,
        because=[Reason(item_id=i, title=catalogue.title(i), similarity=number) for i, number in because],
    )


def new_items(live: LiveModel, body: NewItemsBody, most: int) -> pd.DataFrame:
    """The table of new items. Raises InputError where one of them cannot be added: then none is."""
    ids = [item.item_id for item in body.items]
    twice = next((item_id for item_id in ids if ids.count(item_id) > 1), None)
    if twice is not None:
        raise ConflictError(f"items: {twice!r} stands twice - send each item once")
    known = next((item_id for item_id in ids if item_id in live.now.catalogue), None)
    if known is not None:
        raise ConflictError(f"items: the model has an item {known!r} already - give the new one another id")
    if live.added + len(ids) > most:
        raise ConflictError(f"items: {most:,} items were added since the start - train on them, then add more")
    fields = live.now.recommender.text_fields
    for item in body.items:
        for name in item.texts:
            if name not in fields:
                told = f"choose from {', '.join(fields)}" if fields else "it was trained without texts"
                raise InputError(f"texts: this model has no text column {name!r} - {told}")
    return pd.DataFrame([{"item_id": item.item_id, **item.texts} for item in body.items])


def model_info(model: ServedModel) -> ModelInfo:
    recommender = model.recommender
    users = recommender.user_ids
    return ModelInfo(
        name=recommender.name,
        dataset=recommender.dataset,
        items=len(model.catalogue),
        users=None if users is None else len(users),
        text_fields=recommender.text_fields,
        highest_rating=recommender.highest_rating,
        generation=model.generation,
        info=recommender.info,
    )
