"""Rows of scores on the CPU: their softmax with one exponential per score, and what is done to a few items of a row.

The plain references are in sear.ops.softmax and sear.ops.earlier_items. C rows of a chunk, V items, R histories of at
most H items.
"""

import numpy as np
import torch
from torch import Tensor

from sear.kernels.compiler import compiled, exp
from sear.kernels.threads import fork_join


def softmax_rows(score_CV: Tensor, scale: float) -> Tensor:
    """Turn the scores into scale · softmax, in place; returns their log-sum-exp (C,)."""
    highest_C = score_CV.amax(1)
    log_sum_C = score_CV.new_empty(len(score_CV))
    factor = score_CV.numpy().dtype.type(scale)
    _softmax(torch.get_num_threads(), score_CV.numpy(), highest_C.numpy(), factor, log_sum_C.numpy())
    return log_sum_C


@compiled
def _softmax(threads, score_CV, highest_C, scale, log_sum_C):
    fork_join(_softmax_rows, len(score_CV), threads, (score_CV, highest_C, scale, log_sum_C))


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


def add_to_earlier(score_CV: Tensor, item_RH: Tensor, row_C: Tensor, end_C: Tensor, bias: float) -> None:
    """Add the bias to the scores of the items item_RH[row_C[c], :end_C[c]] of each row c, but never to item 0."""
    scores = score_CV.numpy()
    histories = item_RH.numpy(), row_C.numpy(), end_C.numpy()
    _add_to_earlier(torch.get_num_threads(), scores, *histories, scores.dtype.type(bias))


@compiled
def _add_to_earlier(threads, score_CV, item_RH, row_C, end_C, bias):
    fork_join(_add_to_earlier_rows, len(score_CV), threads, (score_CV, item_RH, row_C, end_C, bias))


@compiled
def _add_to_earlier_rows(start, stop, score_CV, item_RH, row_C, end_C, bias):
    for row in range(start, stop):
        score_V, item_H = score_CV[row], item_RH[row_C[row]]
        for event in range(end_C[row]):
            if item_H[event] != 0:
                score_V[item_H[event]] += bias


def sum_of_earlier(score_CV: Tensor, item_RH: Tensor, row_C: Tensor, end_C: Tensor) -> Tensor:
    """The sums (C,) of the values that `add_to_earlier` would change."""
    sum_C = score_CV.new_empty(len(score_CV))
    arrays = [tensor.numpy() for tensor in (score_CV, item_RH, row_C, end_C, sum_C)]
    _sum_of_earlier(torch.get_num_threads(), *arrays)
    return sum_C


@compiled
def _sum_of_earlier(threads, score_CV, item_RH, row_C, end_C, sum_C):
    fork_join(_sum_of_earlier_rows, len(score_CV), threads, (score_CV, item_RH, row_C, end_C, sum_C))


@compiled
def _sum_of_earlier_rows(start, stop, score_CV, item_RH, row_C, end_C, sum_C):
    for row in range(start, stop):
        score_V, item_H, total = score_CV[row], item_RH[row_C[row]], score_CV.dtype.type(0)
        for event in range(end_C[row]):
            if item_H[event] != 0:
                total += score_V[item_H[event]]
        sum_C[row] = total


COUNTED_AT_ONCE = 1 << 20  # float32 counts exactly up to 2^24


def add_items_above(scores_CT: Tensor, first: int, skip: int, target_C: Tensor, limit_C: Tensor, above_C: Tensor):
    """Add to above_C the items of a tile that outrank the targets, whose own scores are limit_C; -1 once one is NaN.

    first: the item whose scores are column 0. skip: so many columns do not count; nor does item 0, the padding.
    """
    arrays = [tensor.contiguous().numpy() for tensor in (scores_CT, target_C, limit_C)]
    _count(torch.get_num_threads(), first, max(skip, 1 - first), *arrays, above_C.numpy())


@compiled(reorder_sums=True)
def _counted(scores, limit, ties):
    """How many scores are above the limit, or with `ties` equal to it; -1 where one is NaN."""
    zero, one = scores.dtype.type(0), scores.dtype.type(1)  # numbers as wide as the scores are counted fastest
    above = equal = spoilt = zero
    for item in range(len(scores)):
        above += one if scores[item] > limit else zero
        equal += one if scores[item] == limit else zero
        spoilt += one if scores[item] != scores[item] else zero
    return -1 if spoilt else int(above + equal if ties else above)


@compiled
def _count(threads, first, skip, scores_CT, target_C, limit_C, above_C):
    fork_join(_count_rows, len(target_C), threads, (first, skip, scores_CT, target_C, limit_C, above_C))


@compiled
def _count_rows(start, stop, first, skip, scores_CT, target_C, limit_C, above_C):
    for row in range(start, stop):
        scores, target, limit = scores_CT[row], target_C[row] - first, limit_C[row]
        total = -1 if limit != limit else above_C[row]
        for begin in range(skip, len(scores), COUNTED_AT_ONCE):
            end = min(begin + COUNTED_AT_ONCE, len(scores))
            lower, higher = min(max(target, begin), end), min(max(target + 1, begin), end)
            parts = _counted(scores[begin:lower], limit, True), _counted(scores[higher:end], limit, False)
            total = -1 if total < 0 or min(parts) < 0 else total + parts[0] + parts[1]
        above_C[row] = total
