"""The entry: `python custom_trainer.py [--dataset=NAME] [--model=NAME] [--seed=N] [--any_key=value]`, or --help.

Any Python can read this file, so that a wrong version or a missing package is told in one line. Hence no f-strings.
"""

import os
import signal
import sys


def end_at_once(number, frame):
    """Ctrl-C and SIGTERM end the program in one line while it is imported, when there is nothing to put in order."""
    if os.environ.get("RANK", "0") == "0":  # of processes that torchrun started the first one says it
        os.write(2, b"\nstopped\n" if os.isatty(2) else b"stopped\n")
    os._exit(128 + number)


if __name__ == "__main__":  # before the imports, of which some turn Ctrl-C into errors of their own
    signal.signal(signal.SIGINT, end_at_once)
    signal.signal(signal.SIGTERM, end_at_once)

import re  # noqa: E402

ROOT = os.path.dirname(os.path.abspath(__file__))
OLDEST, NEWEST = (3, 10), (3, 14)
RECBOLE = "recbole==1.2.1"
ONLY_TO_ENCODE = ("sentence-transformers", "transformers")  # texts that have no embeddings yet; told when needed


def wrong_python(version):
    """What is wrong with a Python of this version, "" when it will do."""
    if OLDEST <= tuple(version[:2]) <= NEWEST:
        return ""
    found = ".".join(str(part) for part in version[:2])
    return "error: SEAR needs Python 3.10 to 3.14, this is " + found + " - start it with: python3.12 custom_trainer.py"


def missing_packages(requirements):
    """Names in a requirements file that are not installed, in any version."""
    from importlib import metadata

    missing = []
    with open(requirements) as file:
        names = [re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line.strip()) for line in file]
    for name in names:
        try:
            if name and name.group() not in ONLY_TO_ENCODE:
                metadata.version(name.group())
        except metadata.PackageNotFoundError:
            missing.append(name.group())
    return missing


def missing_recbole():
    """Whether RecBole is to be installed; its metadata may be absent where only its files were copied."""
    from importlib.util import find_spec

    return find_spec("recbole") is None


def main():
    problem = wrong_python(sys.version_info)
    if not problem:
        missing = missing_packages(os.path.join(ROOT, "requirements.txt"))
        remedy = ["pip install -r requirements.txt"] if missing else []
        if missing_recbole():
            missing.append("recbole")
            remedy.append("pip install --no-deps " + RECBOLE)
        if missing:
            problem = "error: not installed: " + ", ".join(missing) + " - run: " + " && ".join(remedy)
    if problem:
        sys.stderr.write(problem + "\n")
        return 2
    from sear.cli.main import main as obey

    return obey(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
