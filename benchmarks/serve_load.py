"""Load on `sear serve`, on this machine only: requests per second, latency, errors, and memory.

python -m benchmarks.serve_load [--folder MODEL] [--items 42351] [--requests 2000] [--clients 1 8 32] [--soak 0]

Server and clients share the cores, so a server with a machine of its own answers faster than that. Every loop ends by
a count of requests. Without --folder the model has random weights: what is recommended costs the same.
"""

import argparse
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tabulate import tabulate

import sear
from benchmarks.untrained_model import write_untrained
from sear.files import PROJECT_ROOT

HISTORY = 100  # events of a history that is sent
K = 10
USERS = 1000
START_SECONDS = 300
WARM_REQUESTS = 50
MOST_PARTS = 500  # of a load, until the newer model must have been taken
HEADERS = {"content-type": "application/json"}


@dataclass
class Load:
    """What clients found: seconds of every request, and answers that were none."""

    seconds: list[float] = field(default_factory=list)
    errors: int = 0
    wall: float = 0.0

    def row(self, name: str, clients: int, memory_mb: float) -> list:
        p50, p95, p99 = np.quantile(self.seconds, (0.5, 0.95, 0.99)) * 1000
        rate = len(self.seconds) / self.wall
        return [name, clients, len(self.seconds), f"{rate:,.0f}", *(f"{p:.1f}" for p in (p50, p95, p99)), self.errors,
                f"{memory_mb:,.0f}"]  # fmt: skip


class Server:
    """`sear serve` as a process of its own, on a free port of 127.0.0.1."""

    def __init__(self, folder: Path):
        command = [sys.executable, "-m", "sear", "serve", str(folder), "--port=0"]
        self._process = subprocess.Popen(command, cwd=PROJECT_ROOT, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.match(r"http://127\.0\.0\.1:(\d+) ", line):
                self.port = int(found[1])
                break
        else:
            raise SystemExit("the server did not start")
        threading.Thread(target=lambda: list(self._process.stderr or ()), daemon=True).start()  # nothing may block it
        until = time.monotonic() + START_SECONDS
        while self.get("/ready")[0] != 200:
            if time.monotonic() > until:
                raise SystemExit("the server is not ready")
            time.sleep(0.1)

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    def memory_mb(self) -> float:
        text = self.get("/metrics")[1].decode()
        return float(re.findall(r"^process_resident_memory_bytes (\S+)$", text, re.M)[0]) / 2**20

    def generation(self) -> int:
        return json.loads(self.get("/model")[1])["generation"]

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(60) == 0


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    try:
        yield server
    finally:
        server.stop()


def load(server: Server, bodies: list[tuple[str, bytes]], clients: int, requests: int) -> Load:
    """So many clients, each on one connection with one request at a time, until `requests` are answered."""
    found, lock, begun = Load(), threading.Lock(), time.perf_counter()
    shares = [requests // clients + (number < requests % clients) for number in range(clients)]

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        seconds, errors = [], 0
        for turn in range(shares[number]):
            path, body = bodies[(number * 7919 + turn) % len(bodies)]
            start = time.perf_counter()
            try:
                connection.request("POST", path, body, HEADERS)
                answer = connection.getresponse()
                answer.read()
                errors += answer.status not in (200, 201)
            except (OSError, http.client.HTTPException):
                errors += 1
                connection.close()
            seconds.append(time.perf_counter() - start)
        connection.close()
        with lock:
            found.seconds += seconds
            found.errors += errors

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.wall = time.perf_counter() - begun
    return found


def histories(item_ids: list[str], length: int, seed: int = 0) -> list[tuple[str, bytes]]:
    """200 different requests with a history of so many events."""
    random = np.random.default_rng(seed)
    chosen = random.integers(0, len(item_ids), (200, length))
    return [("/recommend", json.dumps({"history": [item_ids[i] for i in row], "k": K}).encode()) for row in chosen]


def session_events(server: Server, item_ids: list[str], sessions: int = 32) -> list[tuple[str, bytes]]:
    """Events for sessions that were begun with a history."""
    random = np.random.default_rng(1)
    places = []
    for _, body in histories(item_ids, HISTORY, seed=2)[:sessions]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("POST", "/session", body, HEADERS)
        places.append(json.loads(connection.getresponse().read())["session_id"])
        connection.close()
    wanted = random.integers(0, len(item_ids), 200)
    return [
        (f"/session/{places[turn % sessions]}/add", json.dumps({"item_id": item_ids[item], "k": K}).encode())
        for turn, item in enumerate(wanted)
    ]


def while_reloading(server: Server, pointer: Path, folder: Path, bodies, clients: int) -> tuple[Load, int]:
    """A load during which the pointer turns to a newer model; ends some requests after the newer one answers."""
    before, parts = server.generation(), Load()
    aside = pointer.with_name("aside")
    aside.symlink_to(folder)
    os.replace(aside, pointer)
    for _ in range(MOST_PARTS):
        part = load(server, bodies, clients, 20 * clients)
        parts.seconds += part.seconds
        parts.errors += part.errors
        parts.wall += part.wall
        if server.generation() != before:
            return parts, server.generation() - before
    raise SystemExit(
        f"the newer model was not taken within {len(parts.seconds):,} requests - see what the service said"
    )


def measure(folder: Path, clients: list[int], requests: int, soak: int) -> list[list]:
    """The table's rows for one model."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        pointer = Path(place) / "newest"
        pointer.symlink_to(folder.resolve())
        ids = sear.load(folder).item_ids
        with running(pointer) as server:
            kinds = {f"history of {length}": histories(ids, length) for length in (10, HISTORY)}
            kinds["next event of a session"] = session_events(server, ids)
            for name, bodies in kinds.items():
                load(server, bodies, max(clients), WARM_REQUESTS)
                for count in clients:
                    found = load(server, bodies, count, requests)
                    rows.append(found.row(name, count, server.memory_mb()))
                    print(rows[-1], file=sys.stderr, flush=True)
            other = Path(place) / "other"
            shutil.copytree(folder, other)
            found, reloads = while_reloading(server, pointer, other, kinds["history of 10"], max(clients))
            rows.append(found.row(f"history of 10, {reloads} reload", max(clients), server.memory_mb()))
            for part in range(4 if soak else 0):
                found = load(server, kinds["history of 10"], max(clients), soak // 4)
                rows.append(found.row(f"history of 10, soak {part + 1} of 4", max(clients), server.memory_mb()))
                print(rows[-1], file=sys.stderr, flush=True)
    return rows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="an exported model or a run (default: random weights)")
    parser.add_argument("--items", type=int, default=42_351, help="of the model with random weights")
    parser.add_argument("--requests", type=int, default=2_000, help="of each row")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--soak", type=int, default=0, help="so many requests more, in four rows, for their memory")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        folder = asked.folder or write_untrained(Path(place) / "model", asked.items, USERS)
        rows = measure(folder, asked.clients, asked.requests, asked.soak)
    heads = ["request", "clients", "requests", "per second", "p50 ms", "p95 ms", "p99 ms", "errors", "memory MB"]
    print(tabulate(rows, heads, tablefmt="github", disable_numparse=True, colalign=("left", *("right",) * 8)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
