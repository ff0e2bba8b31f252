"""The most memory one run held, apart from what earlier runs of the same process held."""

import ctypes
import gc
import sys
from pathlib import Path

import torch

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

    def figures(self) -> dict[str, float | str | None]:
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
