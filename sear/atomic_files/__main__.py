"""python -m sear.atomic_files NAME RAW_DIR: starts the converter, which Ctrl-C and SIGTERM end in one line."""

import os
import signal

STOPPED = b"\nstopped before anything was written\n"


class Terminated(KeyboardInterrupt):
    """SIGTERM, as `docker stop` and SLURM send it: what was written aside is removed, as after Ctrl-C."""


def _end_at_once(number: int, _: object) -> None:
    os.write(2, STOPPED)
    os._exit(128 + number)


def _terminate(*_: object) -> None:
    raise Terminated


def _end_in_order() -> None:
    """From now on there may be something to clear away."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminate)


if __name__ == "__main__":  # before the imports, of which some turn Ctrl-C into errors of their own
    signal.signal(signal.SIGINT, _end_at_once)
    signal.signal(signal.SIGTERM, _end_at_once)

from sear.atomic_files.command_line import main, parser  # noqa: E402

__all__ = ["main", "parser"]

if __name__ == "__main__":
    raise SystemExit(main(started=_end_in_order, terminated=Terminated))
