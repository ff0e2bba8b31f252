"""Soft labels over the next K items and their loss, without a (B, V) label matrix.

B rows of a batch, L their length, T = B·L, P positions that carry loss, V items incl. padding id 0, K soft-label
length, D width of a user vector. The KL divergence from the labels to softmax(scores) is sum_j w_j (logsumexp(scores) -
scores[target_j]) minus the labels' entropy, so only the K targets of a position are ever written down. Scores exist for
one chunk of positions at a time; the gradient is taken in the same pass, so that no chunk is computed twice or kept.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sear.ops.earlier_items import EarlierItems, add_to_earlier, sum_of_earlier
from sear.ops.softmax import softmax_rows

CHUNK_SCORES = 1 << 22  # scores held at once, 16 MB in float32
MIN_CHUNK_ROWS = 32  # fewer rows make the matrix products slow


def loss_targets(target_BLK: Tensor, position_P: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Which positions of a batch carry loss, and for what: those whose targets begin with an item.

    Returns:
        int64 (P,), their numbers counted over B·L, and int64 (P, K), their targets. A trainer
        asks for the numbers before it moves a batch to a GPU, and they come back as they are: counted there, they would
        make the host wait.
    """
    target_TK = target_BLK.flatten(0, 1)
    position_P = target_TK[:, 0].nonzero().squeeze(1) if position_P is None else position_P
    return position_P, target_TK.index_select(0, position_P)


def soft_labels(target_PK: Tensor, decay: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Weights (P, K) of the targets: exp(-decay * j), normalised over the targets that exist (id 0 = none).

    A repeated item adds its weights by standing in several columns.
    """
    steps_K = torch.arange(target_PK.shape[1], device=target_PK.device, dtype=dtype)
    weight_PK = torch.exp(-decay * steps_K) * (target_PK != 0)
    return weight_PK / weight_PK.sum(1, keepdim=True)


def negative_entropy(target_PK: Tensor, weight_PK: Tensor) -> Tensor:
    """sum_v y_v log y_v of each position's labels y (P,), the weights of a repeated item taken together."""
    same_PKK = target_PK[:, :, None] == target_PK[:, None, :]
    label_PK = (same_PKK * weight_PK[:, None, :]).sum(2)
    return torch.where(weight_PK > 0, weight_PK * torch.log(label_PK), 0).sum(1)


def soft_label_loss_reference(user_PD: Tensor, item_VD: Tensor, target_PK: Tensor, decay: float) -> Tensor:
    """The same loss written as the method says it, with the label matrix: the oracle of the tests."""
    label_PV = user_PD.new_zeros(len(user_PD), len(item_VD))
    label_PV.scatter_add_(1, target_PK, soft_labels(target_PK, decay, user_PD.dtype))
    return torch.nn.functional.kl_div(torch.log_softmax(user_PD @ item_VD.T, 1), label_PV, reduction="batchmean")


def soft_label_loss(
    user_PD: Tensor,
    item_VD: Tensor,
    target_PK: Tensor,
    decay: float,
    repeat_bias: Tensor | None = None,
    earlier: EarlierItems | None = None,
    chance_V: Tensor | None = None,
) -> Tensor:
    """Mean over positions of KL(soft labels || softmax(user · itemᵀ)), the softmax over all V columns.

    With `chance_V` the V items are a sample of more: each stands for 1 / chance items in the sum of the softmax, which
    on average over samples is the one over all items then. A position's own targets stand for themselves.

    Args:
        user_PD: user vectors, float (P, D).
        item_VD: the item table, float (V, D).
        target_PK: the next K items, int64 (P, K), 0 = none; column 0 is never 0, P not either.
        decay: λ; the j-th target weighs exp(-λ j).
        repeat_bias: a number () added to the scores of each position's `earlier` items; None adds nothing.
        chance_V: each item's chance to be in the sample; 0 for one that is here only as a target, and then counts for
            the positions whose target it is. Item 0 has chance 1. None: the items are all there are.
    """
    assert len(user_PD), "no position carries loss"
    if torch.is_autocast_enabled(user_PD.device.type):
        user_PD = user_PD.to(torch.get_autocast_dtype(user_PD.device.type))
    return _ChunkedSoftLabelLoss.apply(user_PD, item_VD, repeat_bias, target_PK, decay, earlier, chance_V)


class _ChunkedSoftLabelLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, user_PD, item_VD, repeat_bias, target_PK, decay, earlier, chance_V):
        with_gradient = any(ctx.needs_input_grad[:3])
        tensors = user_PD, item_VD, repeat_bias, target_PK
        ctx.given = decay, earlier, chance_V
        loss, ctx.gradients = _loss_and_gradients(*tensors, *ctx.given, with_gradient)
        ctx.save_for_backward(*tensors)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        gradients, ctx.gradients = ctx.gradients, None  # given away, so that no second table of them is needed
        if gradients is None:  # a second backward through the same graph
            _, gradients = _loss_and_gradients(*ctx.saved_tensors, *ctx.given, True)
        return *(None if part is None else part.mul_(grad) for part in gradients), None, None, None, None


def _loss_and_gradients(user_PD, item_VD, repeat_bias, target_PK, decay, earlier, chance_V, with_gradient):
    """The loss, and its gradients by users, items and bias (None without); all chunks share one buffer of scores."""
    product_item_VD = item_VD.to(user_PD.dtype)
    exact = torch.float64 if user_PD.dtype == torch.float64 else torch.float32
    positions = len(user_PD)
    weight_PK = soft_labels(target_PK, decay, exact)
    loss = negative_entropy(target_PK, weight_PK).sum()
    user_grad_PD = torch.empty_like(user_PD) if with_gradient else None
    item_grad_VD = torch.zeros_like(item_VD) if with_gradient else None
    bias_grad = torch.zeros_like(repeat_bias) if with_gradient and repeat_bias is not None else None
    correction_V = None if chance_V is None else torch.where(chance_V > 0, -torch.log(chance_V), -torch.inf).to(exact)
    rows = min(max(MIN_CHUNK_ROWS, CHUNK_SCORES // len(item_VD)), positions)
    buffer_CV = user_PD.new_empty(rows, len(item_VD))
    for start in range(0, positions, rows):
        chunk = slice(start, start + rows)
        user_CD, target_CK, weight_CK = user_PD[chunk], target_PK[chunk], weight_PK[chunk]
        score_CV = torch.mm(user_CD, product_item_VD.T, out=buffer_CV[: len(user_CD)]).to(exact)
        if repeat_bias is not None:
            add_to_earlier(score_CV, earlier.part(chunk), repeat_bias)
        target_score_CK = score_CV.gather(1, target_CK)
        loss = loss - (weight_CK * target_score_CK).sum()
        if correction_V is not None:
            score_CV.add_(correction_V).scatter_(1, target_CK, target_score_CK)
        loss = loss + softmax_rows(score_CV, 1 / positions).sum()
        if not with_gradient:
            continue
        if chance_V is not None:  # what is left of items out of the sample is too small for fast products
            target_share_CK = score_CV.gather(1, target_CK)
            score_CV.mul_(chance_V > 0).scatter_(1, target_CK, target_share_CK)
        score_CV.scatter_add_(1, target_CK, weight_CK / -positions)
        if bias_grad is not None:
            bias_grad += sum_of_earlier(score_CV, earlier.part(chunk))
        score_grad_CV = score_CV.to(user_PD.dtype)
        torch.mm(score_grad_CV, product_item_VD, out=user_grad_PD[chunk])
        if item_grad_VD.dtype == user_PD.dtype:
            item_grad_VD.addmm_(score_grad_CV.T, user_CD)
        else:  # autocast
            item_grad_VD += score_grad_CV.T @ user_CD
    return loss / positions, (user_grad_PD, item_grad_VD, bias_grad) if with_gradient else None
