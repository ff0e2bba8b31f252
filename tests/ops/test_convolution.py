import pytest
import torch

from sear.ops.convolution import causal_conv, causal_conv_reference

SHAPES = [(2, 5, 7, 4), (1, 1, 16, 4), (3, 2, 33, 4), (2, 100, 24, 4), (2, 7, 20, 1), (70, 9, 20, 3)]


def conv_inputs(batch, length, channels, taps, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = ((batch, length, channels), (channels, taps), (channels,))
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def value_and_gradients(function, inputs, dtype):
    leaves = [tensor.detach().to(dtype).requires_grad_() for tensor in inputs]
    y = function(*leaves)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return [y.detach(), *torch.autograd.grad(y, leaves, dy.to(dtype))]


def test_the_last_tap_meets_the_present():
    x = torch.tensor([1.0, 10.0, 100.0]).view(1, 3, 1)
    weight = torch.tensor([[2.0, 3.0]])
    y = causal_conv(x, weight, torch.tensor([0.5]))
    sums = torch.tensor([3 * 1 + 0.5, 2 * 1 + 3 * 10 + 0.5, 2 * 10 + 3 * 100 + 0.5])
    torch.testing.assert_close(y.flatten(), sums * torch.sigmoid(sums))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-14)])
def test_convolution_equals_reference(shape, dtype, tolerance):
    inputs = conv_inputs(*shape)
    expected = value_and_gradients(causal_conv_reference, inputs, torch.float64)
    for ours, theirs in zip(value_and_gradients(causal_conv, inputs, dtype), expected, strict=True):
        assert ours.shape == theirs.shape
        assert (ours.double() - theirs).abs().max() <= tolerance * theirs.abs().max()


def test_gradients_of_convolution_pass_gradcheck():
    assert torch.autograd.gradcheck(causal_conv, [t.requires_grad_() for t in conv_inputs(2, 5, 3, 4)])


def test_half_of_a_projection_gives_what_its_copy_gives():
    x, weight, bias = conv_inputs(3, 11, 40, 4, torch.float32)
    half = x[..., 20:]
    for shuffled in (half, half.mT.contiguous().mT):
        assert not shuffled.is_contiguous()
        assert torch.equal(
            causal_conv(shuffled, weight[20:], bias[20:]), causal_conv(half.clone(), weight[20:], bias[20:])
        )


def test_runs_are_bitwise_equal_whatever_the_number_of_threads():
    inputs = conv_inputs(130, 21, 40, 4)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 2, 3):
            torch.set_num_threads(threads)
            results.append(value_and_gradients(causal_conv, inputs, torch.float32))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(results[0], other, strict=True))


def test_large_sums_of_either_sign_stay_finite():
    x, weight, bias = conv_inputs(1, 5, 6, 4, torch.float32)
    for y in value_and_gradients(causal_conv, [1e4 * x, weight, bias], torch.float32):
        assert y.isfinite().all()
