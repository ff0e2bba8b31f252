"""What every request passes first: host, token and size of its body; and what every answer carries."""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from sear.serve.limits import Limits
from sear.serve.metrics import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AUTHORISED = "sear.authorised"  # in the scope: whether the client may know of the model
OPEN = {"/", "/docs", "/openapi.json", "/health", "/ready"}  # tell nothing of the model or its data
OPEN_FOLDER = "/page/"
BUSY = "too many requests wait for the model - try again in a second"
ANSWER_HEADERS = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class Guard:
    """ASGI middleware around the whole service.

    Args:
        token: demanded as `Authorization: Bearer TOKEN`; without one only names of this machine are answered to, so
            that no web page can reach the service through a name of its own, and to no page of another site.
    """

    def __init__(self, app: Any, limits: Limits, metrics: Metrics, token: str | None, hosts: frozenset[str]):
        self.app, self._limits, self._metrics, self._hosts = app, limits, metrics, hosts
        self._token = token.encode() if token else None
        self._held = 0  # bytes of all bodies whose requests are being answered

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, sent, received = perf_counter(), False, 0

        async def send_on(message: Message) -> None:
            nonlocal sent
            if message["type"] == "http.response.start" and not sent:
                sent = True
                MutableHeaders(scope=message).update(ANSWER_HEADERS)
                self._metrics.observe(route_of(scope), message["status"], perf_counter() - begun)
            await send(message)

        async def receive_on() -> Message:
            """Ends a body that was sent without its length once it is too large, or all together are."""
            nonlocal received
            message = await receive()
            received += (size := len(message.get("body", b"")))
            self._held += size
            if received > self._limits.body:
                raise HTTPException(413, too_large(self._limits))
            if self._held > self._limits.bodies:
                raise HTTPException(503, BUSY, {"retry-after": "1"})
            return message

        refusal = self._refusal(scope)
        try:
            await (refusal or self.app)(scope, receive_on, send_on)
        finally:
            self._held -= received

    def _refusal(self, scope: MutableMapping[str, Any]) -> JSONResponse | None:
        headers, path = Headers(scope=scope), scope["path"]
        if self._token is None and host_name(headers.get("host", "")) not in self._hosts:
            return problem(400, "host: this name is not answered to - set SEAR_TOKEN to serve other names")
        origin = headers.get("origin")
        if self._token is None and origin and scope["method"] != "GET" and not same_place(origin, headers["host"]):
            return problem(403, "origin: the page of another site asks - set SEAR_TOKEN to serve other sites")
        is_open = path in OPEN or path.startswith(OPEN_FOLDER)
        scope[AUTHORISED] = self._token is None or self._is_authorised(headers.get("authorization", ""))
        if not is_open and not scope[AUTHORISED]:
            answer = problem(401, "token: missing or wrong - send the header Authorization: Bearer TOKEN")
            answer.headers["www-authenticate"] = "Bearer"
            return answer
        length = headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length) > self._limits.body:
            return problem(413, too_large(self._limits))
        return None

    def _is_authorised(self, header: str) -> bool:
        kind, _, given = header.partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token or b"")


def too_large(limits: Limits) -> str:
    return f"body: larger than {limits.body:,} bytes - send a shorter history or fewer items"


def problem(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status)


def host_name(header: str) -> str:
    """`localhost` of `localhost:8000`, `::1` of `[::1]:8000`."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


def same_place(origin: str, host: str) -> bool:
    """Whether a page from `origin`, such as http://localhost:8000, was served by this host."""
    return origin.partition("://")[2].lower() == host.lower()


def route_of(scope: MutableMapping[str, Any]) -> str:
    """The route's own pattern, so that ids in paths and made-up paths do not make a counter each."""
    return getattr(scope.get("route"), "path", "other")
