"""The Triton form of bias, dropout, residual and LayerNorm against the plain one in float64."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from sear.ops.sublayers import dropout_add_layer_norm_plain
from tests.kernels.conftest import largest_error


def arguments(shape, device, dtype=torch.float32, residual=True, bias=True):
    """residual, output, bias, norm."""
    generator = torch.Generator().manual_seed(0)

    def normal(*sizes):
        return torch.randn(*sizes, generator=generator).to(device, dtype).requires_grad_()

    norm = nn.LayerNorm(shape[-1], eps=1e-5)
    norm.weight.data, norm.bias.data = (torch.randn(shape[-1], generator=generator) for _ in range(2))
    return [normal(*shape) if residual else None, normal(*shape), normal(shape[-1]) if bias else None, norm.to(device)]


def value_and_gradients(function, given, *options):
    leaves = [tensor for tensor in (*given[:3], given[3].weight, given[3].bias) if tensor is not None]
    out = function(*given, *options)
    dy = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.device, out.dtype)
    return [out.detach(), *torch.autograd.grad(out, leaves, dy)]


def in_float64(given):
    doubles = [None if tensor is None else tensor.detach().double().requires_grad_() for tensor in given[:3]]
    return [*doubles, deepcopy(given[3]).double()]


def assert_close(computed, expected, tolerance):
    for ours, theirs in zip(computed, expected, strict=True):
        assert largest_error(ours, theirs) <= tolerance


def assert_equals_plain(given, tolerance):
    from sear.kernels.triton_layer_norm import dropout_add_layer_norm

    expected = value_and_gradients(dropout_add_layer_norm_plain, in_float64(given), 0.2, False)
    assert_close(value_and_gradients(dropout_add_layer_norm, given, 0.2, False), expected, tolerance)


@pytest.mark.parametrize("shape", [(1, 3), (2, 37, 23), (70, 64)])
def test_without_dropout_it_is_the_plain_form(device, shape):
    assert_equals_plain(arguments(shape, device), 3e-6)


@pytest.mark.parametrize(("residual", "bias"), [(False, False), (True, False), (False, True)])
def test_residual_and_bias_may_be_missing(device, residual, bias):
    assert_equals_plain(arguments((5, 6), device, residual=residual, bias=bias), 3e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("shape", [(256, 100, 64), (3, 1000), (100_000, 64)])
def test_without_dropout_it_is_the_plain_form_at_the_sizes_of_a_model(shape):
    assert_equals_plain(arguments(shape, "cuda"), 1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2**-6), (torch.float16, 2**-9)])
def test_half_precision_is_computed_in_float32(device, dtype, tolerance):
    """Within two units in the last place: one for the result, and one for the gradient that it gets, rounded."""
    assert_equals_plain(arguments((5, 6), device, dtype), tolerance)


def test_dropout_is_the_plain_form_under_the_mask_that_its_gradient_shows(device):
    """d_output / d_residual is 0 where an element was dropped, else 1 / (1 - p)."""
    from sear.kernels.triton_layer_norm import dropout_add_layer_norm

    given = arguments((70, 64), device)
    torch.manual_seed(7)
    computed = value_and_gradients(dropout_add_layer_norm, given, 0.25, True)
    factor = (computed[2] / computed[1]).double()
    kept = factor.abs() > 0.5
    torch.testing.assert_close(factor, kept.double() / 0.75, rtol=1e-4, atol=0)
    assert abs(kept.double().mean() - 0.75) < 0.03
    assert 0.4 < kept.double().mean(0).min() and 0.4 < kept.double().mean(1).min()

    def masked(residual, output, bias, norm):
        return norm(residual + factor * (output + bias))

    assert_close(computed, value_and_gradients(masked, in_float64(given)), 1e-5)


def test_masks_follow_torchs_seed_and_differ_between_calls(device):
    from sear.kernels.triton_layer_norm import dropout_add_layer_norm

    given = arguments((5, 16), device)
    results = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        results.append([dropout_add_layer_norm(*given, 0.5, True) for _ in range(2)])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*results[:2], strict=True))
    assert not torch.equal(*results[0])
    assert not torch.equal(results[0][0], results[2][0])


def test_everything_dropped_leaves_the_residual(device):
    from sear.kernels.triton_layer_norm import dropout_add_layer_norm

    residual, output, bias, norm = arguments((5, 6), device)
    torch.testing.assert_close(dropout_add_layer_norm(residual, output, bias, norm, 1.0, True), norm(residual))


def test_autocast_returns_float32_as_torch_does(device):
    from sear.kernels.triton_layer_norm import dropout_add_layer_norm

    residual, output, bias, norm = arguments((5, 6), device)
    half = [residual.detach(), output.detach().bfloat16(), bias, norm]
    with torch.autocast(device, dtype=torch.bfloat16):
        ours, theirs = (f(*half, 0.0, False) for f in (dropout_add_layer_norm, dropout_add_layer_norm_plain))
    assert ours.dtype == theirs.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)
