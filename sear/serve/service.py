"""One service: its live model, its sessions, and the watch for a newer model."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TypeVar

from sear.errors import InputError
from sear.serve.answers import ConflictError, new_items
from sear.serve.bodies import ItemsAdded, NewItemsBody
from sear.serve.limits import Limits
from sear.serve.live_model import LiveModel, ServedModel, say
from sear.serve.metrics import Metrics
from sear.serve.model_thread import ModelThread, Overloaded
from sear.serve.sessions import Sessions

T = TypeVar("T")
WATCH_SECONDS = 5.0


class Service:
    """What the routes share.

    Args:
        watch_seconds: how often the model's folder is looked at for a newer model.

    Attributes:
        failure, on_failure: why the first model cannot answer, and what is called then.
    """

    def __init__(self, live: LiveModel, limits: Limits | None = None, watch_seconds: float = WATCH_SECONDS):
        self.live, self.limits, self.metrics = live, limits or Limits(), Metrics()
        self.sessions = Sessions(self.limits)
        self.thread = ModelThread(live, self.limits, self.metrics)
        self.is_ready = False
        self._watch_seconds = watch_seconds
        self.failure: Exception | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self._changing = asyncio.Lock()  # items are not added while a model is loaded, nor by two requests at a time
        self._adding = 0  # requests that do or wait for it
        self._tasks: list[asyncio.Task] = []

    def start(self) -> None:
        """Begin to warm the model and to watch its folder. Needs a running event loop."""
        self._tasks = [asyncio.create_task(self._warm()), asyncio.create_task(self._watch())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.thread.close()

    async def add_items(self, body: NewItemsBody) -> ItemsAdded:
        """Make items recommendable from their texts. Only the last step holds up who asks for recommendations."""
        live, most = self.live, self.limits.added_items
        async with self._turn_to_add():
            table = new_items(live, body, most)
            try:
                vectors = await in_own_thread(partial(live.now.recommender.vectors_of, table))
            except InputError as error:  # the table is right, so it is the encoder that is not
                raise ConflictError(f"items: new texts cannot be read here: {error}") from error

            def add(model: ServedModel) -> ItemsAdded:
                live.add_items(table, vectors)
                return ItemsAdded(added=len(table), items=len(model.items))

            return await self.thread.run(add)

    @asynccontextmanager
    async def _turn_to_add(self) -> AsyncIterator[None]:
        if self._adding >= self.limits.adding:
            raise Overloaded
        self._adding += 1
        try:
            async with self._changing:
                yield
        finally:
            self._adding -= 1

    def metrics_text(self) -> bytes:
        self.metrics.sessions.set(len(self.sessions))
        self.metrics.items.set(len(self.live.now.items))
        self.metrics.generation.set(self.live.now.generation)
        self.metrics.ready.set(self.is_ready)
        return self.metrics.text()

    async def _warm(self) -> None:
        try:
            await self.thread.run(lambda model: model.recommender.warm_up())
        except Exception as error:
            self.failure = error
            self.on_failure()
        else:
            self.is_ready = True
            say("ready")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._watch_seconds)
            with suppress(Overloaded):
                await self.thread.run(lambda _: self.sessions.drop_old())
            if await asyncio.to_thread(self.live.has_newer):
                await self.reload()

    async def reload(self) -> None:
        """Load what the folder holds now and let it answer; where that fails, the model in use stays."""
        try:
            async with self._changing:
                newer = await in_own_thread(self.live.load_newer)
                await self.thread.run(lambda _: self._take(newer))
        except Exception as error:  # whatever a broken folder leads to: the service goes on
            self.metrics.reloads.labels("failed").inc()
            say(f"no reload, the model in use stays: {in_words(error)}")
        else:
            self.metrics.reloads.labels("taken").inc()
            say(f"reloaded: model {newer.generation}, {len(newer.items):,} items")

    def _take(self, newer: ServedModel) -> None:
        self.live.take(newer)
        self.sessions.forget_states()
        self.is_ready = True


def in_words(error: Exception) -> str:
    return str(error) if isinstance(error, InputError | OSError) else f"{type(error).__name__}: {error}"


async def in_own_thread(work: Callable[[], T]) -> T:
    """The result of `work`, run in a thread of its own that does not keep the program from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(answer: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(answer)  # type: ignore[arg-type]

    def run() -> None:
        answer, error = None, None
        try:
            answer = work()
        except BaseException as caught:
            error = caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, answer, error)

    threading.Thread(target=run, daemon=True, name="reload").start()
    return await future
