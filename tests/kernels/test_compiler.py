import os
import subprocess
import sys

import numpy as np
import pytest

from sear.kernels.compiler import compiled, exp, exp2, log1p


@compiled
def exponentials(x, y):
    for i in range(x.size):
        y[i] = exp(x[i])


@compiled
def powers_of_two(x, y):
    for i in range(x.size):
        y[i] = exp2(x[i])


@compiled
def logarithms(x, y):
    for i in range(x.size):
        y[i] = log1p(x[i])


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


@pytest.mark.parametrize(("dtype", "limit", "error"), [(np.float32, 125, 1e-7), (np.float64, 1021, 1.2e-15)])
def test_exp2_is_exact_to_rounding(dtype, limit, error):
    x = np.linspace(-limit, limit, 200_001).astype(dtype)
    y = np.empty_like(x)
    powers_of_two(x, y)
    assert np.abs(y / np.exp2(x.astype(np.longdouble)) - 1).max() < error


@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 3e-7), (np.float64, 1e-15)])
def test_log1p_is_exact_to_rounding_however_small_its_argument(dtype, error):
    x = np.concatenate([np.linspace(0, 1, 100_001), 10.0 ** np.arange(-30, 0)]).astype(dtype)
    y = np.empty_like(x)
    logarithms(x, y)
    exact = np.log1p(x.astype(np.longdouble))
    assert y[0] == 0
    assert np.abs(y[1:] / exact[1:] - 1).max() < error


def test_import_of_sear_and_its_mamba_leaves_numba_cold():
    code = "import sys, sear, sear.model.mamba; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.getcwd()}).returncode == 0
