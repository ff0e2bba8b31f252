"""What a figure depends on besides data, settings and seed: versions, machine, threads, commit."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from sear.settings import PROJECT_ROOT

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


def environment(device: torch.device | str) -> dict[str, str | int | None]:
    """{python, torch, those of VERSIONS, cpu, threads, device, commit}, as they are now."""
    device = torch.device(device)
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: installed(name) for name in VERSIONS},
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "device": f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type,
        "commit": commit(PROJECT_ROOT),
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


def commit(root: Path) -> str | None:
    """The commit that `root` stands at, with "+changes" where tracked files differ from it; None outside git."""
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
