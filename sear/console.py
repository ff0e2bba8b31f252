"""How programs print and stop: lines that any terminal takes, one line for a mistake, stops in order.

As little as possible is imported here, so that a program can be stopped from its first moment.
"""

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

INTERRUPTED, TERMINATED = 130, 143  # 128 and the signal's number, as shells have it
REFUSED = 2
LONGEST_MESSAGE = 1_500  # characters
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Terminated(KeyboardInterrupt):
    """SIGTERM, as `docker stop` and SLURM send it: whatever Ctrl-C does is done for it too."""


def show_what_can_be_shown() -> None:
    """What a terminal cannot show becomes ? there, and does not end the program; a stream that is closed takes all."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # as of `>&-`, or without a console on Windows
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def end_when_stopped() -> None:
    """To be called first by a program: until `stopped_in_order`, Ctrl-C and SIGTERM end it at once, in one line.

    The imports that follow may turn a KeyboardInterrupt into errors of their own, and there is nothing to put in order.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _end_at_once)
        signal.signal(signal.SIGTERM, _end_at_once)


def _end_at_once(number: int, _: object) -> None:
    if os.environ.get("RANK", "0") == "0":  # of processes that torchrun started the first one says it
        with suppress(OSError):
            os.write(2, b"\nstopped\n" if os.isatty(2) else b"stopped\n")  # below the terminal's own ^C
    os._exit(128 + number)


def _terminate(*_: object) -> None:
    raise Terminated


@contextmanager
def stopped_in_order() -> Iterator[None]:
    """In the block Ctrl-C and SIGTERM raise KeyboardInterrupt and Terminated, so that work can be brought in order."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def pass_over_stops() -> None:
    """From now on Ctrl-C and SIGTERM do nothing: for a program that is about to end."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def say(text: object, stream: TextIO | None = None) -> None:
    """Print; a reader that has gone away (`| head`) is no failure of the program, which goes on without it."""
    stream = stream or sys.stdout
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        nobody_reads(stream)


def nobody_reads(stream: TextIO) -> None:
    """From now on, what is written to a stream whose reader has gone away goes nowhere."""
    with suppress(OSError, ValueError):  # a stream without a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def refuse(error: object) -> int:
    """Say in one line on standard error what is at fault; returns the exit code for it."""
    say(f"error: {one_line(str(error))}", sys.stderr)
    return REFUSED


def stopped(stop: KeyboardInterrupt) -> int:
    """Say in one line that the program was stopped, and how it goes on where `stop` tells; returns the exit code."""
    start = "\n" if sys.stderr.isatty() else ""  # below the terminal's own ^C
    say(start + (one_line(str(stop)) or "stopped"), sys.stderr)
    return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED


def one_line(text: str) -> str:
    """A text without line breaks and control characters, and short: a header, or a digit 5,000 times, may be in it."""
    told = CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), re.sub(r"\s*\n\s*", " ", text.strip()))
    if len(told) > LONGEST_MESSAGE:  # what to do stands at the end
        told = f"{told[: LONGEST_MESSAGE * 2 // 3]} … {told[-LONGEST_MESSAGE // 3 :]}"
    return told
