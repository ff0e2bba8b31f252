"""sear serve FOLDER [--port=8000] [--host=127.0.0.1] [--device=cpu] [--debug]"""

import argparse
import errno
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Sequence

from sear.errors import InputError

TOKEN = "SEAR_TOKEN"
SHORTEST_TOKEN = 16  # characters
GRACE_SECONDS = 30  # for requests that run when the service is told to stop
HELP = f"""\
Serve a trained model over HTTP, with a page at / and the interface's description at /docs. The environment variable
{TOKEN} holds the token that requests must then send; it is needed where --host can be reached from other machines.
"""


def main(arguments: Sequence[str] | None = None, prog: str = "python -m sear.serve") -> int:
    """Serve until SIGTERM or Ctrl-C; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser(prog).parse_args(arguments)
    try:
        return serve(options.folder, options.host, options.port, options.device, os.environ.get(TOKEN))
    except InputError as error:
        if options.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=HELP)
    parser.add_argument(
        "folder", metavar="FOLDER", help="an exported model, a finished run, or a link or one-line file that names one"
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
    parser.add_argument("--host", default="127.0.0.1", help=f"address to listen on; others need {TOKEN}")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    return parser


def serve(folder: str, host: str, port: int, device: str = "cpu", token: str | None = None) -> int:
    """Load the model and serve it until the process is told to stop.

    Raises:
        InputError: the address is not to be had, a token is missing, or the folder holds no model.
    """
    _check_token(host, token)
    listener = listen(host, port)  # first: a port in use must be told before a model is loaded
    try:
        _require_packages()
        import uvicorn

        from sear.serve.app import create_app
        from sear.serve.live_model import LiveModel, say
        from sear.serve.service import Service

        live = LiveModel(folder, device=device)
        app = create_app(Service(live), token)
        place = f"[{host}]" if ":" in host else host
        say(f"{live.now.recommender.name} on {live.now.recommender.dataset}, {len(live.now.catalogue):,} items")
        say(f"http://{place}:{listener.getsockname()[1]} - the interface at /docs; Ctrl-C stops")
        if token:
            say(f"requests must send Authorization: Bearer and the token of {TOKEN}")
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, lifespan="on", http="h11",
            timeout_graceful_shutdown=GRACE_SECONDS,
        )  # fmt: skip
        signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn stops, then sends the signal again: it was obeyed
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        listener.close()
    return 0


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
        return socket.create_server((address, port), family=socket.AddressFamily(family), backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"--port={port}: in use on {host} - stop what listens there, or name another") from None
        raise InputError(f"--host={host} --port={port}: {error.strerror or error} - give another address") from None


def _require_packages() -> None:
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(f"sear serve needs {error.name} - pip install fastapi uvicorn prometheus-client") from None


if __name__ == "__main__":
    sys.exit(main())
