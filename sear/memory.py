"""Memory: how much the machine has, and what is said when it does not suffice."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sear.errors import InputError, OutOfMemoryError

# as torch, CUDA's libraries, C++ and pandas say it; and of sizes that no machine could even address
OUT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory|can.?t allocate memory|cannot allocate memory|bad_alloc|bad allocation"
    r"|ALLOC_FAILED|array is too big|maximum allowed (?:dimension|size) exceeded|Storage size calculation overflowed"
    r"|numel: integer multiplication overflow|invalid buffer size",
    re.IGNORECASE,
)
ASKED_FOR = re.compile(r"(?:allocate|Unable to allocate) +(?P<size>[\d.]+ *(?:bytes|[KMGTPE]iB))")
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container
ADDRESSABLE = 1 << 47
Sizes = Mapping[str, Any]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of any library says that memory does not suffice."""
    return isinstance(error, MemoryError) or bool(OUT_OF_MEMORY.search(str(error)))


@contextmanager
def enough_memory_to(work: str, sizes: Sizes) -> Iterator[None]:
    """Raises OutOfMemoryError where the block runs out of memory: what for, and which keys to lower.

    Args:
        work: what the block does: "train", "evaluate".
        sizes: the keys that decide how much it takes, the first the most, with their values; those of None are none.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        asked = ASKED_FOR.search(str(error))
        told = f"out of memory: the machine has not enough to {work}"
        told += f" ({_told(asked['size'])} asked for at once)" if asked else ""
        keys = " or ".join(f"{key} ({value})" for key, value in sizes.items() if value is not None)
        raise OutOfMemoryError(f"{told} - lower {keys}" if keys else f"{told} - use a larger one") from error


def _told(size: str) -> str:
    return in_words(int(size.split()[0])) if size.endswith("bytes") and size.split()[0].isdigit() else size


def machine_memory() -> int:
    """Bytes that this machine has, or that its container may use; what can be addressed where no one says."""
    found = []
    with suppress(ValueError, OSError, AttributeError):  # Windows has no sysconf
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in CGROUP_LIMITS:
        with suppress(ValueError, OSError):  # "max", or no container
            found.append(int(Path(path).read_text()))
    return min(found, default=ADDRESSABLE)


def in_words(size: float) -> str:
    """A number of bytes as people read it: `1.5 GB`."""
    for unit in ("bytes", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000 or unit == "PB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if size >= 100 or unit == "bytes" else f"{size:.2g} {unit}"
