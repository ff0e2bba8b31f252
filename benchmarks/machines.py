"""Two "machines" that share this one's files: network namespaces with a cable between them.

They need root's rights and `ip` of iproute2; `fault` says what is missing.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """A namespace, its end of the cable and its address."""

    name: str
    interface: str
    address: str

    def command(self, words: list[str]) -> list[str]:
        """The words that obey a command there."""
        return ["ip", "netns", "exec", self.name, "env", f"GLOO_SOCKET_IFNAME={self.interface}", *words]


def _ip(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(["ip", *words], capture_output=True, text=True)


def fault() -> str:
    """Why there can be no such machines here, "" where there can."""
    if shutil.which("ip") is None:
        return "there is no ip (iproute2)"
    name = f"sear-{os.getpid()}-try"
    made = _ip("netns", "add", name)
    if made.returncode:
        return f"no network namespace can be made ({made.stderr.strip()})"
    ends = [f"st{os.getpid()}", "netns", name, "type", "veth", "peer", "name", "other", "netns", name]
    cable = _ip("link", "add", *ends)
    _ip("netns", "del", name)
    return f"no cable can be made ({cable.stderr.strip()})" if cable.returncode else ""


@contextmanager
def two_machines() -> Iterator[list[Machine]]:
    """In the block they are there; with it they go, and their cable."""
    found = [Machine(f"sear-{os.getpid()}-{n}", f"sv{os.getpid()}-{n}", f"10.77.0.{n}") for n in (1, 2)]
    try:
        for machine in found:
            assert not _ip("netns", "add", machine.name).returncode
        first, second = found
        ends = ["link", "add", first.interface, "netns", first.name, "type", "veth", "peer", "name", second.interface]
        assert not _ip(*ends, "netns", second.name).returncode
        for machine in found:
            there = ("-n", machine.name)
            assert not _ip(*there, "addr", "add", f"{machine.address}/24", "dev", machine.interface).returncode
            for interface in ("lo", machine.interface):
                assert not _ip(*there, "link", "set", interface, "up").returncode
        yield found
    finally:
        for machine in found:
            _ip("netns", "del", machine.name)
