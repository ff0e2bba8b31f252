"""How a program is run: its options, and one line for a user's mistake, for what the machine refuses, for a stop."""

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from sear.console import nobody_reads, refuse, show_what_can_be_shown, stopped
from sear.errors import InputError

ELSEWHERE = "or choose another place"
REMEDIES = {
    "ENOSPC": "free some space there",
    "EDQUOT": "free some of your quota",
    "EROFS": "choose another place",
    "EACCES": f"give yourself the rights, {ELSEWHERE}",
    "EPERM": f"give yourself the rights, {ELSEWHERE}",
    "EEXIST": f"a file stands where a folder should be: move it, {ELSEWHERE}",
    "ENOTDIR": f"a file stands where a folder should be: move it, {ELSEWHERE}",
    "EISDIR": f"a folder stands where a file should be: move it, {ELSEWHERE}",
    "ENAMETOOLONG": "choose a shorter name",
}


def obey(work: Callable[[], int | None], debug: bool = False) -> int:
    """The exit code of a program's work, 0 where it names none.

    A user's mistake, what the machine refuses and a stop are told in one line each.

    Args:
        debug: also show where the error arose.
    """
    show_what_can_be_shown()
    try:
        return work() or 0
    except KeyboardInterrupt as stop:
        return stopped(stop)
    except BrokenPipeError:
        nobody_reads(sys.stdout)
        return 0
    except (InputError, OSError, MemoryError) as error:
        if debug:
            traceback.print_exc()
        return refuse(told(error))


def told(error: Exception) -> str:
    """What went wrong with a user's input or with the machine, and the remedy."""
    if isinstance(error, MemoryError):
        return "out of memory: the machine has not enough for this - use a larger one, or less data"
    if isinstance(error, OSError):
        what = os.fsdecode(error.filename) if error.filename else "what is printed or read"
        return refusal(error, f"{what} cannot be used")
    return str(error)


def refusal(error: OSError, what: str) -> str:
    """What the machine refuses, in one line: what, the reason and the remedy."""
    name = errno.errorcode.get(error.errno or 0, "")
    return f"{what} ({error.strerror or error}) - {REMEDIES.get(name, f'mend it, {ELSEWHERE}')}"


def _in_home(word: str) -> str:
    """The word with `~/` after its equals sign expanded, which shells leave as it is."""
    option, equals, value = word.partition("=")
    inside = option.startswith("--") and value.startswith("~/")
    return f"{option}{equals}{os.path.expanduser(value)}" if inside else word


class Parser(argparse.ArgumentParser):
    """Options of a program, of which a mistake is told in one line; `--out=~/x` lies in the user's home."""

    def parse_known_args(self, args=None, namespace=None):
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args([_in_home(word) for word in words], namespace)

    def error(self, message: str) -> NoReturn:
        sys.exit(refuse(f"{message} - {self.prog} --help explains"))
