"""Several processes that train together, as torchrun starts them, but forked from one that has imported all they need.

That one trains a toy model first: what is compiled is then loaded for all of them. It has a single thread, and no test
runs in it, so that nothing is forked in the middle of anything.
"""

import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore

from sear.runs import follower  # noqa: F401  (imported once, for all)
from tests.helpers import toy_command

SECONDS = 120  # for all of them; what takes longer hangs
fork_server = multiprocessing.get_context("forkserver")
fork_server.set_forkserver_preload(["tests.helpers.warm"])


def environment(rank: int, count: int, port: int) -> dict[str, str]:
    """What torchrun tells each process; one alone is told nothing."""
    here = {"LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count, "GROUP_WORLD_SIZE": 1, "TORCHELASTIC_USE_AGENT_STORE": True}
    told = {"RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} | here
    return {} if count == 1 else {key: str(value) for key, value in told.items()}


def _begin(rank: int, told: dict[str, str], work: Callable[[int], Any], folder: Path) -> None:
    code = 70
    try:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # RecBole leaves it in the process of the tests
        os.environ.update(told)
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(folder / f"{name}-{rank}", os.O_WRONLY | os.O_CREAT, 0o644), stream)
        sys.stdout, sys.stderr = (open(stream, "w", buffering=1, closefd=False) for stream in (1, 2))
        faulthandler.enable()
        faulthandler.dump_traceback_later(SECONDS - 10)  # where it hangs
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        (folder / f"made-{rank}").write_bytes(pickle.dumps(work(rank)))
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


class Ranks:
    """`count` processes that each do `work(rank)`, begun at once.

    Args:
        work: pickled: a function of a module, or a part of one.
        kept: the store of earlier processes, in whose place these come.
    """

    def __init__(self, count: int, work: Callable[[int], Any], kept: TCPStore | None = None):
        self._place = tempfile.TemporaryDirectory(prefix="ranks-")
        self.folder = Path(self._place.name)
        self.kept = kept or TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # torchrun has one
        self._processes = [
            fork_server.Process(
                target=_begin, args=(rank, environment(rank, count, self.kept.port), work, self.folder), daemon=True
            )
            for rank in range(count)
        ]
        for process in self._processes:
            process.start()

    def wait(self) -> list[int]:
        """The exit codes, negative for a signal's. None of the processes is there afterwards, whatever comes."""
        end = time.monotonic() + SECONDS
        try:
            for process in self._processes:
                process.join(max(0.0, end - time.monotonic()))
            codes = [process.exitcode for process in self._processes]
            assert None not in codes, f"hangs: {codes}\n" + "\n".join(self.said("err"))
            return codes
        finally:
            for process in self._processes:
                process.kill()
                process.join()

    def said(self, stream: str) -> list[str]:
        """What each process wrote to "out" or "err"."""
        return [(self.folder / f"{stream}-{rank}").read_text() for rank in range(len(self._processes))]

    def errors(self) -> list[str]:
        """The lines of all processes on "err"."""
        return "".join(self.said("err")).splitlines()

    def made(self) -> list[Any]:
        """What each process's work returned, once all have ended well."""
        codes = self.wait()
        assert not any(codes), f"exit codes {codes}\n" + "\n".join(self.said("err") + self.said("out"))
        made = [self.folder / f"made-{rank}" for rank in range(len(self._processes))]
        return [pickle.loads(path.read_bytes()) if path.exists() else None for path in made]


@dataclass
class Command:
    """What each process does: the command line on the tiny data set, and `act(rank)` before a training step of it."""

    folder: Path
    words: tuple[str, ...] = ()
    step: int = 0
    act: Callable[[int], Any] | None = None

    def __call__(self, rank: int) -> None:
        if self.act:
            toy_command.before_step(self.step, lambda: self.act(rank))
        sys.exit(toy_command.obey(self.folder, *self.words))


def kill(victim: int, rank: int) -> None:
    """That process ends as in a power cut."""
    if rank == victim:
        os.kill(os.getpid(), signal.SIGKILL)
