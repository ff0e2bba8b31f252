"""`python -m sear COMMAND`, and the program `sear`: both start here."""

import sys

from sear.console import end_when_stopped


def main() -> int:
    """Obey the words of the command line; returns the exit code."""
    end_when_stopped()  # before the imports
    from sear.cli.commands import main as obey

    return obey()


if __name__ == "__main__":
    sys.exit(main())
