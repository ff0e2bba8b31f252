"""What an input of a campaign is, and what became of one that was given to a program."""

import contextlib
import io
import random
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

Files = dict[str, bytes]
ACCEPTED, REFUSED, ESCAPED = "accepted", "refused", "ESCAPED"
Outcome = tuple[str, str]  # one of the three, the last with what happened after a colon; what was said
CPU_SECONDS, SECONDS = 20, 300  # for one input: of this process, and by the clock


@dataclass(frozen=True)
class Input:
    """A sound input of one program.

    Attributes:
        kind: what it is counted as.
        files: the files that are damaged, by name.
        give: writes files into a folder, gives them to the program and says what became of them.
        weight: how often it comes, against the others.
        mutate: damages the files in another way than the usual one; None for that.
    """

    kind: str
    files: Files
    give: Callable[[Files, random.Random, Path], Outcome]
    weight: int = 1
    mutate: Callable[[Files, random.Random], Files] | None = None


class Hang(BaseException):
    """The time is over; no handler of a program's may catch it."""


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """Raises Hang after CPU_SECONDS of this process, or SECONDS by the clock."""

    def over(*_: object) -> None:
        raise Hang

    signal.signal(signal.SIGPROF, over)
    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)


def program(main: Callable[[Sequence[str]], int], words: Sequence[str], refusing: tuple[int, ...] = (2,)) -> Outcome:
    """What became of a program's command line: exit code 0, or one line that begins with `error: `."""
    said, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(error):
        try:
            code = main(words)
        except SystemExit as stop:  # by which options are refused
            code = stop.code if isinstance(stop.code, int) else 1
    told = error.getvalue()
    if code == 0:
        return ACCEPTED, said.getvalue() + told
    if "--debug" in words:  # asks for the traceback before the line
        told = told[told.rfind("\nerror: ") + 1 :]
    one_line = told.startswith("error: ") and told.count("\n") == 1 and 20 < len(told) < 3_000
    if code in refusing and one_line:
        return REFUSED, told
    return f"{ESCAPED}: exit {code}, not one line", told or said.getvalue()


def outcome(given: Input, files: Files, rng: random.Random, folder: Path) -> Outcome:
    """What became of the files, whatever happens."""
    try:
        with time_limit():
            return given.give(files, rng, folder)
    except Hang:
        return f"{ESCAPED}: hang", traceback.format_exc()
    except BaseException as fault:  # whatever it is, it should have been one line
        return f"{ESCAPED}: {type(fault).__name__}", traceback.format_exc()


def write_files(folder: Path, files: Files) -> None:
    """The files under their names, which may hold folders."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
