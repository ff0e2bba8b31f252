"""python -m sear.atomic_files NAME RAW_DIR: starts the converter, which Ctrl-C and SIGTERM end in one line."""

from sear.console import end_when_stopped

if __name__ == "__main__":  # before the imports, of which some turn Ctrl-C into errors of their own
    end_when_stopped()

from sear.atomic_files.command_line import main, parser  # noqa: E402

__all__ = ["main", "parser"]

if __name__ == "__main__":
    raise SystemExit(main())
