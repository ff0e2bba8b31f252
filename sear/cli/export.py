"""sear export RUN FOLDER [--without_users]"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sear.errors import InputError


def main(arguments: Sequence[str] | None = None, prog: str = "sear export") -> int:
    """Write a finished run's model to a folder of its own; 0 when done, 2 when the user has something to mend."""
    parser = argparse.ArgumentParser(
        prog=prog, description="A finished run's model as a folder that needs nothing else."
    )
    parser.add_argument("run", metavar="RUN", help="run folder: results/DATASET/MODEL/RUN_ID")
    parser.add_argument("folder", metavar="FOLDER", help="where to write; a model that is there is replaced")
    parser.add_argument(
        "--without_users",
        action="store_true",
        help="leave out users' ids and histories: it then serves given histories",
    )
    asked = parser.parse_args(arguments)
    try:
        from sear.recommend.export import export_model

        export_model(asked.run, asked.folder, asked.without_users)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    size = sum(path.stat().st_size for path in Path(asked.folder).iterdir())
    print(f"{asked.folder}: {size / 1e6:,.1f} MB")
    return 0
