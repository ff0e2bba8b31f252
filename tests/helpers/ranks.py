"""Several processes that train together, forked from the tests' own, which has imported everything already."""

import os
import pickle
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

SECONDS = 120  # for all of them; what takes longer hangs


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def environment(rank: int, count: int, port: int) -> dict[str, str]:
    """What torchrun tells each process; one alone is told nothing."""
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "GROUP_WORLD_SIZE": 1}
    return {} if count == 1 else {key: str(value) for key, value in told.items()} | {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)
    }  # fmt: skip


class Ranks:
    """`count` processes that each do `work(rank)`, begun at once."""

    def __init__(self, count: int, work: Callable[[int], Any]):
        self._place = tempfile.TemporaryDirectory(prefix="ranks-")
        self.folder, port = Path(self._place.name), free_port()
        self.ids = [self._begin(rank, environment(rank, count, port), work) for rank in range(count)]
        self.codes: list[int | None] = [None] * count
        self._end = time.monotonic() + SECONDS

    def _begin(self, rank: int, told: dict[str, str], work: Callable[[int], Any]) -> int:
        process = os.fork()
        if process:
            return process
        code = 70
        try:
            os.environ.update(told)
            for stream, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(self.folder / f"{name}-{rank}", os.O_WRONLY | os.O_CREAT, 0o644), stream)
            sys.stdout, sys.stderr = (open(stream, "w", buffering=1, closefd=False) for stream in (1, 2))
            torch.set_num_threads(1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            (self.folder / f"made-{rank}").write_bytes(pickle.dumps(work(rank)))
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    def kill(self, rank: int, number: int = signal.SIGKILL) -> None:
        os.kill(self.ids[rank], number)

    def wait(self) -> list[int]:
        """The exit codes, negative for a signal's. None of the processes is there afterwards, whatever comes."""
        try:
            while None in self.codes:
                for rank, process in enumerate(self.ids):
                    if self.codes[rank] is None and (done := os.waitpid(process, os.WNOHANG))[0]:
                        self.codes[rank] = os.waitstatus_to_exitcode(done[1])
                assert time.monotonic() < self._end, f"hangs: {self.codes}\n{self.said('err')}"
                time.sleep(0.005)
        finally:
            for rank, process in enumerate(self.ids):
                if self.codes[rank] is None:
                    os.kill(process, signal.SIGKILL)
                    os.waitpid(process, 0)
        return [code for code in self.codes if code is not None]

    def said(self, stream: str) -> list[str]:
        """What each process wrote to "out" or "err"."""
        return [(self.folder / f"{stream}-{rank}").read_text() for rank in range(len(self.ids))]

    def made(self) -> list[Any]:
        """What each process's work returned, once all have ended well."""
        codes = self.wait()
        assert not any(codes), f"exit codes {codes}\n" + "\n".join(self.said("err") + self.said("out"))
        return [pickle.loads((self.folder / f"made-{rank}").read_bytes()) for rank in range(len(self.ids))]
