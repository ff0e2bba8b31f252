"""Work that compiled code hands to threads."""

import ctypes

import numpy as np
import pytest

from sear import fork_join as room
from sear.compiled import compiled
from sear.fork_join import fork_join


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
