"""The softmax of rows of scores on the CPU, in place and with their log-sum-exp: one exponential per score.

The plain reference is sear.loss.softmax_rows_plain. C rows of a chunk, V items.
"""

import numpy as np
from torch import Tensor

from sear.compiled import compiled, exp, run_in_parallel


def softmax_rows(score_CV: Tensor, scale: float) -> Tensor:
    """Turn the scores into scale · softmax, in place; returns their log-sum-exp (C,)."""
    highest_C = score_CV.amax(1)
    log_sum_C = score_CV.new_empty(len(score_CV))
    factor = score_CV.numpy().dtype.type(scale)
    run_in_parallel(_softmax_rows, len(score_CV), score_CV.numpy(), highest_C.numpy(), factor, log_sum_C.numpy())
    return log_sum_C


@compiled
def _softmax_rows(start, stop, score_CV, highest_C, scale, log_sum_C):
    for row in range(start, stop):
        score_V, highest = score_CV[row], highest_C[row]
        for item in range(len(score_V)):
            score_V[item] = exp(score_V[item] - highest)
        total = _sum(score_V)
        log_sum_C[row] = highest + np.log(total)
        factor = scale / total
        for item in range(len(score_V)):
            score_V[item] *= factor


@compiled(reorder_sums=True)
def _sum(values):
    total = values.dtype.type(0)
    for item in range(len(values)):
        total += values[item]
    return total
