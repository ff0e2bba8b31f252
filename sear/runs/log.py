"""Log lines: few and plain on the terminal, all of them in the run's folder.

RecBole and SEAR both log to the root logger. RecBole's own `init_logger` is not used: it makes ./log in whatever
folder one happens to be.
"""

import logging
import re
import sys
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from sear.console import nobody_reads
from sear.files import require_file, writing

COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class _RootHandler(logging.Handler):
    """A handler on the root logger for as long as a `with` block runs."""

    def __enter__(self):
        root = logging.getLogger()
        self._root_level = root.level
        root.addHandler(self)
        root.setLevel(min(root.level, self.level))
        return self

    def __exit__(self, kind, error, trace):
        root = logging.getLogger()
        root.removeHandler(self)
        root.setLevel(self._root_level)
        self.close()


class RunLog(_RootHandler):
    """Keeps every line in mind until `write_to` names a file, then writes it there; the file has no colours.

    An error that ends the block is written with its traceback, Python's warnings are written too.
    """

    def __init__(self):
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        self._file, self._held = None, []

    def write_to(self, path: Path | str) -> None:
        """From now on, and with what came before: appended, for a resumed run goes on in the same file."""
        assert self._file is None, "a run has one log"
        with writing(require_file(Path(path))):
            self._file = open(path, "a", encoding="utf-8", errors="backslashreplace")
        self._write("".join(self._held))

    def emit(self, record: logging.LogRecord) -> None:
        line = COLOURS.sub("", self.format(record)) + "\n"
        if self._file is None:
            self._held.append(line)
        else:
            self._write(line)

    def _write(self, text: str) -> None:
        with suppress(OSError):  # no space: it stays in the file's buffer, and what the run needs will tell
            self._file.write(text)
            self._file.flush()  # a killed run keeps its last line

    def __enter__(self):
        logging.captureWarnings(True)
        return super().__enter__()

    def __exit__(self, kind, error, trace):
        if error is not None:
            message = f"ended by {kind.__name__}: {error}"
            self.handle(logging.LogRecord("sear", logging.ERROR, __file__, 0, message, None, (kind, error, trace)))
        super().__exit__(kind, error, trace)
        logging.captureWarnings(False)
        if self._file is not None:
            with suppress(OSError):
                self._file.close()


class Terminal(_RootHandler):
    """Shows what SEAR says, and only warnings and errors of RecBole and other libraries; DEBUG shows everything.

    Lines go to standard output and do not tear progress bars.
    """

    def __init__(self, level: str = "INFO"):
        super().__init__(level.upper())
        logging.getLogger("numba").setLevel(logging.INFO)  # at DEBUG it lists every instruction it compiles

    def filter(self, record: logging.LogRecord) -> bool:
        if self.level <= logging.DEBUG:
            return True
        if record.name == "py.warnings":  # of use in the log only
            return False
        ours = record.name.partition(".")[0] in ("root", "sear") and "recbole" not in Path(record.pathname).parts
        return ours or record.levelno >= logging.WARNING

    def emit(self, record: logging.LogRecord) -> None:
        if sys.stdout is None:  # closed, as by `>&-`
            return
        line = self.format(record)
        if not sys.stdout.isatty():
            line = COLOURS.sub("", line)
        if record.levelno >= logging.WARNING:
            line = f"{record.levelname.lower()}: {line}"
        encoding = sys.stdout.encoding or "utf-8"  # a terminal that knows no ∞ must not end the run
        try:
            tqdm.write(line.encode(encoding, "replace").decode(encoding), file=sys.stdout)
            sys.stdout.flush()
        except OSError:  # nobody reads any more, as of `| head`, or no space: the run goes on, its log has every line
            nobody_reads(sys.stdout)
