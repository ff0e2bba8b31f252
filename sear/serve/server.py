"""Where the service listens, and its life until it is told to stop."""

import errno
import ipaddress
import signal
import socket
from contextlib import closing
from typing import TYPE_CHECKING

from sear.errors import InputError

if TYPE_CHECKING:
    from sear.serve.guard import Guard
    from sear.serve.service import Service

TOKEN = "SEAR_TOKEN"
SHORTEST_TOKEN = 16  # characters
GRACE_SECONDS = 30  # for requests that run when the service is told to stop


def serve(
    folder: str,
    host: str,
    port: int,
    device: str = "cpu",
    threads: int = 1,
    token: str | None = None,
    encoder: str | None = None,
) -> None:
    """Load the model and serve it until the process is told to stop.

    Args:
        threads: of the model's products on the CPU. One list needs no more, and threads that wait for each other suffer
            most from other work on the machine.
        encoder: where the text encoder is, see `sear.load`.

    Raises:
        InputError: the address is not to be had, a token or a package is missing, or the folder holds no model.
    """
    if threads < 1:
        raise InputError(f"--threads={threads}: no number of threads - give 1 or more")
    _check_token(host, token)
    _require_packages()
    with closing(listen(host, port)) as listener:  # first: a port in use must be told before a model is loaded
        import torch

        from sear.serve.app import LOCAL_HOSTS, create_app
        from sear.serve.live_model import LiveModel, say
        from sear.serve.service import Service, in_words

        torch.set_num_threads(threads)
        live = LiveModel(folder, device, encoder)
        place = f"[{host}]" if ":" in host else host
        say(f"{live.now.recommender.name} on {live.now.recommender.dataset}: {len(live.now.items):,} items")
        say(f"http://{place}:{listener.getsockname()[1]} - the interface at /docs, Ctrl-C stops")
        if token:
            say(f"requests must send the header Authorization: Bearer and what {TOKEN} holds")
        service = Service(live)
        _run_until_stopped(service, create_app(service, token, LOCAL_HOSTS | names_of(host)), listener)
        if service.failure:
            raise InputError(f"the model cannot answer: {in_words(service.failure)}") from service.failure


def _run_until_stopped(service: "Service", app: "Guard", listener: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,
        http="h11",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    # uvicorn sends itself the signal again after it has stopped; here that does no harm, and the exit code stays 0.
    stop = service.on_failure = lambda: setattr(server, "should_exit", True)
    signal.signal(signal.SIGTERM, lambda *_: stop())
    server.run(sockets=[listener])


def _check_token(host: str, token: str | None) -> None:
    if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii() or token != token.strip()):
        raise InputError(f"{TOKEN}: holds no token - set it to at least {SHORTEST_TOKEN} ASCII characters")
    if token is None and not is_loopback(host):
        raise InputError(
            f"--host={host}: other machines can reach this address - set {TOKEN} to a secret of at least "
            f"{SHORTEST_TOKEN} characters, which requests must then send"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    return all(ipaddress.ip_address(address).is_loopback for _, address in _addresses(host))


def names_of(host: str) -> set[str]:
    """By which a request to that address may call it."""
    return {host.lower(), *(address for _, address in _addresses(host))}


def _addresses(host: str) -> list[tuple[int, str]]:
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise InputError(f"--host={host}: no address of this machine - for example --host=127.0.0.1") from None
    return [(family, str(place[0]).partition("%")[0]) for family, _, _, _, place in found]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises InputError where the port is in use or not to be had."""
    if not 0 <= port <= 65535:
        raise InputError(f"--port={port}: no port - give 1 to 65535, or 0 for a free one")
    family, address = _addresses(host)[0]
    try:
        made = socket.create_server((address, port), family=socket.AddressFamily(family), backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"--port={port}: in use on {host} - stop what listens there, or name another") from None
        raise InputError(f"--host={host} --port={port}: {error.strerror or error} - give another address") from None
    # asyncio sends small answers at once (TCP_NODELAY) only on sockets that name their protocol; others wait 40 ms.
    return socket.socket(made.family, made.type, socket.IPPROTO_TCP, made.detach())


def _require_packages() -> None:
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(f"sear serve needs {error.name} - pip install fastapi uvicorn prometheus-client") from None
