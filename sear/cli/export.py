"""sear export RUN FOLDER [--without_users]"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sear.console import say, show_what_can_be_shown, stopped_in_order
from sear.program import Parser, obey


def parser(prog: str = "sear export") -> Parser:
    made = Parser(prog=prog, description="A finished run's model as a folder that needs nothing else.")
    made.add_argument("run", metavar="RUN", help="run folder: results/DATASET/MODEL/RUN_ID")
    made.add_argument("folder", metavar="FOLDER", help="where to write; a model that is there is replaced")
    made.add_argument(
        "--without_users",
        action="store_true",
        help="leave out users' ids and histories: it then serves given histories",
    )
    return made


def main(arguments: Sequence[str] | None = None, prog: str = "sear export") -> int:
    """Write a finished run's model to a folder of its own; 0 when done, 2 when the user has something to mend."""
    show_what_can_be_shown()
    asked = parser(prog).parse_args(arguments)
    return obey(lambda: _export(asked))


def _export(asked: argparse.Namespace) -> None:
    from sear.recommend.export import export_model

    with stopped_in_order():
        export_model(asked.run, asked.folder, asked.without_users)
    size = sum(path.stat().st_size for path in Path(asked.folder).iterdir())
    say(f"{asked.folder}: {size / 1e6:,.1f} MB")
