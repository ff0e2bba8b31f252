"""The entry: `python custom_trainer.py [--dataset=NAME] [--model=NAME] [--seed=N] [--any_key=value]`, or --help.

Any Python can read this file, so that a wrong version or a missing package is told in one line. Hence no f-strings.
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))


def wrong_python(version):
    """What is wrong with a Python of this version, "" when it will do."""
    if tuple(version[:2]) in ((3, 10), (3, 11)):
        return ""
    found = ".".join(str(part) for part in version[:2])
    return "error: SEAR needs Python 3.10 or 3.11, this is " + found + " - start it with: python3.11 custom_trainer.py"


def missing_packages(requirements):
    """Names in a requirements file that are not installed."""
    from importlib import metadata

    missing = []
    with open(requirements) as file:
        names = [re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line.strip()) for line in file]
    for name in names:
        try:
            if name:
                metadata.version(name.group())
        except metadata.PackageNotFoundError:
            missing.append(name.group())
    return missing


def main():
    problem = wrong_python(sys.version_info)
    if not problem:
        missing = missing_packages(os.path.join(ROOT, "requirements.txt"))
        if missing:
            problem = "error: not installed: " + ", ".join(missing) + " - run: pip install -r requirements.txt"
    if problem:
        sys.stderr.write(problem + "\n")
        return 2
    from sear.cli.main import main as obey

    return obey(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
