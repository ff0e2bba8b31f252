"""Work that compiled code hands to threads."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sear.kernels import threads as threads_module
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


@compiled
def _fail_at_five(start, stop, seen):
    for unit in range(start, stop):
        seen[unit] += 1
        if unit == 5:
            raise ZeroDivisionError


@compiled
def _launch_failure(threads, count, seen):
    fork_join(_fail_at_five, count, threads, (seen,))


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_inside_a_thread_reaches_the_caller(threads):
    _launch_failure(threads, 5, np.zeros(5, np.int64))
    with pytest.raises(RuntimeError, match="a kernel failed in one of its threads"):
        _launch_failure(threads, 8, np.zeros(8, np.int64))


@pytest.mark.long
def test_every_unit_of_work_is_done_once_where_torch_brings_no_openmp():
    code = """
import numpy as np, torch
torch.__file__ = "/nowhere/torch/__init__.py"
from sear.kernels import threads
from tests.kernels.test_threads import _launch
assert threads._torch_openmp() is None
for count in (1, 2, 7, 1000):
    for number in (1, 2, 3):
        seen = np.zeros(count, np.int64)
        _launch(number, count, seen)
        assert (seen == 1).all()
"""
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent.parent, check=True)


def test_python_threads_stand_in_for_openmp():
    calls = []
    body = threads_module._body(lambda shared: calls.append(shared))
    threads_module._python_threads(ctypes.cast(body, ctypes.c_void_p), 7, 3, 0)
    assert calls == [7, 7, 7]


PRINT_RESULTS = """
import torch
from sear.model.layers import StreamFusion, fuse_streams
from sear.model.mamba import Mamba
torch.manual_seed(0)
torch.set_num_threads(2)
fusions = [StreamFusion(32, 4, 0.2).train() for _ in range(3)]
inputs = [torch.randn(4, 9, 32, requires_grad=True) for _ in range(3)]
outputs = fuse_streams(fusions, inputs)
gradients = torch.autograd.grad(sum((y * torch.randn_like(y)).sum() for y in outputs), inputs)
mamba = Mamba(32, 4)
output = mamba(inputs[0])
gradients += torch.autograd.grad((output * torch.randn_like(output)).sum(), list(mamba.parameters()))
print([value.item().hex() for tensor in (*outputs, *gradients) for value in tensor.flatten()])
"""


@pytest.mark.long
def test_kernels_round_alike_whether_compiled_just_now_or_read_from_the_cache(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", PRINT_RESULTS]
    root = Path(__file__).parent.parent.parent
    compiled, cached = (subprocess.check_output(command, cwd=root, env=environment) for _ in range(2))
    assert list(tmp_path.rglob("*.nbc"))
    assert compiled == cached
