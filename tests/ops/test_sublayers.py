"""The compiled forms of a layer's parts against the plain ones."""

import numpy as np
import pytest
import torch
from torch import nn

from sear.ops import sublayers as sublayer

FLOATS = {torch.float32: dict(rtol=1e-4, atol=1e-5), torch.float64: dict(rtol=1e-10, atol=1e-12)}


def draw(*shape, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def with_gradients(function, leaves):
    """The outputs of `function` and their gradients by `leaves`, under fixed random weights of the outputs."""
    outputs = function()
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    weights = [draw(*output.shape, dtype=output.dtype, seed=9).detach() for output in outputs]
    return outputs, torch.autograd.grad(outputs, leaves, weights, materialize_grads=True)


def assert_same(fused, plain, leaves, **tolerance):
    for found, expected in zip(with_gradients(fused, leaves), with_gradients(plain, leaves), strict=True):
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, **tolerance)


def norm_arguments(shape, dtype, has_residual=True, has_bias=True):
    norm = nn.LayerNorm(shape[-1], eps=1e-5, dtype=dtype)
    norm.weight.data, norm.bias.data = draw(shape[-1], dtype=dtype).detach(), draw(shape[-1], dtype=dtype).detach()
    residual = draw(*shape, dtype=dtype, seed=1) if has_residual else None
    bias = draw(shape[-1], dtype=dtype, seed=2) if has_bias else None
    arguments = (residual, draw(*shape, dtype=dtype, seed=3), bias, norm)
    return arguments, [leaf for leaf in (*arguments[:3], norm.weight, norm.bias) if leaf is not None]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 3), (3, 11, 64), (2, 37, 23)])
@pytest.mark.parametrize("has_residual, has_bias", [(True, True), (True, False), (False, False)])
def test_layer_norm_equals_torch(shape, dtype, has_residual, has_bias):
    arguments, leaves = norm_arguments(shape, dtype, has_residual, has_bias)
    assert_same(
        lambda: sublayer.dropout_add_layer_norm(*arguments, 0.0, True),
        lambda: sublayer.dropout_add_layer_norm_plain(*arguments, 0.0, True),
        leaves,
        **FLOATS[dtype],
    )


def ffn_arguments(tokens, hidden, dtype):
    w_1, w_2 = (nn.Linear(*size, dtype=dtype) for size in ((hidden, 4 * hidden), (4 * hidden, hidden)))
    for linear in (w_1, w_2):
        linear.weight.data = draw(*linear.weight.shape, dtype=dtype).detach()
        linear.bias.data = draw(*linear.bias.shape, dtype=dtype).detach()
    hidden = draw(*tokens, hidden, dtype=dtype)
    return (hidden, w_1, w_2), [hidden, w_1.weight, w_1.bias, w_2.weight]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("tokens, hidden", [((1,), 1), ((3, 7), 5), ((2, 41), 16)])
def test_feed_forward_equals_torch(tokens, hidden, dtype):
    arguments, leaves = ffn_arguments(tokens, hidden, dtype)
    assert_same(
        lambda: sublayer.feed_forward(*arguments, 0.0, True),
        lambda: sublayer.feed_forward_plain(*arguments, 0.0, True),
        leaves,
        **{name: 10 * limit for name, limit in FLOATS[dtype].items()},
    )


def attention_arguments(streams, tokens, hidden, dtype):
    def matrix(*shape, seed):
        return (draw(*shape, dtype=dtype, seed=seed).detach() / hidden**0.5).requires_grad_()

    token_TM = [draw(tokens, hidden, dtype=dtype, seed=10 + stream) for stream in range(streams)]
    weight, bias = matrix(streams, (1 + 2 * streams) * hidden, hidden, seed=1), draw(3, streams, hidden, dtype=dtype)
    concat = [matrix(hidden, hidden, seed=20 + stream) for stream in range(streams)]
    return (token_TM, weight, bias, concat), [*token_TM, weight, bias, *concat]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "streams, tokens, hidden, heads", [(1, 3, 4, 2), (2, 1100, 6, 3), (3, 5, 64, 4), (3, 33, 5, 1)]
)
def test_stream_attention_equals_torch(streams, tokens, hidden, heads, dtype):
    arguments, leaves = attention_arguments(streams, tokens, hidden, dtype)
    assert_same(
        lambda: sublayer.stream_attention(*arguments, heads),
        lambda: sublayer.stream_attention_plain(*arguments, heads),
        leaves,
        **{name: 10 * limit for name, limit in FLOATS[dtype].items()},
    )


def test_non_contiguous_inputs_give_the_same():
    arguments, leaves = norm_arguments((4, 6, 8), torch.float64)
    residual, output, bias, norm = arguments
    swapped = residual.transpose(0, 1), output.transpose(0, 1), bias, norm
    assert not swapped[0].is_contiguous()
    found = sublayer.dropout_add_layer_norm(*swapped, 0.0, True).transpose(0, 1)
    torch.testing.assert_close(found, sublayer.dropout_add_layer_norm_plain(*arguments, 0.0, True))
    (hidden, w_1, w_2), leaves = ffn_arguments((6, 4), 8, torch.float64)
    found, d_found = with_gradients(
        lambda: sublayer.feed_forward(hidden.transpose(0, 1), w_1, w_2, 0.0, True).transpose(0, 1), leaves
    )
    expected, d_expected = with_gradients(lambda: sublayer.feed_forward_plain(hidden, w_1, w_2, 0.0, True), leaves)
    torch.testing.assert_close([*found, *d_found], [*expected, *d_expected])


def test_no_tokens_give_nothing_and_no_gradient():
    arguments, leaves = norm_arguments((0, 8), torch.float32)
    (output,), gradients = with_gradients(lambda: sublayer.dropout_add_layer_norm(*arguments, 0.5, True), leaves)
    assert output.shape == (0, 8)
    assert all((gradient == 0).all() for gradient in gradients)


def test_gradients_hold_under_dropout():
    """Against finite differences, every call with the same masks."""
    (residual, output, bias, norm), leaves = norm_arguments((3, 5), torch.float64)
    (hidden, w_1, w_2), ffn_leaves = ffn_arguments((3,), 2, torch.float64)

    def normed(*_):
        torch.manual_seed(4)
        return sublayer.dropout_add_layer_norm(residual, output, bias, norm, 0.4, True)

    def fed(*_):
        torch.manual_seed(4)
        return sublayer.feed_forward(hidden, w_1, w_2, 0.4, True)

    assert torch.autograd.gradcheck(normed, leaves)
    assert torch.autograd.gradcheck(fed, ffn_leaves)


@pytest.mark.parametrize("part", ["norm", "feed_forward", "attention"])
def test_results_repeat_to_the_last_bit(part):
    if part == "norm":
        arguments, leaves = norm_arguments((7, 31, 24), torch.float32)
        run = lambda: sublayer.dropout_add_layer_norm(*arguments, 0.2, True)  # noqa: E731
    elif part == "feed_forward":
        arguments, leaves = ffn_arguments((7, 31), 16, torch.float32)
        run = lambda: sublayer.feed_forward(*arguments, 0.2, True)  # noqa: E731
    else:
        arguments, leaves = attention_arguments(3, 3000, 16, torch.float32)
        run = lambda: sublayer.stream_attention(*arguments, 4)  # noqa: E731

    def results():
        torch.manual_seed(11)
        outputs, gradients = with_gradients(run, leaves)
        return [*outputs, *gradients]

    first = results()
    for _ in range(5):
        assert all(torch.equal(a, b) for a, b in zip(results(), first, strict=True))


def test_sums_do_not_depend_on_the_number_of_threads():
    arguments, leaves = norm_arguments((700, 24), torch.float32)
    found, before = {}, torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            torch.manual_seed(11)
            found[threads] = with_gradients(lambda: sublayer.dropout_add_layer_norm(*arguments, 0.2, True), leaves)[1]
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(*found.values(), strict=True))


def test_gelu_is_exact_to_float32_rounding():
    from sear.kernels.dropout_layer_norm import ALL_KEPT
    from sear.kernels.feed_forward import _forward

    x = torch.cat([torch.linspace(-15, 15, 200_001), torch.tensor([0.0, -0.0, 1e-30, -1e-30, 1e4, -1e4])])[None]
    slope, value = x.clone(), torch.empty_like(x)
    _forward(1, slope.numpy(), torch.zeros(x.shape[1]).numpy(), ALL_KEPT, np.float32(1), value.numpy())
    exact_x = x.double().requires_grad_()
    exact = torch.nn.functional.gelu(exact_x)
    (exact_slope,) = torch.autograd.grad(exact.sum(), exact_x)
    ulp = 2.0**-23
    assert ((value - exact).abs() <= 4 * ulp * exact.abs().clamp_min(0.05)).all()
    assert ((slope - exact_slope).abs() <= 2 * ulp).all()


def test_autocast_takes_the_plain_path():
    arguments, _ = ffn_arguments((3, 4), 8, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert sublayer.feed_forward(*arguments, 0.0, True).dtype == torch.bfloat16
