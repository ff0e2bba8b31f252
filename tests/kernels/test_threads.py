"""Work that compiled code hands to threads."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sear.kernels import threads as room
from sear.kernels.compiler import compiled
from sear.kernels.threads import fork_join


@compiled
def _count(start, stop, seen):
    for unit in range(start, stop):
        seen[unit] += 1


@compiled
def _launch(threads, count, seen):
    fork_join(_count, count, threads, (seen,))


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 1000])
def test_every_unit_of_work_is_done_once(threads, count):
    seen = np.zeros(count + 1, np.int64)
    for _ in range(20):
        _launch(threads, count, seen)
    assert (seen[:count] == 20).all() and seen[count] == 0


def test_python_threads_stand_in_for_openmp():
    calls = []
    body = room._body(lambda shared: calls.append(shared))
    room._python_threads(ctypes.cast(body, ctypes.c_void_p), 7, 3, 0)
    assert calls == [7, 7, 7]


PRINT_RESULTS = """
import torch
from sear.model.layers import StreamFusion, fuse_streams
torch.manual_seed(0)
torch.set_num_threads(2)
fusions = [StreamFusion(32, 4, 0.2).train() for _ in range(3)]
inputs = [torch.randn(4, 9, 32, requires_grad=True) for _ in range(3)]
outputs = fuse_streams(fusions, inputs)
gradients = torch.autograd.grad(sum((y * torch.randn_like(y)).sum() for y in outputs), inputs)
print([value.item().hex() for tensor in (*outputs, *gradients) for value in tensor.flatten()])
"""


def test_kernels_round_alike_whether_compiled_just_now_or_read_from_the_cache(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", PRINT_RESULTS]
    root = Path(__file__).parent.parent.parent
    compiled, cached = (subprocess.check_output(command, cwd=root, env=environment) for _ in range(2))
    assert list(tmp_path.rglob("*.nbc"))
    assert compiled == cached
