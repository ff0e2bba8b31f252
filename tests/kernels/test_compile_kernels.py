"""Triton compiles without a card: that kernels become machine code, and how much shared memory they take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
def test_kernels_compile_for_cards_that_are_not_here():
    """For compute capabilities 8.0 and 9.0, small enough that seven programs share a multiprocessor's 228 KiB."""
    pytest.importorskip("triton", reason="triton is not installed: pip install -r requirements-dev.txt")
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.kernels.compile_kernels", "80:fp16", "90:fp32"]
    root = Path(__file__).parent.parent.parent
    found = subprocess.run(command, env=environment, cwd=root, check=True, capture_output=True, text=True)
    lines = [line.split() for line in found.stdout.splitlines()]
    assert {name for name, *_ in lines} == {
        f"{part}_{way}" for part in ("scan", "convolution", "layer_norm") for way in ("forward", "backward")
    }
    for name, _, shared_bytes, code_bytes in lines:
        assert int(shared_bytes) <= 32 * 1024, name
        assert int(code_bytes) > 0, name
