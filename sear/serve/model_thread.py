"""One thread works with the model; requests that wait for it at the same time are scored together."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from sear.errors import InputError
from sear.serve.answers import Query, check_query, recommend_all
from sear.serve.bodies import Recommendations
from sear.serve.limits import Limits
from sear.serve.live_model import LiveModel, ServedModel
from sear.serve.metrics import Metrics

T = TypeVar("T")


class Overloaded(Exception):
    """More requests wait for the model than may."""


class ModelThread:
    """Runs what needs the model, one thing after another, off the event loop.

    A request that finds the model busy waits; when the thread is free, all recommendations that wait are one batch.
    So batches grow with the load, and a single request never waits for company.
    """

    def __init__(self, live: LiveModel, limits: Limits, metrics: Metrics):
        self.live, self._limits, self._metrics = live, limits, metrics
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._waiting: list[tuple[Query, asyncio.Future]] = []
        self._others = 0  # requests of other kinds, waiting or running
        self._worker: asyncio.Task | None = None

    async def run(self, work: Callable[[ServedModel], T]) -> T:
        """What `work` makes of the model that answers at that moment."""
        self._refuse_when_full()
        self._others += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(self.live.now))
        finally:
            self._others -= 1

    async def recommend(self, query: Query) -> Recommendations:
        """Recommendations for one query, scored together with whatever waits beside it."""
        self._refuse_when_full()
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((query, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work_off())
        return await future

    async def _work_off(self) -> None:
        while self._waiting:
            batch = [one for one in self._waiting[: self._limits.batch] if not one[1].cancelled()]
            del self._waiting[: self._limits.batch]
            if not batch:
                continue
            self._metrics.batch_size.observe(len(batch))
            work = partial(answer_each, self.live, [query for query, _ in batch])
            try:
                answers = await asyncio.get_running_loop().run_in_executor(self._thread, work)
            except RuntimeError as error:  # the thread has ended: the service is being stopped
                answers = [error] * len(batch)
            for (_, future), answer in zip(batch, answers, strict=True):
                if future.done():  # the client has gone
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def _refuse_when_full(self) -> None:
        if len(self._waiting) + self._others >= self._limits.waiting:
            raise Overloaded

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def answer_each(live: LiveModel, queries: list[Query]) -> list[Any]:
    """One answer or exception per query; one that fails, such as one of an unknown item, leaves the others together."""
    model, answers = live.now, dict[int, Any]()
    for place, query in enumerate(queries):
        try:
            check_query(query, model)
        except InputError as error:
            answers[place] = error
    left = [place for place in range(len(queries)) if place not in answers]
    try:
        answers |= zip(left, recommend_all(model, [queries[place] for place in left]), strict=True)
    except Exception as error:
        if len(left) == 1:
            return [error if place in left else answers[place] for place in range(len(queries))]
        answers |= {place: answer_each(live, [queries[place]])[0] for place in left}
    return [answers[place] for place in range(len(queries))]
