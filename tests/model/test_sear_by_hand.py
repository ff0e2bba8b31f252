"""SEAR's scores and loss computed once more by plain loops over float64 numbers, one position and channel at a time."""

# ruff: noqa: B905

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sear.model.rating_encoding import RATING_ENCODINGS
from sear.model.sear import SEAR
from tests.model.test_sear import Catalogue, batch, settings

ITEMS, WIDTH, HEADS = 11, 6, 2
HISTORIES = [([3, 7, 7], [5.0, float("nan"), 2.0], [7, 2, 7, 0]), ([4], [1.0], [9, 0, 0, 0])]
STARS = [0.5, 2.0, 5.0]  # of the training events; 1 is none of them


class Rated(Catalogue):
    events = SimpleNamespace(rating=np.array(STARS, np.float32), training=np.ones(len(STARS), bool))


def linear(weights, name, x):
    y = [sum(w * v for w, v in zip(row, x, strict=True)) for row in weights[f"{name}.weight"]]
    bias = weights.get(f"{name}.bias")
    return y if bias is None else [a + b for a, b in zip(y, bias, strict=True)]


def layer_norm(weights, name, x, eps):
    mean = sum(x) / len(x)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + eps)
    return [(v - mean) / deviation * w + b for v, w, b in zip(x, weights[f"{name}.weight"], weights[f"{name}.bias"])]


def add(x, y):
    return [a + b for a, b in zip(x, y, strict=True)]


def feed_forward(weights, name, x):
    inner = [v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in linear(weights, f"{name}.w_1", x)]
    return linear(weights, f"{name}.w_2", inner)


def silu(v):
    return v / (1 + math.exp(-v))


def attention(weights, name, own, streams):
    q = linear(weights, f"{name}.w_q", own)
    keys = [linear(weights, f"{name}.w_k", x) for x in streams]
    values = [linear(weights, f"{name}.w_v", x) for x in streams]
    size, mixed = len(q) // HEADS, []
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        powers = [math.exp(sum(a * b for a, b in zip(q[part], k[part])) / math.sqrt(size)) for k in keys]
        for channel in range(part.start, part.stop):
            mixed.append(sum(p * v[channel] for p, v in zip(powers, values)) / sum(powers))
    return linear(weights, f"{name}.w_concat", mixed)


def mamba(weights, name, sequence):
    kernel, conv_bias = weights[f"{name}.conv1d.weight"], weights[f"{name}.conv1d.bias"]
    decay = -np.exp(weights[f"{name}.A_log"].astype(np.float32)).astype(np.float64)
    channels, states = decay.shape
    halves = [linear(weights, f"{name}.in_proj", x) for x in sequence]
    state, outputs = np.zeros((channels, states)), []
    rank = weights[f"{name}.dt_proj.weight"].shape[1]
    for t in range(len(sequence)):
        u = []
        for c in range(channels):
            taps = kernel[c, 0]
            past = [halves[t - len(taps) + 1 + i][c] if t - len(taps) + 1 + i >= 0 else 0.0 for i in range(len(taps))]
            u.append(silu(sum(a * b for a, b in zip(taps, past)) + conv_bias[c]))
        projected = linear(weights, f"{name}.x_proj", u)
        delta = [math.log1p(math.exp(v)) for v in linear(weights, f"{name}.dt_proj", projected[:rank])]
        B, C = projected[rank : rank + states], projected[rank + states :]
        gated = []
        for c in range(channels):
            for n in range(states):
                state[c, n] = math.exp(delta[c] * decay[c, n]) * state[c, n] + delta[c] * B[n] * u[c]
            y = sum(state[c, n] * C[n] for n in range(states)) + weights[f"{name}.D"][c] * u[c]
            gated.append(y * silu(halves[t][channels + c]))
        outputs.append(linear(weights, f"{name}.out_proj", gated))
    return outputs


def rating_vector(weights, encoding, past):
    """Of the last of these ratings."""
    rating, known = past[-1], [r for r in past if not math.isnan(r)]
    if math.isnan(rating):
        return list(weights["no_rating_emb"])
    centred = rating - sum(known) / len(known)
    if encoding in ("linear", "affine", "centred"):
        return linear(weights, "rating_emb", [centred if encoding == "centred" else rating])
    vector = list(weights["rating_emb.weight"][min(range(len(STARS)), key=lambda row: abs(STARS[row] - rating))])
    return vector if encoding == "value" else add(vector, linear(weights, "rating_emb.centred", [centred]))


def user_vector(weights, text, items, ratings, layers, encoding):
    embedded = [[], [], []]
    for t, item in enumerate(items):
        embedded[0].append(linear(weights, "adapter", text[item]))
        embedded[1].append(list(weights["collaborative_emb.weight"][item]))
        embedded[2].append(rating_vector(weights, encoding, ratings[: t + 1]))
    streams = [[layer_norm(weights, f"item_emb_LayerNorms.{s}", x, 1e-12) for x in embedded[s]] for s in range(3)]
    for layer in range(layers):
        fused = [[], [], []]
        for s in range(3):
            name = f"agg_layers.{s}.{layer}"
            for t in range(len(items)):
                own = streams[s][t]
                x = add(own, attention(weights, f"{name}.agg_attn", own, [streams[j][t] for j in range(3)]))
                x = layer_norm(weights, f"{name}.norm1", x, 1e-5)
                x = add(x, feed_forward(weights, f"{name}.ffn", x))
                fused[s].append(layer_norm(weights, f"{name}.norm2", x, 1e-5))
        for s in range(3):
            name = f"mamba_layers.{s}.{layer}"
            for t, y in enumerate(mamba(weights, f"{name}.mamba", fused[s])):
                x = layer_norm(weights, f"{name}.LayerNorm1", add(fused[s][t], y), 1e-12)
                x = add(x, feed_forward(weights, f"{name}.ffn", x))
                streams[s][t] = layer_norm(weights, f"{name}.LayerNorm2", x, 1e-12)
    return streams[0][-1] + streams[1][-1] + streams[2][-1]


@pytest.mark.parametrize("encoding", RATING_ENCODINGS)
def test_scores_and_loss_equal_those_of_plain_loops(encoding):
    torch.manual_seed(0)
    text = np.random.default_rng(0).standard_normal((ITEMS, WIDTH))
    sizes = {"hidden_size": 4, "num_heads": HEADS, "d_state": 3, "d_conv": 2, "initializer_range": 0.4}
    config = settings(**sizes, text_init=False, rating_encoding=encoding)
    model = SEAR(config, Rated(text.astype(np.float32))).double().eval()
    model.item_text_VE = torch.from_numpy(text)
    weights = {name: value.detach().numpy() for name, value in model.named_parameters()}
    longest = max(len(items) for items, _, _ in HISTORIES)
    pad = [longest - len(items) for items, _, _ in HISTORIES]
    rows = batch(
        torch.tensor([items + [0] * n for (items, _, _), n in zip(HISTORIES, pad)]),
        torch.tensor([ratings + [0.0] * n for (_, ratings, _), n in zip(HISTORIES, pad)], dtype=torch.float64),
        torch.tensor([len(items) for items, _, _ in HISTORIES]),
        torch.tensor([targets for _, _, targets in HISTORIES]),
    )
    expected_scores, losses = [], []
    for items, ratings, targets in HISTORIES:
        user = user_vector(weights, text, items, ratings, config["num_layers"], encoding)
        scores = [sum(a * b for a, b in zip(user, row)) for row in weights["item_decoder.weight"]]
        expected_scores.append(scores)
        powers = [math.exp(-2.0 * j) if target else 0.0 for j, target in enumerate(targets)]
        label = [sum(p for p, target in zip(powers, targets) if target == v) / sum(powers) for v in range(ITEMS)]
        log_sum = math.log(sum(math.exp(score) for score in scores))
        losses.append(sum(y * (math.log(y) - score + log_sum) for y, score in zip(label, scores) if y))
    np.testing.assert_allclose(model.full_sort_predict(rows).detach().numpy(), expected_scores, rtol=0, atol=1e-10)
    assert abs(model.calculate_loss(rows).item() - sum(losses) / len(losses)) < 1e-10
