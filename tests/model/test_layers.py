"""Layers against their definition written out token by token."""

import pytest
import torch
import torch.nn.functional as F

from sear.model.layers import FeedForward, StreamFusion, fuse_streams

HIDDEN, HEADS = 12, 3


def fusions_and_streams(count, dtype=torch.float64):
    torch.manual_seed(5)
    fusions = [StreamFusion(HIDDEN, HEADS, dropout=0.0).to(dtype) for _ in range(count)]
    for fusion in fusions:
        for parameter in fusion.parameters():
            torch.nn.init.normal_(parameter, 0.0, 0.3)
    return fusions, [torch.randn(2, 5, HIDDEN, dtype=dtype, requires_grad=True) for _ in range(count)]


def fused_by_definition(fusion, streams, own):
    """One stream of fuse_streams with torch's own attention: S tokens of keys and values, one query."""
    attn = fusion.agg_attn
    around = torch.stack(streams, dim=2)
    heads = lambda x: x.unflatten(-1, (HEADS, -1)).transpose(2, 3)  # noqa: E731
    query, key, value = attn.w_q(streams[own]).unsqueeze(2), attn.w_k(around), attn.w_v(around)
    mixed = F.scaled_dot_product_attention(heads(query), heads(key), heads(value))
    stream = fusion.norm1(streams[own] + attn.w_concat(mixed.transpose(2, 3).flatten(2)))
    return fusion.norm2(stream + fusion.ffn.w_2(F.gelu(fusion.ffn.w_1(stream))))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fused_streams_attend_as_torch_attention_does(count):
    fusions, streams = fusions_and_streams(count)
    leaves = streams + [parameter for fusion in fusions for parameter in fusion.parameters()]
    expected = [fused_by_definition(fusion, streams, own) for own, fusion in enumerate(fusions)]
    found = fuse_streams(fusions, streams)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    weights = [torch.randn_like(stream) for stream in expected]
    expected_grads = torch.autograd.grad(expected, leaves, weights)
    for a, b in zip(torch.autograd.grad(found, leaves, weights, materialize_grads=True), expected_grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_feed_forward_is_linear_gelu_linear():
    torch.manual_seed(3)
    ffn = FeedForward(HIDDEN, dropout=0.5).double().eval()
    hidden = torch.randn(7, HIDDEN, dtype=torch.float64)
    torch.testing.assert_close(ffn(hidden), ffn.w_2(F.gelu(ffn.w_1(hidden))), rtol=1e-12, atol=1e-14)
