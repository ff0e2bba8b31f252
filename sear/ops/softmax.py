"""The softmax of rows of scores, in place: the plain torch definition and the choice of kernel."""

import torch
from torch import Tensor


def softmax_rows(score_CV: Tensor, scale: float) -> Tensor:
    """Turn the scores into scale · softmax, in place; returns their log-sum-exp (C,)."""
    if score_CV.device.type != "cpu":
        return softmax_rows_plain(score_CV, scale)
    from sear.kernels import scores as score_softmax

    return score_softmax.softmax_rows(score_CV, scale)


def softmax_rows_plain(score_CV: Tensor, scale: float) -> Tensor:
    """The same by torch alone: CUDA's path, and the reference of the kernel."""
    log_sum_C = torch.logsumexp(score_CV, 1)
    score_CV.sub_(log_sum_C[:, None]).exp_().mul_(scale)
    return log_sum_C
