"""python -m sear.atomic_files NAME RAW_DIR: starts the converter, which Ctrl-C and SIGTERM end in one line."""

import os
import signal


def _end_at_once(number: int, _: object) -> None:
    os.write(2, b"\nstopped\n")
    os._exit(128 + number)


if __name__ == "__main__":  # before the imports, of which some turn Ctrl-C into errors of their own
    signal.signal(signal.SIGINT, _end_at_once)
    signal.signal(signal.SIGTERM, _end_at_once)

from sear.atomic_files.command_line import main, parser  # noqa: E402

__all__ = ["main", "parser"]

if __name__ == "__main__":
    raise SystemExit(main())
