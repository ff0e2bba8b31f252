"""The program `sear` of an installed package: `sear train`, and what else the package can do."""

import importlib
import sys
from collections.abc import Sequence

import sear
from sear.console import refuse, say, show_what_can_be_shown
from sear.settings.gather import nearest

COMMANDS = {  # name -> (the module whose `main` does it, what it does)
    "train": ("sear.cli.main", "train, test and report models: sear train --dataset=NAME --model=NAME --seed=N"),
    "convert": ("sear.atomic_files.__main__", "make atomic files of a raw dump, or of tables of your own"),
    "statistics": ("sear.statistics", "show a data set as a table"),
    "tune": ("sear.cli.tune", "search for hyper-parameters by validation, together with other processes or machines"),
    "export": ("sear.cli.export", "write a finished run's model to a folder that needs nothing else"),
    "recommend": ("sear.cli.recommend", "write the best items of every user to a file"),
    "similar": ("sear.cli.similar", "write the items most like others"),
    "serve": ("sear.cli.serve", "answer requests for recommendations over HTTP, with a page to try them"),
    "report": ("sear.report.__main__", "make tables and figures of finished runs"),
}
USAGE = "\n".join(
    [
        "SEAR: sequential recommendation from collaborative, semantic and rating information.",
        "",
        *(f"sear {name:<12} {meaning}" for name, (_, meaning) in COMMANDS.items()),
        "",
        "sear COMMAND --help explains each; sear --version tells the version.",
    ]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the words behind a command's name to its module.

    Returns:
        The command's exit code; 2 where there is no such command.
    """
    show_what_can_be_shown()
    words = list(sys.argv[1:] if argv is None else argv)
    name = words[0] if words else "--help"
    if name in ("--help", "-h", "help"):
        say(USAGE)
        return 0
    if name == "--version":
        say(f"sear {sear.__version__}")
        return 0
    if name not in COMMANDS:
        remedy = f"choose from {', '.join(COMMANDS)}"
        return refuse(f"unknown command {name}{nearest(name, COMMANDS)} - {remedy}")
    command = importlib.import_module(COMMANDS[name][0])
    return command.main(words[1:]) if name == "train" else command.main(words[1:], prog=f"sear {name}")
