"""python -m sear.report RUN_OR_RESULTS_DIR… [--out=DIR] [--reference=ROW] [--freeze=DIR] [--debug]"""

# ruff: noqa: E402
from sear.console import end_when_stopped

if __name__ == "__main__":  # before the imports, of which some turn Ctrl-C into errors of their own
    end_when_stopped()

import argparse
import shlex
import sys
from collections.abc import Sequence

from sear.console import say, show_what_can_be_shown, stopped_in_order
from sear.program import Parser, obey


def main(arguments: Sequence[str] | None = None, prog: str = "python -m sear.report") -> int:
    """Make a report, or freeze the runs that one rests on; returns the exit code."""
    show_what_can_be_shown()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(prog=prog, description="Report on finished runs.")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="run folder, results folder or frozen folder")
    parser.add_argument("--out", help="folder to write to (default: report/ in the folder that holds all PATHs)")
    parser.add_argument(
        "--reference",
        metavar="ROW",
        help="row that the others are tested against (default, and where a data set lacks it: SEAR)",
    )
    parser.add_argument("--freeze", metavar="DIR", help="only copy each run's metrics and bare ranks there, no ids")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    options = parser.parse_args(arguments)
    command = shlex.join(["python", "-m", "sear.report", *arguments])
    return obey(lambda: say(_done(options, command)), options.debug)


def _done(options: argparse.Namespace, command: str) -> str:
    from sear.report import make_report
    from sear.report.freeze import freeze
    from sear.report.read_runs import read_runs

    with stopped_in_order():
        if not options.freeze:
            return f"report: {make_report(options.paths, options.out, options.reference, command)}"
        folders = freeze(read_runs(options.paths), options.freeze)
    return f"{len(folders)} runs frozen - report on them with: python -m sear.report {shlex.quote(options.freeze)}"


if __name__ == "__main__":
    sys.exit(main())
