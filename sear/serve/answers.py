"""Answers of a Recommender as what the service sends. Runs in the model's thread; knows nothing of HTTP."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sear.errors import InputError
from sear.recommend.top_items import TopItems
from sear.runs.model_folder import UserHistories
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
from sear.serve.live_model import LiveModel, ServedModel
from sear.serve.titled_items import TitledItems

Events = Sequence[tuple[str, float | None]]


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


def check_k(k: int, known: TitledItems) -> None:
    if k > len(known):
        raise InputError(f"k: {k:,} is more than the model's {len(known):,} items - ask for fewer")


def check_known(ids: Sequence[str], known: TitledItems, what: str) -> None:
    for item_id in ids:
        if item_id not in known:
            raise UnknownError(f"{what}: the model knows no item {item_id!r} - search for it, or add it as a new one")


def check_query(query: Query, model: ServedModel) -> None:
    """Raises InputError for what the model cannot answer."""
    check_k(query.k, model.items)
    check_known(query.items or (), model.items, "items")
    check_known(query.exclude, model.items, "exclude")
    if query.user_id is not None and model.recommender.user_ids is None:
        raise InputError("user_id: this model was exported without users - send a history")


def recommend_all(model: ServedModel, queries: Sequence[Query]) -> list[Recommendations]:
    """One answer per query; those that differ only in whose history it is and in k are scored together."""
    groups: dict[tuple, list[int]] = defaultdict(list)
    for place, query in enumerate(queries):
        check_query(query, model)
        groups[(query.filter_seen, query.items, query.exclude)].append(place)
    answers: dict[int, Recommendations] = {}
    for places in groups.values():
        group = [queries[place] for place in places]
        pasts, unknown = zip(*(past_of(model, query) for query in group), strict=True)
        k = max(query.k for query in group)
        top = model.recommender.top_items(*pasts, k=k, **selection_of(group[0]))
        for row, place in enumerate(places):
            answers[place] = recommendations(model, top, row, group[row].k, unknown[row])
    return [answers[place] for place in range(len(queries))]


def past_of(model: ServedModel, query: Query) -> tuple[UserHistories, int]:
    """The history that is meant, and how many of its events have unknown items."""
    if query.user_id is not None:
        return model.recommender.known_history(query.user_id), 0
    return model.recommender.read_history(query.events or ())


def selection_of(query: Query) -> dict[str, Any]:
    """What may be recommended, as a Recommender and a Session take it."""
    return {"filter_seen": query.filter_seen, "items": query.items, "exclude": query.exclude or None}


def recommendations(model: ServedModel, top: TopItems, row: int, k: int, unknown: int) -> Recommendations:
    """The first k items of one user; none where nothing was left to recommend."""
    ids, titles = model.recommender.item_ids, model.recommender.titles
    items = [
        Recommended(item_id=ids[number - 1], title=titles[number - 1], score=score, rank=rank)
        for rank, number, score in zip(range(1, k + 1), *top.of(row), strict=False)
    ]
    source = "model" if top.by_model_B[row] else "popularity"
    return Recommendations(items=items, source=source, unknown_items=unknown)


def similar(model: ServedModel, body: SimilarBody) -> SimilarAnswer:
    check_known([body.item_id], model.items, "item_id")
    check_k(body.k, model.items)
    k = min(body.k, len(model.items) - 1)  # an item is not similar to itself
    table = model.recommender.similar_items([body.item_id], k=k, by=body.by)
    rows = zip(table["similar_item_id"].tolist(), table["score"].tolist(), table["rank"].tolist(), strict=True)
    items = [SimilarItem(item_id=i, title=model.items.title(i), score=score, rank=rank) for i, score, rank in rows]
    return SimilarAnswer(item_id=body.item_id, items=items)


def explain(model: ServedModel, body: ExplainBody, events: Events) -> Explanation:
    """The item's place in the whole ranking, and the most similar items of the history."""
    items, recommender = model.items, model.recommender
    check_known([body.item_id], items, "item_id")
    past, target = (recommender.read_history(which)[0] for which in (events, [body.item_id]))
    ranked = recommender.top_items(past, k=len(items), filter_seen=body.filter_seen).of(0)[0]
    number = target.item.item()
    because = recommender.explain(events, body.item_id, k=body.k)
    return Explanation(
        item_id=body.item_id,
        title=items.title(body.item_id),
        rank=ranked.index(number) + 1 if number in ranked else None,
        of=len(ranked),
        because=[Reason(item_id=i, title=items.title(i), similarity=likeness) for i, likeness in because],
    )


def new_items(live: LiveModel, body: NewItemsBody, most: int) -> pd.DataFrame:
    """The table of new items. Raises InputError where one of them cannot be added: then none is."""
    ids = [item.item_id for item in body.items]
    twice = next((item_id for item_id in ids if ids.count(item_id) > 1), None)
    if twice is not None:
        raise ConflictError(f"items: {twice!r} stands twice - send each item once")
    known = next((item_id for item_id in ids if item_id in live.now.items), None)
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
        items=len(model.items),
        users=None if users is None else len(users),
        text_fields=recommender.text_fields,
        highest_rating=recommender.highest_rating,
        generation=model.generation,
        info=recommender.info,
    )
