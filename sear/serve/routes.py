"""Which request is answered by what."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from sear.serve import answers, bodies
from sear.serve.bodies import Problem
from sear.serve.metrics import CONTENT_TYPE
from sear.serve.service import Service

Responses = dict[int | str, dict[str, Any]]
SessionId = Annotated[str, Path(min_length=1, max_length=100)]
BAD: Responses = {422: {"model": Problem, "description": "what is wrong with the request, in one line"}}
NOT_THERE: Responses = {404: {"model": Problem, "description": "no such item or session"}}
CONFLICT: Responses = {
    409: {"model": Problem, "description": "it is there already, there are too many, or there is no encoder"}
}
TOO_LARGE: Responses = {413: {"model": Problem, "description": "the body is too large"}}
BUSY: Responses = {503: {"model": Problem, "description": "too many requests wait, or the model is not warm yet"}}
ASKS_THE_MODEL: Responses = BAD | TOO_LARGE | BUSY


def model_routes(service: Service) -> APIRouter:
    """Recommendations, similar items, explanations, new items, and what the model is."""
    router = APIRouter(responses=ASKS_THE_MODEL)
    thread, live = service.thread, service.live

    @router.post("/recommend", responses=NOT_THERE)
    async def recommend(body: bodies.RecommendBody) -> bodies.Recommendations:
        """What to offer next to a user that the model knows, or to anybody with this history.

        Without either, or for a user without a known event, the popular items.
        """
        user = body.user_id if body.history is None else None
        history = events_of(body.history or []) if user is None else None
        return await thread.recommend(query_of(body, user, history))

    @router.post("/similar", responses=NOT_THERE)
    async def similar(body: bodies.SimilarBody) -> bodies.SimilarAnswer:
        """The items most similar to one item, by what users did or by the texts."""
        return await thread.run(lambda model: answers.similar(model, body))

    @router.post("/explain", responses=NOT_THERE)
    async def explain(body: bodies.ExplainBody) -> bodies.Explanation:
        """Where an item stands in the ranking for a history, and which items of the history are most similar to it."""
        return await thread.run(lambda model: answers.explain(model, body, events_of(body.history)))

    @router.post("/items", status_code=201, responses=CONFLICT)
    async def add_items(body: bodies.NewItemsBody) -> bodies.ItemsAdded:
        """Make items recommendable that were never sold, from their texts. They are gone when the service stops."""
        return await service.add_items(body)

    @router.get("/search", responses=BAD)
    def search(  # in a thread: it looks at every title
        text: Annotated[str, Query(max_length=200)] = "", k: Annotated[int, Query(ge=1, le=100)] = 10
    ) -> bodies.Found:
        """Items whose title or id holds all these words, the popular ones first."""
        items = live.now.items
        found = [bodies.ItemFound(item_id=one, title=items.title(one)) for one in items.search(text, k)]
        return bodies.Found(items=found)

    @router.get("/model")
    async def model() -> bodies.ModelInfo:
        """Name, data set, commit, metrics and counts of the model that answers now."""
        return answers.model_info(live.now)

    return router


def session_routes(service: Service) -> APIRouter:
    """A session keeps the model's state of one history, so that its next event costs the same however long it is."""
    router = APIRouter(prefix="/session", responses=ASKS_THE_MODEL)
    thread, sessions = service.thread, service.sessions

    @router.post("", status_code=201, responses=NOT_THERE)
    async def begin(body: bodies.SessionBody) -> bodies.SessionAnswer:
        """Begin a session, with a history or without."""
        return await thread.run(lambda model: sessions.begin(model, events_of(body.history), query_of(body)))

    @router.post("/{session_id}/add", responses=NOT_THERE)
    async def add(session_id: SessionId, body: bodies.SessionEvent) -> bodies.SessionAnswer:
        """Add an event; the answer is what to recommend after it."""
        return await thread.run(
            lambda model: sessions.add(model, session_id, body.item_id, body.rating, query_of(body))
        )

    @router.post("/{session_id}/recommend", responses=NOT_THERE)
    async def recommend(session_id: SessionId, body: bodies.Wishes) -> bodies.SessionAnswer:
        """What to recommend in this session now."""
        return await thread.run(lambda model: sessions.recommend(model, session_id, query_of(body)))

    @router.get("/{session_id}", responses=NOT_THERE)
    async def history(session_id: SessionId) -> bodies.SessionHistory:
        """The session's events."""
        return await thread.run(lambda model: sessions.history(model, session_id))

    @router.delete("/{session_id}", status_code=204, responses=NOT_THERE)
    async def end(session_id: SessionId) -> Response:
        """Forget the session."""
        await thread.run(lambda _: sessions.end(session_id))
        return Response(status_code=204)

    return router


def health_routes(service: Service) -> APIRouter:
    """For those who run the service; answered without a token, and while the model works."""
    router = APIRouter()

    @router.get("/health")
    async def health() -> bodies.Status:
        """The program runs."""
        return bodies.Status(status="ok")

    @router.get("/ready", responses=BUSY)
    async def ready(response: Response) -> bodies.Status:
        """The model is loaded and warm: its kernels are compiled."""
        if not service.is_ready:
            raise answers.NotReady("the model is not warm yet - ask again in a few seconds")
        return bodies.Status(status="ready")

    return router


def metrics_routes(service: Service) -> APIRouter:
    router = APIRouter()

    @router.get("/metrics", responses={200: {"content": {"text/plain": {}}}}, response_class=Response)
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(service.metrics_text(), headers={"content-type": CONTENT_TYPE})

    return router


def events_of(history: list[str | bodies.Event]) -> list[tuple[str, float | None]]:
    return [(one, None) if isinstance(one, str) else (one.item_id, one.rating) for one in history]


def query_of(
    body: bodies.Wishes, user_id: str | None = None, events: list[tuple[str, float | None]] | None = None
) -> answers.Query:
    items = None if body.items is None else tuple(body.items)
    past = None if events is None else tuple(events)
    return answers.Query(user_id, past, body.k, body.filter_seen, items, tuple(body.exclude))
