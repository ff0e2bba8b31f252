"""What a result depends on besides data, settings and seed: versions, machine, threads, commit."""

import ctypes
import gc
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from sear import processes
from sear.files import CHECKOUT

VERSIONS = (
    "numpy",
    "recbole",
    "numba",
    "scipy",
    "scikit-learn",
    "sentence-transformers",
    "transformers",
    "mamba-ssm",
    "causal-conv1d",
)


def environment(device: torch.device | str) -> dict[str, Any]:
    """{python, torch, those of VERSIONS, cpu, threads, device, commit}, as they are now, and of several processes
    `processes`, their number; threads are each one's."""
    device = torch.device(device)
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: installed(name) for name in VERSIONS},
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        **({"processes": processes.size()} if processes.size() > 1 else {}),
        "device": f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type,
        "commit": commit(CHECKOUT),
    }


def installed(name: str) -> str | None:
    """A package's version; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit(root: Path | None) -> str | None:
    """The commit that `root` stands at, with "+changes" where tracked files differ from it; None outside git."""
    if root is None:
        return None
    top = _git(root, "rev-parse", "--show-toplevel")
    head = _git(root, "rev-parse", "HEAD")
    if not top or not head or Path(top).resolve() != root.resolve():  # installed inside somebody else's repository
        return None
    return head + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):  # git is not installed
        return None
    return done.stdout.strip() if done.returncode == 0 else None


CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
RESET_PEAK = "5"  # Linux: the peak of the resident memory falls to what is resident now


def trim_heap() -> None:
    """Give the memory that was freed, and that glibc keeps for later, back to the system; elsewhere do nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)


class PeakMemory:
    """Watches from its making on; where the system cannot forget an earlier peak, from the start of the process."""

    def __init__(self):
        gc.collect()  # an earlier run's model is no memory of this one
        trim_heap()
        try:
            CLEAR_REFS.write_text(RESET_PEAK)
            self.since = "run"
        except OSError:  # not Linux, or not allowed
            self.since = "process"
        if torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats()

    def values(self) -> dict[str, Any]:
        """{peak_memory_mb, peak_memory_since: "run" or "process"}, and peak_gpu_memory_mb where a GPU was used."""
        found = {"peak_memory_mb": self._resident_mb(), "peak_memory_since": self.since}
        if torch.cuda.is_initialized():
            found["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated() / 1e6
        return found

    def _resident_mb(self) -> float | None:
        if self.since == "run":
            (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
            return int(line.split()[1]) * 1024 / 1e6
        try:
            import resource
        except ImportError:  # Windows
            return None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1 if sys.platform == "darwin" else 1024) / 1e6
