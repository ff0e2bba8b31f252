"""The processes that train together: torchrun starts them, the first one leads, the others do what it asks for.

One process alone is the case N = 1: it leads, and nobody follows. More are those that torchrun started, or whoever sets
RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT as torchrun does, once they have joined. Tensors on a GPU travel by NCCL,
all others by gloo.
"""

import ctypes
import io
import os
import pickle
import re
import signal
import socket
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from time import sleep
from typing import Any
from uuid import uuid4

from sear.errors import InputError, LostProcessError

TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # to each process, by torchrun
BY_TORCHRUN = "TORCHELASTIC_RUN_ID"  # is set by torchrun alone
SILENCE = timedelta(minutes=10)  # of a process that is still connected, between two steps of all; or of its machine
PATIENCE = timedelta(days=7)  # while the first process works alone: encoding a catalogue may take hours
LOST = re.compile(r"gloo|NCCL|c10d|TCPStore|connection (was )?(closed|reset|refused)|broken pipe|timed out", re.I)
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl
PART = "part"


@dataclass
class _Group:
    """What a process that has joined knows of the others.

    store: what is these processes' own in torchrun's. waiting: a gloo group whose members may keep each other waiting.
    together: whether all are where the first believes them to be; else none can ask anything of the others any more.
    """

    rank: int
    size: int
    store: Any
    waiting: Any
    together: bool = True


_group: _Group | None = None
_no_own_gpu = ""  # why this process has none
_kept: Any = None  # the store that torchrun keeps for those it starts anew


def rank() -> int:
    """This process's number among those that have joined, from 0."""
    return _group.rank if _group else 0


def size() -> int:
    """How many processes have joined; 1 where none has."""
    return _group.size if _group else 1


def launched() -> bool:
    """Whether this process is one of several, by its environment, or one that torchrun starts anew should it die."""
    count = os.environ.get("WORLD_SIZE", "")
    several = count.isdigit() and int(count) > 1
    return all(os.environ.get(name) for name in TOLD) and (several or BY_TORCHRUN in os.environ)


def before_torch() -> None:
    """To be called before torch is imported, where processes were launched: its C++ code then tells errors only.

    Else DDP warns, on behalf of each process, that every parameter had a gradient.
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def launcher(with_restarts: bool = False) -> list[str]:
    """The words that stand before a command to start it with as many processes again; none for one process.

    Of several machines each has its NUMBER, from 0.

    Args:
        with_restarts: how often torchrun shall start them anew, too, as it was told.
    """
    if _group is None:
        return []
    here = os.environ.get("LOCAL_WORLD_SIZE", str(_group.size))
    machines = os.environ.get("GROUP_WORLD_SIZE", "1")
    restarts = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") if with_restarts else "0"
    words = [f"--nproc_per_node={here}", *([f"--max-restarts={restarts}"] if restarts != "0" else [])]
    if machines != "1":
        first = [f"--{name}={os.environ[name.upper()]}" for name in ("master_addr", "master_port")]
        words = [f"--nnodes={machines}", "--node_rank=NUMBER", *first, *words]
    return ["torchrun", *words]


@contextmanager
def joined() -> Iterator[bool]:
    """The processes that were launched find each other, and part with the block; one alone has nothing to do for it.

    Yields whether this process is the first one, which leads.

    Raises:
        LostProcessError: not all of them came.
    """
    global _group, _kept
    if not launched():
        yield True
        return
    _end_with_launcher()
    import torch

    if torch.backends.cuda.is_built():  # else whatever is said of GPUs is for other programs
        _take_own_gpu()
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # no handler in Python is run while one waits for others
    _kept, _group = _join()
    signal.signal(signal.SIGTERM, before)
    yield rank() == 0  # after an error the group stays, for first_to_tell
    _kept = None
    if _group is None:
        return
    if _group.rank == 0 and _group.together:
        _sent(PART)
    from torch import distributed

    distributed.destroy_process_group()
    _group = None


def _join() -> tuple[Any, _Group | None]:
    """What torchrun keeps, and the group; no group for one process."""
    import torch
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    try:
        kept, number, count = next(rendezvous("env://", timeout=SILENCE))
        if count == 1:
            return kept, None
        store = distributed.PrefixStore(_agreed(kept, number, count), kept)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and distributed.is_nccl_available() else "gloo"
        distributed.init_process_group(backend, store=store, rank=number, world_size=count, timeout=SILENCE)
        waiting = distributed.new_group(backend="gloo", timeout=PATIENCE)
        _watch_connections()
        return kept, _Group(number, count, store, waiting)
    except RuntimeError as error:  # as all errors of torch.distributed
        reason = str(error).partition("\n")[0]
        raise LostProcessError(
            f"the {os.environ['WORLD_SIZE']} processes did not find each other ({reason}) - start all of them, where"
            f" every machine reaches {os.environ['MASTER_ADDR']}, port {os.environ['MASTER_PORT']}"
        ) from error


def _watch_connections() -> None:
    """The system asks whether the machines at the other ends are there; a connection ends where one is silent.

    Without, whoever waits for a machine that has vanished from the network waits as long as for one that works. torch
    opens the connections, and can set none of this.
    """
    try:
        open_files = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:  # no such list on Windows
        return
    seconds = SILENCE.total_seconds()
    options = {"TCP_KEEPIDLE": max(1, seconds // 10), "TCP_KEEPINTVL": max(1, seconds // 10), "TCP_KEEPCNT": 9}
    options["TCP_USER_TIMEOUT"] = seconds * 1000  # where something sent is not acknowledged
    for number in open_files:
        with suppress(OSError):  # closed by now
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                with socket.socket(fileno=os.dup(number)) as connection:
                    _watch(connection, options)


def _watch(connection: socket.socket, options: Mapping[str, float]) -> None:
    if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.type != socket.SOCK_STREAM:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in options.items():
        if hasattr(socket, name):  # Linux has all of them
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), int(value))


def _agreed(store: Any, number: int, count: int) -> str:
    """A name that these processes have for themselves, and none before them.

    A torchrun that starts processes anew keeps their store, and in it the addresses of those that ended
    (https://github.com/pytorch/pytorch/issues/135712); and not every machine counts its restarts alike. So the first
    process answers the others under a name of its own, each by what only the one that is there now can have said.
    """
    said = uuid4().hex
    if number == 0:
        store.set("name", said)
        for other in range(1, count):
            store.set(f"{said}/answer/{other}", store.get(f"{said}/{other}"))
        return said
    while True:
        name = store.get("name").decode()
        store.set(f"{name}/{number}", said)
        for _ in range(100):
            if store.check([f"{name}/answer/{number}"]) and store.get(f"{name}/answer/{number}").decode() == said:
                return name
            sleep(0.01)


def _take_own_gpu() -> None:
    """Each process of a machine sees one of the GPUs that may be seen: cuda is then its own for all that follows."""
    global _no_own_gpu
    number, count = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if count == 1 or seen == "":
        return
    there = seen.split(",") if seen else [str(index) for index in range(count)]
    if len(there) < count:
        _no_own_gpu = (
            f"CUDA_VISIBLE_DEVICES is {seen}, and each of {count} processes takes a GPU of its own - name as many,"
            f" start {len(there)} (--nproc_per_node={len(there)}), or set use_gpu to False"
        )
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = there[number]


def require_own_gpu() -> None:
    """To be called before a GPU is used. Raises InputError where there are fewer of them than processes."""
    if _no_own_gpu:
        raise InputError(_no_own_gpu)


def _end_with_launcher() -> None:
    """A torchrun that is killed leaves no process behind: they are then stopped as by SIGTERM. Linux alone can."""
    if BY_TORCHRUN in os.environ and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)


@contextmanager
def together(what: str, *arguments: Any) -> Iterator[None]:
    """The other processes do `what` while the block runs, in which the first one does the same.

    After a block that failed nothing more can be asked for, for the others may be anywhere in it.

    Args:
        arguments: what the others need to know, pickled.

    Raises:
        LostProcessError: another process has ended, or does not answer.
    """
    if _group is None:
        yield
        return
    require_together()
    _group.together = False
    with lost_is_told():
        _sent([what, *arguments])
        yield
    _group.together = True


def require_together() -> None:
    """Raises LostProcessError where the others wait in the middle of what failed, and cannot be asked any more."""
    if _group and not _group.together:
        raise LostProcessError("the processes work together no more - start them all again")


def ask(what: str, *arguments: Any) -> None:
    """The other processes do `what`, and the first one goes on meanwhile."""
    with together(what, *arguments):
        pass


def asked() -> Iterator[tuple[str, list[Any]]]:
    """What the first process asks of the others, one thing after the other, until they part."""
    while (words := _sent(None)) != PART:
        yield words[0], words[1:]


@contextmanager
def lost_is_told() -> Iterator[None]:
    """Raises LostProcessError where the block fails because another process has ended or does not answer."""
    try:
        yield
    except RuntimeError as error:
        if _group is None or not LOST.search(str(error)):
            raise
        raise LostProcessError(f"another of the {_group.size} processes has ended, so they all end") from error


def first_to_tell() -> bool:
    """Whether this process is to say why all of them end: whoever asks first is, and others just see it gone."""
    if _group is None:  # they have not found each other
        return os.environ.get("RANK", "0") == "0"
    try:
        return _group.store.add("told", 1) == 1
    except RuntimeError:  # the store is gone with torchrun, or else with the first process: one of each machine tells
        first_is_here = os.environ.get("GROUP_RANK", "0") == "0"
        by_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        return os.environ.get("LOCAL_RANK", str(_group.rank)) == ("1" if first_is_here and not by_agent else "0")


def note(name: str, value: str) -> None:
    """Leave something to those that torchrun starts in the place of these processes (`--max-restarts`)."""
    if _kept is not None:
        _kept.set(f"noted/{name}", value)


def noted(name: str) -> str | None:
    """What processes before these have left; None where there were none."""
    if _kept is None or not _kept.check([f"noted/{name}"]):
        return None
    return _kept.get(f"noted/{name}").decode()


def _sent(value: Any) -> Any:
    """The first process's value, for all."""
    from torch import distributed

    assert _group is not None
    held = [value]
    distributed.broadcast_object_list(held, src=0, group=_group.waiting)
    return held[0]


def meet() -> None:
    """Wait until all processes are here, however long it takes."""
    if _group:
        from torch import distributed

        distributed.barrier(group=_group.waiting)


def share(value: Any = None) -> Any:
    """What the first process has, for all: the tensors in it as they are, the rest pickled."""
    if _group is None:
        return value
    from torch import Tensor, empty

    tensors: list[Tensor] = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, found: Any) -> Any:
            if not isinstance(found, Tensor):
                return None
            tensors.append(found.detach().contiguous())
            return tuple(found.shape), found.dtype, found.device.type

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, kept: Any) -> Any:
            shape, kind, device = kept
            tensors.append(empty(shape, dtype=kind, device=device))
            return tensors[-1]

    file = io.BytesIO()
    if not _group.rank:
        Pickler(file).dump(value)
    pickled = _sent(file.getvalue())
    if _group.rank:
        value = Unpickler(io.BytesIO(pickled)).load()
    spread(tensors)
    return value


def spread(tensors: Iterable[Any]) -> None:
    """The first process's values in place of the others', tensor by tensor."""
    from torch import distributed

    for tensor in tensors if _group else ():
        distributed.broadcast(tensor, src=0)


def gather(vector: Any) -> Any:
    """The vectors of all processes, which may be of different lengths, in the order of the processes."""
    if _group is None:
        return vector
    from torch import cat, distributed

    lengths = vector.new_zeros(_group.size)
    lengths[_group.rank] = len(vector)
    lengths = add_up(lengths).tolist()
    own = vector.new_zeros(max(lengths))  # gloo gathers tensors of one length only
    own[: len(vector)] = vector
    found = [own.new_empty(len(own)) for _ in lengths]
    distributed.all_gather(found, own)
    return cat([part[:length] for part, length in zip(found, lengths, strict=True)])


def add_up(tensor: Any) -> Any:
    """The tensor, which now is the sum of all processes' tensors."""
    if _group:
        from torch import distributed

        distributed.all_reduce(tensor)
    return tensor
