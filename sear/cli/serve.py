"""sear serve FOLDER [--port=8000] [--host=127.0.0.1] [--device=cpu]"""

import argparse
import os
from collections.abc import Sequence

from sear.program import Parser, obey
from sear.serve.server import TOKEN, serve

ABOUT = f"""\
Serve a trained model over HTTP, with a page at / and the interface's description at /docs. The environment variable
{TOKEN} holds the token that requests must then send; it is needed where --host can be reached from other machines.
"""


def parser(prog: str = "sear serve") -> argparse.ArgumentParser:
    made = Parser(prog=prog, description=ABOUT)
    made.add_argument(
        "folder",
        metavar="FOLDER",
        help="a finished run, what `sear export` wrote, or a link or one-line file that names one",
    )
    made.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: %(default)s)")
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    made.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    made.add_argument(
        "--encoder",
        metavar="FOLDER",
        help="folder of the text encoder (default: where the training's lies in this project)",
    )
    made.add_argument(
        "--threads",
        type=int,
        default=1,
        help="CPU threads of the model (default: %(default)s; on a busy machine more are slower)",
    )
    return made


def main(arguments: Sequence[str] | None = None, prog: str = "sear serve") -> int:
    """Serve until it is stopped; 0 by SIGTERM, 130 by Ctrl-C, 2 when the user has something to mend."""
    asked = parser(prog).parse_args(arguments)
    token = os.environ.get(TOKEN)
    return obey(lambda: serve(asked.folder, asked.host, asked.port, asked.device, asked.threads, token, asked.encoder))
