"""The ASGI application: routes, one-line answers to mistakes, and the description at /openapi.json."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

import sear
from sear.errors import InputError
from sear.serve.answers import ConflictError, NotReady, UnknownError
from sear.serve.guard import AUTHORISED, BUSY, Guard, problem
from sear.serve.live_model import ServedModel
from sear.serve.model_thread import Overloaded
from sear.serve.pages import page_routes
from sear.serve.routes import health_routes, metrics_routes, model_routes, session_routes
from sear.serve.service import Service

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
STATUS_OF = {UnknownError: 404, ConflictError: 409, NotReady: 503}  # every other InputError is a 422
FORMS = ("constrained-str", "Event")  # pydantic's names for what an event may be
DESCRIPTION = "Recommendations of a trained model. Every mistake is answered by one line in the field error."


def create_app(service: Service, token: str | None = None, hosts: frozenset[str] = LOCAL_HOSTS) -> Guard:
    """The whole service as an ASGI application.

    Args:
        token: demanded of every request that concerns the model; None asks for none, and then only requests to one of
            `hosts` are answered.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    app = FastAPI(title="SEAR", version=sear.__version__, lifespan=lifespan, openapi_url=None)
    behind_token = [Depends(HTTPBearer(auto_error=False))] if token else []  # for the description; Guard checks it
    for router in (model_routes(service), session_routes(service), metrics_routes(service)):
        app.include_router(router, dependencies=behind_token)
    app.include_router(health_routes(service))
    app.include_router(page_routes(), include_in_schema=False)
    _answer_mistakes(app)
    _describe(app, service)
    return Guard(app, service.limits, service.metrics, token, hosts)


def _answer_mistakes(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, in_one_line(error.errors()))

    @app.exception_handler(InputError)
    async def mistaken(_: Request, error: InputError) -> JSONResponse:
        return problem(STATUS_OF.get(type(error), 422), str(error))

    @app.exception_handler(Overloaded)
    async def overloaded(_: Request, __: Overloaded) -> JSONResponse:
        answer = problem(503, BUSY)
        answer.headers["retry-after"] = "1"
        return answer

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 400:  # FastAPI's word for a body that no JSON reader takes, such as one nested too deep
            return problem(422, "body: no JSON that can be read")
        answer = problem(error.status_code, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        logging.getLogger("sear.serve").error("a request failed", exc_info=error)
        return problem(500, "the service made a mistake; its log tells more")


def in_one_line(errors: Any) -> str:
    """The first of pydantic's errors, where it is and how many there are besides."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return f"body: no JSON: {first.get('ctx', {}).get('error', first['msg'])} (character {first['loc'][-1]})"
    same = [error for error in errors if error["loc"][:3] == first["loc"][:3]]
    told = max(same, key=lambda error: len(error["loc"]))  # of the forms that an event may have, the one that was meant
    place = ".".join(str(part) for part in told["loc"] if part not in ("body", "query", "path", *FORMS)) or "body"
    place, message = cut(place, 100), cut(told["msg"], 300)
    more = f"; {len(errors) - len(same)} more" if len(errors) > len(same) else ""
    line = f"{place}: {message[:1].lower()}{message[1:]}{more}"
    return line.encode("utf-8", "backslashreplace").decode()  # halves of pairs of surrogates can be sent, but not told


def cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


def _describe(app: FastAPI, service: Service) -> None:
    made: dict[bool, tuple[Any, bytes]] = {}

    @app.get("/openapi.json", include_in_schema=False)
    async def description(request: Request) -> Response:
        model = service.live.now
        known, key = request.scope[AUTHORISED], (model.generation, len(model.items))
        if made.get(known, (None,))[0] != key:
            whole = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
            made[known] = key, bytes(JSONResponse(fitted(whole, model) if known else whole).body)
        return Response(made[known][1], media_type="application/json")


def fitted(whole: dict[str, Any], model: ServedModel) -> dict[str, Any]:
    """The OpenAPI description with the limits of a model."""
    for schema in whole["components"]["schemas"].values():
        k = schema.get("properties", {}).get("k")
        if k:
            k["maximum"] = min(k["maximum"], len(model.items))
    texts = whole["components"]["schemas"]["NewItem"]["properties"]["texts"]
    text = texts.pop("additionalProperties")
    texts["properties"] = dict.fromkeys(model.recommender.text_fields, text)
    texts["additionalProperties"] = False
    texts.pop("propertyNames", None)
    return whole
