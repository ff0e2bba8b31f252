"""How many items outrank a target, counted at the speed of reading the scores once.

The plain reference is sear.ranking.count_above. C cases, T items of a tile.
"""

from torch import Tensor

from sear.compiled import compiled, run_in_parallel

COUNTED_AT_ONCE = 1 << 20  # float32 counts exactly up to 2^24


def add_items_above(scores_CT: Tensor, first: int, skip: int, target_C: Tensor, limit_C: Tensor, above_C: Tensor):
    """Add to above_C the items of a tile that outrank the targets, whose own scores are limit_C; -1 once one is NaN.

    first: the item whose scores are column 0. skip: so many columns do not count; nor does item 0, the padding.
    """
    arrays = [tensor.contiguous().numpy() for tensor in (scores_CT, target_C, limit_C)]
    run_in_parallel(_count, len(target_C), first, max(skip, 1 - first), *arrays, above_C.numpy())


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
def _count(start, stop, first, skip, scores_CT, target_C, limit_C, above_C):
    for row in range(start, stop):
        scores, target, limit = scores_CT[row], target_C[row] - first, limit_C[row]
        total = -1 if limit != limit else above_C[row]
        for begin in range(skip, len(scores), COUNTED_AT_ONCE):
            end = min(begin + COUNTED_AT_ONCE, len(scores))
            lower, higher = min(max(target, begin), end), min(max(target + 1, begin), end)
            parts = _counted(scores[begin:lower], limit, True), _counted(scores[higher:end], limit, False)
            total = -1 if total < 0 or min(parts) < 0 else total + parts[0] + parts[1]
        above_C[row] = total
