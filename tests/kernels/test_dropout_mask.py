"""Dropout masks as the kernels apply them: seen as zeros in the gradient of a LayerNorm's input."""

import numpy as np
import pytest
import torch
from torch import nn

from sear.ops.shares import Share, computing
from sear.ops.sublayers import dropout_add_layer_norm, feed_forward

ROWS, WIDTH = 1500, 64


def kept_and_scale(p, rows=ROWS, width=WIDTH, training=True):
    """Which elements one call keeps, and by how much it multiplies them."""
    residual, output = (torch.randn(rows, width).requires_grad_() for _ in range(2))
    normed = dropout_add_layer_norm(residual, output, None, nn.LayerNorm(width), p, training)
    d_residual, d_output = torch.autograd.grad((normed * torch.randn(rows, width)).sum(), (residual, output))
    kept = d_output != 0
    return kept.double(), d_output[kept] / d_residual[kept]


def kept_by_feed_forward(p, rows=ROWS, width=WIDTH):
    """The same of the dropout inside a feed-forward whose second layer lets everything through."""
    first, second = nn.Linear(width, width), nn.Linear(width, width)
    for layer, weight, bias in ((first, 0.0, 3.0), (second, 0.0, 0.0)):
        layer.weight.data.fill_(weight), layer.bias.data.fill_(bias)
    second.weight.data += torch.eye(width)
    with torch.no_grad():
        out = feed_forward(torch.randn(rows, width), first, second, p, True)
    kept = out != 0
    return kept.double(), out[kept] / nn.functional.gelu(torch.tensor(3.0))


def kept_without_residual(p, rows=ROWS, width=WIDTH):
    """The same of an embedding's dropout, which has no residual: what is dropped has no gradient."""
    output = torch.randn(rows, width).requires_grad_()
    normed = dropout_add_layer_norm(None, output, None, nn.LayerNorm(width), p, True)
    (d_output,) = torch.autograd.grad((normed * torch.randn(rows, width)).sum(), output)
    return (d_output != 0).double(), None


def correlation(a, b):
    return float(np.corrcoef(a.flatten(), b.flatten())[0, 1])


WAYS = [kept_and_scale, kept_by_feed_forward, kept_without_residual]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("p", [0.05, 0.2, 0.5, 0.9])
def test_elements_are_kept_at_the_stated_rate_and_scaled_up(p, way):
    torch.manual_seed(1)
    kept, scale = way(p)
    deviation = (p * (1 - p) / kept.numel()) ** 0.5
    assert abs(kept.mean() - (1 - p)) < 4 * deviation
    assert (kept.mean(0) - (1 - p)).abs().max() < 5 * (p * (1 - p) / ROWS) ** 0.5
    assert (kept.mean(1) - (1 - p)).abs().max() < 6 * (p * (1 - p) / WIDTH) ** 0.5 + 1e-9
    if scale is not None:
        torch.testing.assert_close(scale, torch.full_like(scale, 1 / (1 - p)), rtol=2e-6, atol=0)


@pytest.mark.parametrize("way", WAYS)
def test_neighbours_rows_and_calls_are_independent(way):
    torch.manual_seed(2)
    first, second = way(0.2)[0], way(0.2)[0]
    limit = 4 / first.numel() ** 0.5
    assert abs(correlation(first, second)) < limit
    for step in (1, 2, 3, 4, 8, 16, 32):
        assert abs(correlation(first[:, :-step], first[:, step:])) < 1.5 * limit
        assert abs(correlation(first[:-step], first[step:])) < limit
        assert abs(correlation(first[:-step], second[step:])) < limit


def test_runs_of_dropped_elements_are_as_long_as_chance_makes_them():
    torch.manual_seed(3)
    dropped = 1 - kept_and_scale(0.5)[0].flatten()
    for length in (2, 3, 4, 5, 6):
        runs = dropped.unfold(0, length, length).prod(1)
        expected = 0.5**length
        assert abs(runs.mean() - expected) < 4 * (expected / len(runs)) ** 0.5


@pytest.mark.parametrize("way", WAYS)
def test_masks_follow_torchs_seed(way):
    torch.manual_seed(4)
    first, second = way(0.5)[0], way(0.5)[0]
    torch.manual_seed(4)
    again = way(0.5)[0]
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_no_dropout_and_evaluation_draw_nothing_and_are_the_same():
    output, norm = torch.randn(3, 5, 8), nn.LayerNorm(8)
    state = torch.get_rng_state()
    trained = dropout_add_layer_norm(output, output, None, norm, 0.0, True)
    evaluated = dropout_add_layer_norm(output, output, None, norm, 0.7, False)
    assert torch.equal(trained, evaluated)
    torch.testing.assert_close(trained, norm(2 * output))
    assert torch.equal(torch.get_rng_state(), state)


def test_dropping_everything_leaves_the_residual():
    output, norm = torch.randn(3, 8), nn.LayerNorm(8)
    torch.testing.assert_close(dropout_add_layer_norm(output, 5 + output**2, None, norm, 1.0, True), norm(output))


@pytest.mark.parametrize("shape", [(6, 5, WIDTH), (11, WIDTH)])  # rows of events; positions that carry loss
def test_a_share_of_a_batch_is_dropped_as_in_the_whole_batch(shape):
    length, loss_count = np.array([5, 4, 3, 2, 4, 5]), np.array([3, 1, 3, 0, 2, 2])
    mine = np.array([1, 4, 5])
    in_rows = {3: [0, 1, 2, 3, 4], 2: [3, 7, 8, 9, 10]}[
        len(shape)
    ]  # of the second: row 1 has one position, 4 and 5 two
    norm, output, bias = nn.LayerNorm(WIDTH), torch.randn(shape), torch.randn(WIDTH)
    first, second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def both(part):
        return dropout_add_layer_norm(None, part, bias, norm, 0.4, True), feed_forward(part, first, second, 0.4, True)

    torch.manual_seed(5)
    whole = both(output)
    share = Share(mine, length, loss_count, 5, torch.Generator().manual_seed(5), list)
    with computing(share):
        parts = both(output[mine] if len(shape) == 3 else output[in_rows])
    for part, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(part, expected[mine] if len(shape) == 3 else expected[in_rows], rtol=1e-6, atol=1e-7)
    assert share.weight == pytest.approx(5 / 11)
