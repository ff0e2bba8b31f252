"""The soft-label loss against the label matrix written out, its gradients, and its memory."""

import math

import pytest
import torch

from sear.model import loss
from sear.model.loss import negative_entropy, soft_label_loss, soft_label_loss_reference, soft_labels
from sear.ops import softmax

TARGETS = torch.tensor([[3, 3, 5, 1], [2, 4, 0, 0], [6, 0, 0, 0], [1, 2, 1, 2], [5, 4, 3, 0]])


def vectors(dtype=torch.float64, items=7, width=6):
    generator = torch.Generator().manual_seed(0)
    user = torch.randn(len(TARGETS), width, dtype=dtype, generator=generator)
    return user.requires_grad_(), torch.randn(items, width, dtype=dtype, generator=generator).requires_grad_()


def test_weights_decay_and_are_normalised_over_the_targets_that_exist():
    weight = soft_labels(TARGETS, math.log(2), torch.float64)  # halves with each step
    assert weight[1].tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert weight[0].tolist() == pytest.approx([8 / 15, 4 / 15, 2 / 15, 1 / 15])


def test_a_repeated_item_adds_its_weights_in_the_entropy():
    weight = soft_labels(TARGETS, math.log(2), torch.float64)
    expected = 12 / 15 * math.log(12 / 15) + 2 / 15 * math.log(2 / 15) + 1 / 15 * math.log(1 / 15)
    assert negative_entropy(TARGETS, weight)[0].item() == pytest.approx(expected)


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_loss_and_gradients_equal_those_of_the_label_matrix_in_any_chunks(rows, monkeypatch):
    monkeypatch.setattr(loss, "CHUNK_SCORES", 1)
    monkeypatch.setattr(loss, "MIN_CHUNK_ROWS", rows)
    ours, theirs = vectors(), vectors()
    a, b = soft_label_loss(*ours, TARGETS, 2.0), soft_label_loss_reference(*theirs, TARGETS, 2.0)
    assert a.item() == pytest.approx(b.item(), abs=1e-12)
    (3 * a).backward()
    (3 * b).backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=1e-12)


def test_gradients_pass_gradcheck():
    user, item = vectors()
    assert torch.autograd.gradcheck(lambda u, v: soft_label_loss(u, v, TARGETS, 0.7), (user, item))


@pytest.mark.parametrize("low", [False, True])
def test_a_second_backward_gives_the_same_gradients(low):
    user, item = vectors(torch.float32)
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        value = soft_label_loss(user, item, TARGETS, 2.0)
    first = torch.autograd.grad(value, (user, item), torch.tensor(3.0), retain_graph=True)
    second = torch.autograd.grad(value, (user, item), torch.tensor(3.0))
    for a, b in zip(first, second, strict=True):
        assert a.data_ptr() != b.data_ptr() and torch.equal(a, b)


def test_second_derivatives_are_refused():
    user, item = vectors()
    (slope,) = torch.autograd.grad(soft_label_loss(user, item, TARGETS, 2.0), user, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable|does not require grad"):
        slope.sum().backward()


def test_autocast_gives_nearly_the_same_loss_and_gradients():
    ours, theirs = vectors(torch.float32), vectors(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        low = soft_label_loss(*ours, TARGETS, 2.0)
    low.backward()
    exact = soft_label_loss(*theirs, TARGETS, 2.0)
    exact.backward()
    assert low.dtype == torch.float32 and low.item() == pytest.approx(exact.item(), rel=0.02)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=0.1, atol=0.01)


def test_one_target_is_plain_cross_entropy():
    user, item = vectors(torch.float32)
    expected = torch.nn.functional.cross_entropy(user @ item.T, TARGETS[:, 0])
    torch.testing.assert_close(soft_label_loss(user, item, TARGETS[:, :1], 2.0), expected)


def test_loss_needs_no_gradient_to_be_computed():
    user, item = vectors(torch.float32)
    with torch.no_grad():
        value = soft_label_loss(user, item, TARGETS, 2.0)
    torch.testing.assert_close(value, soft_label_loss(user, item, TARGETS, 2.0).detach())


def test_no_tensor_is_larger_than_one_chunk_of_scores_or_the_item_table():
    positions, items, width = 300, 20000, 8
    user, item = torch.randn(positions, width, requires_grad=True), torch.randn(items, width, requires_grad=True)
    target = torch.randint(1, items, (positions, 4))
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                sizes.append(result.numel())
            return result

    with Watch():
        soft_label_loss(user, item, target, 2.0).backward()
    assert max(sizes) == max(loss.MIN_CHUNK_ROWS, loss.CHUNK_SCORES // items) * items < positions * items


@pytest.mark.parametrize("items", [1, 2, 7, 16, 33, 1349])
@pytest.mark.parametrize("dtype, exact", [(torch.float32, 2e-6), (torch.float64, 1e-14)])
def test_softmax_of_rows_is_that_of_the_plain_reference(items, dtype, exact):
    score = torch.randn(37, items, dtype=dtype) * 20 + 300
    score[3], score[5, 0] = -50, 900
    plain = score.clone()
    log_sum = softmax.softmax_rows(score, 0.25)
    torch.testing.assert_close(log_sum, softmax.softmax_rows_plain(plain, 0.25), rtol=exact, atol=0)
    torch.testing.assert_close(score, plain, rtol=100 * exact, atol=exact)
    torch.testing.assert_close(score.sum(1), torch.full((37,), 0.25, dtype=dtype), rtol=10 * exact, atol=0)


def test_softmax_of_rows_keeps_what_is_no_number_visible():
    score = torch.randn(4, 9)
    score[1, 4] = float("nan")
    assert softmax.softmax_rows(score, 1.0).isnan().tolist() == [False, True, False, False]
