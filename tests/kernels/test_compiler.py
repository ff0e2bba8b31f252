import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from sear.kernels.compiler import CACHE_FOLDER, compiled, exp, run_in_parallel


@compiled
def exponentials(x, y):
    for i in range(x.size):
        y[i] = exp(x[i])


@compiled
def mark(start, stop, seen):
    for i in range(start, stop):
        seen[i] += 1


def exp_of(values, dtype):
    x = np.asarray(values, dtype)
    y = np.empty_like(x)
    exponentials(x, y)
    return y


@pytest.mark.parametrize(("dtype", "limit", "error"), [(np.float32, 87, 1e-7), (np.float64, 708, 1e-15)])
def test_exp_is_exact_to_rounding(dtype, limit, error):
    x = np.linspace(-limit, limit, 200_001).astype(dtype)
    exact = np.exp(x.astype(np.longdouble))
    assert np.abs(exp_of(x, dtype) / exact - 1).max() < error


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_ends_at_the_normal_numbers_and_keeps_not_a_number(dtype):
    least, greatest = np.finfo(dtype).tiny, np.finfo(dtype).max
    low, lower, one, high, higher, nan = exp_of([-1e4, -np.inf, 0, 1e4, np.inf, np.nan], dtype)
    assert 0 <= low <= 2 * least and 0 <= lower <= 2 * least
    assert one == 1
    assert greatest / 4 <= high <= greatest and greatest / 4 <= higher <= greatest
    assert np.isnan(nan)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 7, 1000])
@pytest.mark.parametrize("openmp", [True, False])
def test_every_unit_of_work_is_done_once(threads, count, openmp, monkeypatch):
    if not openmp:
        monkeypatch.setattr("sear.kernels.compiler._torch_openmp", lambda: None)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        seen = np.zeros(count, np.int64)
        run_in_parallel(mark, count, seen)
    finally:
        torch.set_num_threads(before)
    assert (seen == 1).all()


def test_an_error_inside_a_thread_reaches_the_caller():
    def fail(start, stop):
        raise ZeroDivisionError(start)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            run_in_parallel(fail, 8)
    finally:
        torch.set_num_threads(before)


def test_import_of_sear_and_its_mamba_leaves_numba_cold():
    code = "import sys, sear, sear.model.mamba; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.getcwd()}).returncode == 0


def test_compiled_kernels_are_kept_in_a_folder_named_by_their_sources():
    assert CACHE_FOLDER.name.startswith("kernels-")
    assert list(CACHE_FOLDER.rglob("*.nbi"))
