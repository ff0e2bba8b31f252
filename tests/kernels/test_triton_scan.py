"""The Triton scan against its plain definition in float64."""

import pytest
import torch

from sear.ops.selective_scan import selective_scan_reference
from tests.kernels.conftest import largest_error

NAMES = ("u", "delta", "A", "B", "C", "D", "z", "bias")
SHAPES = [  # batch, length, channels, states; the scan keeps states every 4 steps and cuts channels into blocks of 32
    (1, 1, 3, 2),
    (2, 2, 5, 1),
    (1, 9, 40, 5),
    (2, 18, 7, 32),
]


def scan_inputs(batch, length, channels, states, device, seed=0):
    """float32 values in float64 tensors; most steps softplus(delta + bias) are small, as in a model, and some large."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator).double().to(device)

    u, delta, z = (normal(batch, length, channels) for _ in range(3))
    B, C = normal(batch, length, states), normal(batch, length, states)
    return [u, 2 * delta - 3, -torch.exp(normal(channels, states)), B, C, normal(channels), z, normal(channels)]


def value_and_gradients(function, inputs):
    """y and the gradients of all inputs for a fixed random gradient of y."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    y = function(*leaves)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.device, y.dtype)
    return [y.detach(), *torch.autograd.grad(y, leaves, dy)]


def expected_of(inputs, dtype_of_dy):
    """In float64 from the same numbers. dy is rounded as the scan's is."""
    leaves = [tensor.detach().double().requires_grad_() for tensor in inputs]
    y = selective_scan_reference(*leaves)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.device, dtype_of_dy).double()
    return [y.detach(), *torch.autograd.grad(y, leaves, dy)]


def assert_equals_reference(inputs, tolerance):
    from sear.kernels.triton_scan import selective_scan

    computed = value_and_gradients(selective_scan, inputs)
    for name, ours, theirs in zip(("y", *NAMES), computed, expected_of(inputs, inputs[0].dtype), strict=True):
        assert theirs.abs().max() < 1e-12 or largest_error(ours, theirs) <= tolerance, name
    for tensor, gradient in zip(inputs, computed[1:], strict=True):
        assert gradient.dtype == tensor.dtype


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_equal_the_reference(device, shape):
    assert_equals_reference([tensor.float() for tensor in scan_inputs(*shape, device)], 3e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("shape", [(3, 100, 128, 32), (2, 257, 70, 16), (1, 33, 200, 64), (5, 20, 128, 3)])
def test_values_and_gradients_equal_the_reference_at_the_sizes_of_a_model(shape):
    assert_equals_reference([tensor.float() for tensor in scan_inputs(*shape, "cuda")], 3e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2**-7), (torch.float16, 2**-10)])
def test_half_precision_is_rounded_once_at_the_end(device, dtype, tolerance):
    """Within a unit in the last place, as all between is float32: devices round to nearest, the interpreter cuts."""
    assert_equals_reference([tensor.to(dtype) for tensor in scan_inputs(2, 5, 6, 3, device)], tolerance)


def test_types_may_be_mixed_as_autocast_mixes_them(device):
    u, delta, A, B, C, D, z, bias = (tensor.float() for tensor in scan_inputs(1, 5, 6, 3, device))
    half = [tensor.bfloat16() for tensor in (u, delta, B, C, z)]
    assert_equals_reference([half[0], half[1], A, half[2], half[3], D, half[4], bias], 2**-7)


def test_strided_inputs_are_taken_where_they_lie(device):
    """u, z are halves of a projection, B, C parts of another, delta has its channels apart, dy is one row for all."""
    from sear.kernels.triton_scan import selective_scan
    from sear.kernels.triton_tiles import rows_of

    u, delta, A, B, C, D, z, bias = (tensor.float() for tensor in scan_inputs(2, 6, 6, 3, device))
    u, z = torch.cat([u, z], dim=-1).chunk(2, dim=-1)
    _, B, C = torch.cat([B[..., :2], B, C], dim=-1).split([2, 3, 3], dim=-1)
    strided = [u, delta.permute(2, 1, 0).contiguous().permute(2, 1, 0), A.T.contiguous().T, B, C, D, z, bias]
    assert rows_of(u).data_ptr() == u.data_ptr() and rows_of(C).data_ptr() == C.data_ptr()
    results = []
    for inputs in (strided, [tensor.contiguous() for tensor in strided]):
        leaves = [tensor.detach().requires_grad_() for tensor in inputs]
        y = selective_scan(*leaves)
        dy = torch.arange(1.0, 7.0, device=device).expand(y.shape)
        results.append([y.detach(), *torch.autograd.grad(y, leaves, dy)])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*results, strict=True))


def test_streams_with_weights_of_their_own_share_a_call(device):
    from sear.kernels.triton_scan import selective_scan

    streams = [[tensor.float() for tensor in scan_inputs(1, 5, 6, 3, device, seed)] for seed in (0, 1)]
    together = value_and_gradients(selective_scan, [torch.stack(tensors) for tensors in zip(*streams, strict=True)])
    dy = torch.randn(2, 1, 5, 6, generator=torch.Generator().manual_seed(1)).to(device)
    for stream, inputs in enumerate(streams):
        leaves = [tensor.requires_grad_() for tensor in inputs]
        y = selective_scan(*leaves)
        alone = [y.detach(), *torch.autograd.grad(y, leaves, dy[stream])]
        for ours, theirs in zip(together, alone, strict=True):
            torch.testing.assert_close(ours[stream], theirs, rtol=1e-6, atol=1e-6)


def test_values_are_the_same_without_gradients(device):
    """On a device up to rounding: the kernel is compiled once with and once without keeping states."""
    from sear.kernels.triton_scan import selective_scan

    inputs = [tensor.float() for tensor in scan_inputs(1, 9, 5, 4, device)]
    with torch.no_grad():
        y = selective_scan(*inputs)
    exact = {"rtol": 0, "atol": 0}
    tolerance = exact if y.device.type == "cpu" else {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(y, value_and_gradients(selective_scan, inputs)[0], **tolerance)


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # the interpreter's; sigmoid(-1000) is 0
@pytest.mark.parametrize("delta", [-1000.0, -20.0, 100.0, 3e4])
def test_extreme_steps_stay_finite_and_right(device, delta):
    """A softplus that vanishes or is linear, and decays that underflow to 0."""
    inputs = [tensor.float() for tensor in scan_inputs(1, 5, 4, 3, device)]
    inputs[1] = torch.full_like(inputs[1], delta)
    inputs[7] = inputs[7].clamp(-1, 0.9)  # above 20, torch's softplus stops at x and is off by up to 2e-9
    from sear.kernels.triton_scan import selective_scan

    computed = value_and_gradients(selective_scan, inputs)
    for name, ours, theirs in zip(("y", *NAMES), computed, expected_of(inputs, torch.float32), strict=True):
        assert ours.isfinite().all(), name
        assert (ours.double() - theirs).abs().max() <= 1e-5 * theirs.abs().max() + 1e-25, name


def test_not_a_number_is_passed_on_to_later_steps_of_its_channel_only(device):
    from sear.kernels.triton_scan import selective_scan

    inputs = [tensor.float() for tensor in scan_inputs(2, 6, 5, 4, device)]
    inputs[0][1, 3, 2] = float("nan")
    y = selective_scan(*inputs)
    assert y[1, 3:, 2].isnan().all()
    y[1, 3:, 2] = 0
    assert y.isfinite().all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_runs_on_a_device_are_bitwise_equal():
    from sear.kernels.triton_scan import selective_scan

    inputs = [tensor.float() for tensor in scan_inputs(64, 100, 128, 32, "cuda")]
    first, second = (value_and_gradients(selective_scan, inputs) for _ in range(2))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first, second, strict=True))
