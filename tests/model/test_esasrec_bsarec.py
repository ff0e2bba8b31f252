"""eSASRec's layer and BSARec's filter, worked out another way; both learn, and BSARec takes rows of prefixes alone."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sear.errors import InputError
from sear.model.bsarec import low_pass
from sear.model.esasrec import LiGRLayer
from sear.settings.recbole_config import build_config
from tests.conftest import random_histories


def test_a_ligr_layer_is_a_gated_attention_and_a_gated_swiglu():
    torch.manual_seed(0)
    layer = LiGRLayer(6, heads=2, inner_size=10, dropout=0.5).double().eval()
    x = torch.randn(1, 4, 6, dtype=torch.float64)
    hidden, expected = layer.attention_norm(x), torch.zeros_like(x)
    query, key, value = layer.query_key_value(hidden).split(6, dim=-1)
    for at in range(4):
        for head in (slice(0, 3), slice(3, 6)):
            score = key[0, : at + 1, head] @ query[0, at, head] / 3**0.5
            expected[0, at, head] = score.softmax(0) @ value[0, : at + 1, head]
    x1 = x + torch.sigmoid(layer.attention_gate(x)) * layer.attention_output(expected)
    left, right = layer.swish_and_factor(layer.inner_norm(x1)).split(10, dim=-1)
    x2 = x1 + torch.sigmoid(layer.inner_gate(x1)) * layer.inner_output(left * torch.sigmoid(left) * right)
    torch.testing.assert_close(layer(x), x2, rtol=1e-10, atol=1e-12)


def test_esasrec_starts_as_rectools_does(tiny_model):
    """Xavier's normal start of each of the feed-forward's two maps by itself, and no bias in the attention."""
    torch.manual_seed(0)
    model, _, _ = tiny_model("eSASRec", hidden_size=64, n_layers=1, n_heads=1)
    (layer,) = model.layers
    for factor in layer.swish_and_factor.weight.chunk(2):
        assert factor.std().item() == pytest.approx((2 / (64 + 4 * 64)) ** 0.5, rel=0.03)
    assert not layer.query_key_value.bias.any() and not layer.attention_output.bias.any()


def test_the_low_frequencies_of_a_row_are_its_mean_and_its_slow_waves():
    width = 8
    step = torch.arange(width, dtype=torch.float64)
    mean, slow, fast = torch.ones(width).double(), torch.cos(step * torch.pi / 4), torch.cos(step * torch.pi)
    matrix = low_pass(width, 2).double()
    torch.testing.assert_close(matrix @ (3 * mean + slow + 5 * fast), 3 * mean + slow, rtol=0, atol=1e-6)
    torch.testing.assert_close(low_pass(width, 1), torch.full((width, width), 1 / 8), rtol=0, atol=1e-6)


def test_bsarec_reads_a_row_with_its_padding_in_front(tiny_model):
    """One layer with alpha 1 is the filter alone, which numpy's Fourier transform works out."""
    model, _, test = tiny_model("BSARec", alpha=1.0, n_layers=1, n_heads=1, MAX_ITEM_LIST_LENGTH=10)
    batch = test[np.arange(len(test))]
    items = np.zeros((len(test), 10), int)
    for row, history, length in zip(items, batch["item_id_list"].tolist(), batch["item_length"].tolist(), strict=True):
        row[10 - length :] = history[:length]
    with torch.no_grad():
        layer = model.layers[0]
        x = model.LayerNorm(model.item_embedding(torch.from_numpy(items)) + model.position_embedding.weight)
        spectrum = np.fft.rfft(x.numpy(), axis=1)
        spectrum[:, 3:] = 0  # c is 5
        low = torch.from_numpy(np.fft.irfft(spectrum, n=10, axis=1))
        filtered = low + layer.filter.sqrt_beta**2 * (x - low)
        expected = layer.feed_forward(layer.filter.LayerNorm(x + filtered))[:, -1]
        torch.testing.assert_close(model.user_vectors(batch), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["eSASRec", "BSARec"])
def test_gradient_steps_lower_the_loss_and_reach_every_weight(tiny_model, name):
    model, train, _ = tiny_model(name, random_histories(users=10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = model.calculate_loss(train[np.arange(len(train))])
        loss.backward()
        losses.append(loss.item())
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
    assert losses[-1] < losses[0] - 0.3


def test_bsarec_refuses_windows():
    with pytest.raises(InputError, match="train_rows is 'windows', not str: prefixes"):
        build_config("ml-100k", "BSARec", {"train_rows": "windows"})


def test_dropout_of_attention_is_that_of_the_settings(tiny_model, monkeypatch):
    model, train, _ = tiny_model("eSASRec", dropout_prob=0.3)
    asked, attention = [], F.scaled_dot_product_attention
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda *a, **k: asked.append(k["dropout_p"]) or attention(*a, **k)
    )
    for training in (True, False):
        model.train(training)
        model.calculate_loss(train[np.arange(4)])
    assert asked == [0.3, 0.3, 0.0, 0.0]
