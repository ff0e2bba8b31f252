"""What stands around the matrix products of a layer, plain or fused (SEAR's method: Sequence encoder).

Each function has two forms that compute the same: plain torch operations, the definition, for any device and autocast;
and, for float32 and float64 on the CPU, compiled kernels with a backward pass of their own; dropout_add_layer_norm has
one for CUDA, too. Dropout follows torch's default generator of the device in all, but the masks differ; those of the
CPU's kernels follow the row's place in the whole batch where a share is computed. T tokens, M hidden size, S streams,
P = (1 + 2S)·M.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sear.ops.mamba_kernel import triton_fault
from sear.ops.shares import current


def _has_kernel(tensor: Tensor) -> bool:
    in_kernel_type = tensor.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
    return tensor.device.type == "cpu" and in_kernel_type


def _has_triton_kernel(tensor: Tensor) -> bool:
    wanted = tensor.device.type == "cuda" and tensor.dtype != torch.float64 and 0 < tensor.numel() < 2**31
    return wanted and triton_fault() is None


def _drawn(tokens: Tensor) -> tuple[np.ndarray, torch.Generator] | None:
    """Where a share of a batch is computed: its tokens' numbers, and what the keys of masks are drawn from."""
    share = current()
    numbers = share.token_numbers(tokens.shape) if share else None
    return None if share is None or numbers is None else (numbers, share.random)


def dropout_add_layer_norm(
    residual: Tensor | None,
    output: Tensor,
    output_bias: Tensor | None,
    norm: torch.nn.LayerNorm,
    p: float,
    training: bool,
) -> Tensor:
    """norm(residual + dropout(output + output_bias)); residual and output_bias may be None, meaning 0."""
    if _has_triton_kernel(output):
        from sear.kernels import triton_layer_norm

        return triton_layer_norm.dropout_add_layer_norm(residual, output, output_bias, norm, p, training)
    if not _has_kernel(output):
        return dropout_add_layer_norm_plain(residual, output, output_bias, norm, p, training)
    from sear.kernels.dropout_layer_norm import DropoutAddLayerNorm  # here, because it imports numba

    given = residual, output, output_bias, norm.weight, norm.bias, norm.eps
    return DropoutAddLayerNorm.apply(*given, p, training, _drawn(output))


def dropout_add_layer_norm_plain(residual, output, output_bias, norm, p, training) -> Tensor:
    if output_bias is not None:
        output = output + output_bias
    hidden = F.dropout(output, p, training)
    return norm(hidden if residual is None else residual + hidden)


def feed_forward(hidden: Tensor, w_1: torch.nn.Linear, w_2: torch.nn.Linear, p: float, training: bool) -> Tensor:
    """w_2(dropout(GELU(w_1(hidden)))) less w_2's bias, which dropout_add_layer_norm adds; GELU(x) = x·Φ(x)."""
    if not _has_kernel(hidden):
        return feed_forward_plain(hidden, w_1, w_2, p, training)
    from sear.kernels.feed_forward import FusedFeedForward

    tokens_TM = hidden.reshape(-1, hidden.shape[-1])
    given = tokens_TM, w_1.weight, w_1.bias, w_2.weight
    return FusedFeedForward.apply(*given, p, training, _drawn(hidden)).view(hidden.shape)


def feed_forward_plain(hidden, w_1, w_2, p, training) -> Tensor:
    return F.linear(F.dropout(F.gelu(w_1(hidden)), p, training), w_2.weight)


def stream_attention(
    token_TM: Sequence[Tensor], weight_SPM: Tensor, bias_3SM: Tensor, w_concat_MM: Sequence[Tensor], heads: int
) -> Sequence[Tensor]:
    """Every stream's multi-head attention over the S streams of each token, less w_concat's bias: S times (T, M).

    weight_SPM: makes of source stream j its own query, then the keys, then the values that streams 0..S-1 see in it.
    bias_3SM: every stream's query, key and value bias. A key's bias adds the same to all scores of a query, which the
        softmax undoes: its gradient is 0.
    """
    if not _has_kernel(weight_SPM):
        return stream_attention_plain(token_TM, weight_SPM, bias_3SM, w_concat_MM, heads)
    from sear.kernels.stream_attention import FusedStreamAttention

    return FusedStreamAttention.apply(heads, weight_SPM, bias_3SM, *token_TM, *w_concat_MM)


def stream_attention_plain(token_TM, weight_SPM, bias_3SM, w_concat_MM, heads) -> Sequence[Tensor]:
    mixed_STM = mixed_streams(torch.stack(tuple(token_TM)), weight_SPM, bias_3SM, heads)
    return [F.linear(mixed_TM, w_MM) for mixed_TM, w_MM in zip(mixed_STM, w_concat_MM, strict=True)]


def mixed_streams(token_STM: Tensor, weight_SPM: Tensor, bias_3SM: Tensor, heads: int) -> Tensor:
    """(S, T, M): every stream's heads, side by side, before w_concat."""
    S, P, M = weight_SPM.shape
    parts = (token_STM @ weight_SPM.transpose(1, 2)).view(S, -1, 1 + 2 * S, heads, M // heads)
    q_bias, k_bias, v_bias = bias_3SM.view(3, 1, S, heads, -1)
    q_TSHm = parts[:, :, 0].transpose(0, 1) + q_bias
    k_STSHm = parts[:, :, 1 : 1 + S] + k_bias
    v_STSHm = parts[:, :, 1 + S :] + v_bias
    scores = torch.einsum("tihm,jtihm->tihj", q_TSHm, k_STSHm) / (M // heads) ** 0.5
    return torch.einsum("tihj,jtihm->ithm", scores.softmax(-1), v_STSHm).flatten(2)
