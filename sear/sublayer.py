"""What stands between the matrix products of a layer, as plain torch operations (method.md, Sequence encoder).

T tokens, M hidden size, F feed-forward size, S streams, H heads, P = (1 + 2S)·M: a source's query, keys and values.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def dropout_add_layer_norm(
    residual: Tensor | None,
    sublayer_output: Tensor,
    output_bias: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    p: float,
    training: bool,
) -> Tensor:
    """LayerNorm(residual + dropout(sublayer_output + output_bias)); residual and output_bias may be None, meaning 0."""
    if output_bias is not None:
        sublayer_output = sublayer_output + output_bias
    hidden = F.dropout(sublayer_output, p, training)
    if residual is not None:
        hidden = residual + hidden
    return F.layer_norm(hidden, (hidden.shape[-1],), weight, bias, eps)


def bias_gelu_dropout(hidden: Tensor, bias: Tensor, p: float, training: bool) -> Tensor:
    """dropout(GELU(hidden + bias)), GELU in its exact form x·Φ(x)."""
    return F.dropout(F.gelu(hidden + bias), p, training)


def stream_attention(projection_STP: Tensor, bias_3SM: Tensor, heads: int) -> Tensor:
    """Every stream's attention over the S streams of each token: (S, T, M).

    projection_STP: what is made of source stream j, without biases: its own query, then the keys, then the values that
        streams 0..S-1 see in it.
    bias_3SM: every stream's query, key and value bias.
    """
    S, T, P = projection_STP.shape
    parts = projection_STP.view(S, T, 1 + 2 * S, heads, -1)
    q_bias, k_bias, v_bias = bias_3SM.view(3, 1, S, heads, -1)
    q_TSHm = parts[:, :, 0].transpose(0, 1) + q_bias
    k_STSHm = parts[:, :, 1 : 1 + S] + k_bias
    v_STSHm = parts[:, :, 1 + S :] + v_bias
    scores = torch.einsum("tihm,jtihm->tihj", q_TSHm, k_STSHm) / q_TSHm.shape[-1] ** 0.5
    return torch.einsum("tihj,jtihm->ithm", scores.softmax(-1), v_STSHm).flatten(2)
