"""The walk of examples/shop.md from CSV files to a service, every command timed: python -m benchmarks.shop_walk.

In a copy of the project, with the text encoder of this one (--encoder FOLDER names another). Words of the form
`--key=value` are added to the trainings. The service is asked what the page asks it and stopped again.
"""

import argparse
import http.client
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from benchmarks.measure import say
from sear.files import PROJECT_ROOT

PAGE = PROJECT_ROOT / "examples" / "shop.md"
COPIED = ("sear", "config", "examples", "custom_trainer.py", "requirements.txt")


def commands() -> list[str]:
    """Every command of the page, in order."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return [line for language, text in blocks if not language for line in text.splitlines()]


def requests() -> list[tuple[str, bytes]]:
    """Path and body of every request of the page."""
    found = re.findall(r"^```http\nPOST (\S+)\n(.*?)\n```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return [(path, body.encode()) for path, body in found]


def copy_project(folder: Path, encoder: Path) -> None:
    for name in COPIED:
        source = PROJECT_ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / "all-mpnet-base-v2").symlink_to(encoder.resolve())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shop_walk", description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", type=Path, default=PROJECT_ROOT / "all-mpnet-base-v2", help="the text encoder")
    asked, settings = parser.parse_known_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as work:
        copy_project(Path(work), asked.encoder)
        for command in commands():
            words = [sys.executable, *shlex.split(command)[1:], *(settings if "custom_trainer" in command else ())]
            rows += _served(words, Path(work)) if "sear serve" in command else [_timed(command, words, Path(work))]
    print(tabulate(rows, ["command", "seconds", "CPU seconds"], tablefmt="github", floatfmt=".1f"))
    return 0


def _timed(command: str, words: list[str], folder: Path) -> list:
    started, before = time.perf_counter(), _cpu_of_children()
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command}\n{done.stdout}{done.stderr}")
    say(f"{command}: {time.perf_counter() - started:.1f} s")
    return [f"`{command}`", time.perf_counter() - started, _cpu_of_children() - before]


def _served(words: list[str], folder: Path) -> list[list]:
    """The time until the service is ready, and that of each request of the page."""
    started = time.perf_counter()
    server = subprocess.Popen([*words, "--port=0"], cwd=folder, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        port, said = 0, []
        for line in server.stderr:
            said.append(line)
            if found := re.match(r"http://127\.0\.0\.1:(\d+) ", line):
                port = int(found[1])
            if line == "ready\n":
                break
        else:
            raise SystemExit("".join(said))
        rows = [["`sear serve`, until it is ready", time.perf_counter() - started, None]]
        threading.Thread(target=lambda: list(server.stderr or ()), daemon=True).start()  # nothing may block it
        for path, body in requests():
            started = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
            connection.request("POST", path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status not in (200, 201):
                raise SystemExit(f"POST {path}: {answer.status} {text}")
            rows.append([f"`POST {path}`", time.perf_counter() - started, None])
            say(f"POST {path}: {text[:200]}")
        return rows
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
