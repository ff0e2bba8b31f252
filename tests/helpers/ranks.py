"""Several processes that train together, forked from the tests' own, which has imported everything already."""

import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore

import sear.kernels.convolution
import sear.kernels.feed_forward
import sear.kernels.scan
import sear.kernels.scores
import sear.kernels.stream_attention
import sear.quick_start
import sear.runs.follow  # noqa: F401  (all of them once, for all children)

SECONDS = 120  # for all of them; what takes longer hangs


def store() -> TCPStore:
    """What torchrun keeps for its processes, those that it starts anew included."""
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def environment(rank: int, count: int, port: int) -> dict[str, str]:
    """What torchrun tells each process; one alone is told nothing."""
    here = {"LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count, "GROUP_WORLD_SIZE": 1, "TORCHELASTIC_USE_AGENT_STORE": True}
    told = {"RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} | here
    return {} if count == 1 else {key: str(value) for key, value in told.items()}


class Ranks:
    """`count` processes that each do `work(rank)`, begun at once.

    Args:
        kept: the store of earlier processes, in whose place these come.
    """

    def __init__(self, count: int, work: Callable[[int], Any], kept: TCPStore | None = None):
        self._place, self.kept = tempfile.TemporaryDirectory(prefix="ranks-"), kept or store()
        self.folder = Path(self._place.name)
        self.ids = [self._begin(rank, environment(rank, count, self.kept.port), work) for rank in range(count)]
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

    def errors(self) -> list[str]:
        """The lines of all processes on "err"."""
        return "".join(self.said("err")).splitlines()

    def made(self) -> list[Any]:
        """What each process's work returned, once all have ended well."""
        codes = self.wait()
        assert not any(codes), f"exit codes {codes}\n" + "\n".join(self.said("err") + self.said("out"))
        return [pickle.loads((self.folder / f"made-{rank}").read_bytes()) for rank in range(len(self.ids))]
