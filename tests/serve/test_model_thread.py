"""Requests that wait together are scored together, and answered as if they were alone."""

import asyncio
import threading

import pytest

from sear.errors import InputError

pytest.importorskip("fastapi", reason="no FastAPI here: pip install -r requirements-dev.txt")

from sear.serve.answers import Query, recommend_all  # noqa: E402
from sear.serve.bodies import NewItemsBody  # noqa: E402
from sear.serve.limits import Limits  # noqa: E402
from sear.serve.model_thread import ModelThread, Overloaded  # noqa: E402

QUERIES = [
    Query("u1", None, 3),
    Query("u2", None, 5),
    Query("u1", None, 9),
    Query(None, (("i1", None), ("i2", 4.0)), 4),
    Query(None, (("i3", None),), 2),
    Query(None, (), 6),
    Query(None, (("gone", 1.0),), 6),
    Query(None, (("i3", None),), 2, filter_seen=False),
    Query("u2", None, 5, filter_seen=False, items=("i1", "i2", "i3")),
]
ALLOWED = 3  # items of the last one


def test_a_batch_answers_as_each_alone(service):
    together = recommend_all(service.live.now, QUERIES)
    for query, answer in zip(QUERIES, together, strict=True):
        (alone,) = recommend_all(service.live.now, [query])
        assert [(item.item_id, item.rank, item.title) for item in answer.items] == [
            (item.item_id, item.rank, item.title) for item in alone.items
        ]
        assert [item.score for item in answer.items] == pytest.approx([item.score for item in alone.items], abs=1e-5)
        assert (answer.source, answer.unknown_items) == (alone.source, alone.unknown_items)
        assert len(answer.items) == (ALLOWED if query.items else query.k)


async def while_busy(thread, queries):
    """The answers to queries that all come while the model is busy."""
    free = threading.Event()
    busy = asyncio.create_task(thread.run(lambda _: free.wait(10)))
    await asyncio.sleep(0)
    asked = [asyncio.create_task(thread.recommend(query)) for query in queries]
    await asyncio.sleep(0.05)
    free.set()
    await busy
    return await asyncio.gather(*asked, return_exceptions=True)


def test_what_waits_is_one_batch(service, monkeypatch):
    sizes = []
    monkeypatch.setattr(service.metrics.batch_size, "observe", sizes.append)
    answers = asyncio.run(while_busy(service.thread, QUERIES))
    assert [len(answer.items) for answer in answers] == [3, 5, 9, 4, 2, 6, 6, 2, ALLOWED]
    assert sizes == [len(QUERIES)]


def test_one_that_fails_does_not_take_the_others_with_it(service, monkeypatch):
    together = []
    monkeypatch.setattr(
        "sear.serve.model_thread.recommend_all",
        lambda model, asked: together.append(len(asked)) or recommend_all(model, asked),
    )
    bad = [Query("u1", None, 3, items=("gone",)), Query("u1", None, 61)]
    answers = asyncio.run(while_busy(service.thread, [*bad, *QUERIES]))
    assert all(isinstance(answer, InputError) for answer in answers[:2])
    assert [len(answer.items) for answer in answers[2:]] == [3, 5, 9, 4, 2, 6, 6, 2, ALLOWED]
    assert together == [len(QUERIES)]


def test_more_than_may_wait_are_refused(service):
    thread = ModelThread(service.live, Limits(waiting=4), service.metrics)
    answers = asyncio.run(while_busy(thread, QUERIES))
    refused = [answer for answer in answers if isinstance(answer, Overloaded)]
    assert len(refused) == len(QUERIES) - 3  # one runs, three wait


def test_more_than_may_wait_to_add_items_are_refused(service):
    service.limits = Limits(adding=2)
    body = NewItemsBody.model_validate({"items": [{"item_id": "new", "texts": {"title": "x"}}]})

    async def everything():
        return await asyncio.gather(*(service.add_items(body) for _ in range(5)), return_exceptions=True)

    found = asyncio.run(everything())
    assert [type(one) for one in found].count(Overloaded) == 3
