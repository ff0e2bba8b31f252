"""The Triton convolution against its plain definition in float64."""

import pytest
import torch

from sear.ops.convolution import causal_conv_reference
from tests.kernels.conftest import largest_error

SHAPES = [(1, 1, 3, 4), (2, 2, 5, 4), (1, 21, 70, 4), (2, 17, 6, 1), (1, 5, 4, 7)]  # batch, length, channels, taps


def conv_inputs(batch, length, channels, taps, device, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = ((batch, length, channels), (channels, taps), (channels,))
    return [torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes]


def assert_equals_reference(inputs, tolerance):
    from sear.kernels.triton_convolution import causal_conv

    results = []
    for function, dtype in ((causal_conv, None), (causal_conv_reference, torch.float64)):
        leaves = [tensor.detach().to(dtype or tensor.dtype).requires_grad_() for tensor in inputs]
        y = function(*leaves)
        dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.device, inputs[0].dtype)
        results.append([y.detach(), *torch.autograd.grad(y, leaves, dy.to(y.dtype))])
    for ours, theirs, tensor in zip(*results, [inputs[0], *inputs], strict=True):
        assert ours.dtype == tensor.dtype
        assert largest_error(ours, theirs) <= tolerance


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_equal_the_reference(device, shape):
    assert_equals_reference(conv_inputs(*shape, device), 2e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("shape", [(3, 100, 128, 4), (64, 257, 70, 3), (5, 1000, 200, 2)])
def test_values_and_gradients_equal_the_reference_at_the_sizes_of_a_model(shape):
    assert_equals_reference(conv_inputs(*shape, "cuda"), 5e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2**-7), (torch.float16, 2**-10)])
def test_half_precision_is_rounded_once_at_the_end(device, dtype, tolerance):
    x, weight, bias = conv_inputs(2, 5, 6, 4, device)
    assert_equals_reference([x.to(dtype), weight, bias], tolerance)


def test_half_of_a_projection_is_taken_where_it_lies(device):
    from sear.kernels.triton_convolution import causal_conv
    from sear.kernels.triton_tiles import rows_of

    x, weight, bias = conv_inputs(2, 5, 12, 4, device)
    half = x[..., 6:]
    assert rows_of(half).data_ptr() == half.data_ptr()
    for scattered in (half, half.mT.contiguous().mT):
        assert torch.equal(
            causal_conv(scattered, weight[6:], bias[6:]), causal_conv(half.clone(), weight[6:], bias[6:])
        )


def test_streams_with_weights_of_their_own_share_a_call(device):
    from sear.kernels.triton_convolution import causal_conv

    x, weight, bias = conv_inputs(4, 5, 6, 4, device)
    weights, biases = torch.stack([weight, 2 * weight]), torch.stack([bias, bias + 1])
    leaves = [tensor.requires_grad_() for tensor in (x.view(2, 2, 5, 6), weights, biases)]
    together = causal_conv(*leaves)
    gradients = torch.autograd.grad(together.square().sum(), leaves)
    for stream in range(2):
        own = [tensor[stream].detach().requires_grad_() for tensor in leaves]
        alone = causal_conv(*own)
        assert torch.equal(together[stream], alone)
        for ours, theirs in zip(gradients, torch.autograd.grad(alone.square().sum(), own), strict=True):
            torch.testing.assert_close(ours[stream], theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
def test_large_sums_of_either_sign_stay_finite(device):
    from sear.kernels.triton_convolution import causal_conv

    x, weight, bias = conv_inputs(1, 5, 6, 4, device)
    leaves = [(1e4 * x).requires_grad_(), weight.requires_grad_(), bias.requires_grad_()]
    y = causal_conv(*leaves)
    assert all(tensor.isfinite().all() for tensor in (y, *torch.autograd.grad(y.sum(), leaves)))
