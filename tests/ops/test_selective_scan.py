import os
import re
import subprocess
import sys

import numba
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba.core.codegen import get_host_cpu_features

from sear.files import PROJECT_ROOT
from sear.kernels import compiler, scan
from sear.ops.selective_scan import selective_scan, selective_scan_reference

NAMES = ("u", "delta", "A", "B", "C", "D", "z", "bias")


def scan_inputs(batch, length, channels, states, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    u, delta, z = (normal(batch, length, channels) for _ in range(3))
    B, C = normal(batch, length, states), normal(batch, length, states)
    return [u, delta, -torch.exp(normal(channels, states)), B, C, normal(channels), z, normal(channels)]


def value_and_gradients(function, inputs, dtype):
    """y and the gradients of all inputs for a fixed random gradient of y."""
    leaves = [tensor.detach().to(dtype).requires_grad_() for tensor in inputs]
    y = function(*leaves)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return [y.detach(), *torch.autograd.grad(y, leaves, dy.to(dtype))]


def assert_same(computed, expected, tolerance, floor=1e-30):
    for name, ours, theirs in zip(("y", *NAMES), computed, expected, strict=True):
        assert ours.shape == theirs.shape
        largest_error = (ours.double() - theirs.double()).abs().max()
        assert largest_error <= tolerance * theirs.double().abs().max() + floor, (name, float(largest_error))


def assert_scan_equals_reference(inputs):
    expected = value_and_gradients(selective_scan_reference, inputs, torch.float64)
    for dtype, tolerance in ((torch.float32, 5e-6), (torch.float64, 1e-13)):
        cancelled = torch.finfo(dtype).eps * inputs[0].shape[:2].numel() ** 0.5  # of sums over all steps
        assert_same(value_and_gradients(selective_scan, inputs, dtype), expected, tolerance, cancelled)


@pytest.mark.parametrize("length", [1, 2, 3, 15, 16, 17, 32, 33, 100, 128, 129, 300])
def test_scan_equals_reference_at_every_length(length):
    assert_scan_equals_reference(scan_inputs(2, length, 24, 8, torch.float64))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 70), st.integers(1, 9), st.integers(1, 40), st.integers(1, 9), st.integers(0, 999))
@example(52, 2, 1, 1, 344)  # the gradient of D nearly cancels
def test_scan_equals_reference_at_widths_that_fill_no_vector(batch, length, channels, states, seed):
    assert_scan_equals_reference(scan_inputs(batch, length, channels, states, torch.float32, seed))


@pytest.mark.parametrize(("batch", "channels"), [(1, 16), (1, 17), (2, 100), (3, 128), (20, 129), (17, 300)])
def test_scan_equals_reference_however_channels_are_cut_into_blocks(batch, channels):
    assert_scan_equals_reference(scan_inputs(batch, 18, channels, 3, torch.float64))


@pytest.mark.parametrize("shape", [(2, 3, 2, 2), (1, 2, 9, 4), (1, 131, 1, 1)])
def test_gradients_of_scan_pass_gradcheck(shape):
    inputs = [tensor.requires_grad_() for tensor in scan_inputs(*shape, torch.float64)]
    assert torch.autograd.gradcheck(selective_scan, inputs, fast_mode=shape != (2, 3, 2, 2))


def test_strided_inputs_give_what_their_copies_give():
    batch, length, channels, states = 3, 11, 32, 6
    generator = torch.Generator().manual_seed(0)
    xz = torch.randn(batch, length, 2 * channels, generator=generator)
    u, z = xz.chunk(2, dim=-1)
    delta = torch.randn(channels, length, batch, generator=generator).permute(2, 1, 0)  # channels are not neighbours
    _, B, C = torch.randn(batch, length, 3 + 2 * states, generator=generator).split([3, states, states], dim=-1)
    A, D, bias = (scan_inputs(1, 1, channels, states, torch.float32)[i] for i in (2, 5, 7))
    strided = [u, delta, A.T.contiguous().T, B, C, D[:1].expand(channels), z, torch.stack([bias, bias], dim=1)[:, 0]]
    computed = value_and_gradients(selective_scan, strided, torch.float32)
    leaves = [tensor.contiguous() for tensor in strided]
    for ours, theirs in zip(computed, value_and_gradients(selective_scan, leaves, torch.float32), strict=True):
        assert torch.equal(ours, theirs)


def test_scan_without_gradients_gives_the_same_values():
    inputs = scan_inputs(2, 150, 20, 4, torch.float32)
    with torch.no_grad():
        plain = selective_scan(*inputs)
    assert not plain.requires_grad
    assert torch.equal(plain, selective_scan(*(t.requires_grad_() for t in inputs)))


@pytest.mark.parametrize("batch", [1, 2, 3, 64, 130])
def test_runs_are_bitwise_equal_whatever_the_number_of_threads(batch):
    inputs = scan_inputs(batch, 21, 72, 6, torch.float32)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 2, 3, 5):
            torch.set_num_threads(threads)
            results.append(value_and_gradients(selective_scan, inputs, torch.float32))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(results[0], other, strict=True))


@pytest.mark.parametrize("delta", [-1000.0, -104.0, -20.0, 0.0, 19.0, 100.0, 3e4])
def test_extreme_steps_stay_finite_and_right(delta):
    """A softplus that vanishes or is linear, and decays exp(delta A) that underflow to 0."""
    inputs = scan_inputs(2, 5, 17, 5, torch.float64)
    inputs[1] = torch.full_like(inputs[1], delta)
    inputs[7] = inputs[7].clamp(-1, 0.9)  # above 20, torch's softplus stops at x and is off by up to 2e-9
    expected = value_and_gradients(selective_scan_reference, inputs, torch.float64)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        computed = value_and_gradients(selective_scan, inputs, dtype)
        assert all(tensor.isfinite().all() for tensor in computed)
        assert_same(computed, expected, tolerance, floor=1e-25)  # ours never quite reach 0


def test_not_a_number_is_passed_on_to_later_steps_only():
    inputs = scan_inputs(2, 6, 20, 4, torch.float32)
    inputs[0][1, 3, 7] = float("nan")
    y = selective_scan(*inputs)
    assert y[1, 3:, 7].isnan().all()
    y[1, 3:, 7] = 0
    assert y.isfinite().all()


def test_nothing_looks_ahead():
    inputs = scan_inputs(2, 9, 20, 4, torch.float32)
    y = selective_scan(*inputs)
    for index in (0, 1, 3, 4, 6):
        inputs[index] = inputs[index].clone()
        inputs[index][:, 5:] = 7.0
    assert torch.equal(selective_scan(*inputs)[:, :5], y[:, :5])


def test_an_empty_batch_gives_an_empty_result():
    assert selective_scan(*scan_inputs(0, 3, 5, 2, torch.float32)).shape == (0, 3, 5)


def test_half_precision_inputs_are_computed_in_float32():
    inputs = [tensor.bfloat16() for tensor in scan_inputs(2, 5, 20, 4, torch.float32)]
    y = selective_scan(*inputs)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, selective_scan(*(tensor.float() for tensor in inputs)).bfloat16())


@pytest.mark.skipif("+avx2" not in get_host_cpu_features(), reason="looks for instructions of AVX2")
@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_loops_over_states_become_simd_code(real):
    """Else a scan is right but several times as slow: LLVM must see that the arrays do not overlap."""
    suffix = "ps" if real is np.float32 else "pd"
    sizes = {"B": (16, 2, 2), "C": (16, 2, 2), "state": (2, 2, 64), "decay": (16, 2, 64), "before": (17, 2, 64)}
    scratch = scan.Scratch(*(np.zeros(sizes.get(name, (16, 64)), real) for name in scan.Scratch._fields))
    A2, dA, dBC = np.zeros((2, 2, 64), real), np.zeros((2, 2, 64), real), np.zeros((16, 2, 2, 2), real)
    for kernel, arguments in (
        (scan._run_states, (scratch, A2, 16, np.uintp(64))),
        (scan._rerun_states, (scratch, A2, 0, 16, np.uintp(64))),
        (scan._back_through_states, (scratch, A2, dA, dBC, 0, 16, np.uintp(64))),
    ):
        options = {"fastmath": kernel.targetoptions["fastmath"], "error_model": "numpy"}
        uncached = numba.njit(kernel.py_func, pipeline_class=compiler._DisjointArrays, **options)
        uncached(*arguments)
        (assembly,) = uncached.inspect_asm().values()
        assert len(re.findall(rf"vf\w+{suffix}\s.*[yz]mm", assembly)) >= 4


@pytest.mark.long
@pytest.mark.skipif("+avx2" not in get_host_cpu_features(), reason="needs a processor with AVX2")
def test_kernels_with_vectors_of_32_bytes_equal_their_references():
    """Compiled as for a processor that has AVX2 and no more: where there is AVX-512, no other test runs such code."""
    code = """
import torch
from sear.ops.convolution import causal_conv, causal_conv_reference
from tests.ops.test_selective_scan import assert_scan_equals_reference, scan_inputs
assert_scan_equals_reference(scan_inputs(2, 37, 20, 5, torch.float64))
x, weight, bias = torch.randn(2, 9, 20), torch.randn(20, 4), torch.randn(20)
torch.testing.assert_close(causal_conv(x, weight, bias), causal_conv_reference(x, weight, bias))
"""
    narrow = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+avx,+fma,+sse4.2"}
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, env=os.environ | narrow, check=True)
