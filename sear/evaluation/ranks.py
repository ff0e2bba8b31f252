"""The rank of every target among all items (SEAR's method: Protocol), without sorting, one chunk of scores at a time.

B cases, C cases of one chunk, D vector width, V items incl. padding id 0, T items of one tile, H events of the flat
histories, P pairs of a case and an item of its history.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from recbole.data.interaction import Interaction
from tqdm import tqdm

from sear.errors import InputError

TILE = (2048, 1024)  # cases x items: 8 MB of scores, counted before they leave the caches
OWN = 256  # targets whose own scores are made at once: of a square of products only the diagonal is needed
CHUNK_BYTES = 64 << 20  # enough rows for a full-speed matrix product, small beside a (B, V) block at V = 42 k (690 MB)
History = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # items_H, start_B, end_B
Pairs = tuple[torch.Tensor, torch.Tensor]  # row_P, item_P


@torch.no_grad()
def target_ranks(
    user_BD: torch.Tensor,
    item_VD: torch.Tensor,
    target_B: torch.Tensor,
    history: History | None = None,
    repeat_bias: torch.Tensor | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Ranks under the scores `user_BD @ item_VD.T`, which are made and dropped piece by piece.

    With a history and on CUDA the pieces are whole rows, else tiles of cases and items.
    Arguments and return as in `ranks_from_scores`; `repeat_bias` is added to the scores of each case's history items.
    """
    assert repeat_bias is None or history is not None, "the bias is for the items of a history"
    target_B = target_B.to(user_BD.device, torch.int64)
    _check(target_B, len(user_BD), len(item_VD))
    if history is None and user_BD.device.type == "cpu" and user_BD.dtype in (torch.float32, torch.float64):
        return _ranks_by_tiles(user_BD, item_VD, target_B), None
    return _ranks_by_rows(user_BD, item_VD, target_B, history, repeat_bias)


def _ranks_by_rows(
    user_BD: torch.Tensor,
    item_VD: torch.Tensor,
    target_B: torch.Tensor,
    history: History | None,
    repeat_bias: torch.Tensor | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Both ranks, from whole rows of scores that exist for one chunk of cases at a time.

    No product has fewer rows than the others, as in `_ranks_by_tiles`: a few rows would round another way, and the
    ranks of a share of the cases would not be those of all.
    """
    cases, rows = len(user_BD), _chunk_rows(item_VD.T)
    user_BD = _filled_up(user_BD, min(rows, OWN))
    rows = min(rows, len(user_BD))
    scores_CV = user_BD.new_empty(rows, len(item_VD))
    ranks, masked_ranks = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start, skip in _pieces(len(user_BD), rows):
        # one buffer for all chunks: fresh pages would cost as much as a third of the product
        scores = torch.mm(user_BD[start : start + rows], item_VD.T, out=scores_CV)[skip : cases - start]
        part = slice(start + skip, start + rows)
        met = history and _met_pairs((history[0], history[1][part], history[2][part]), scores)
        if repeat_bias is not None:
            scores[met] += repeat_bias
        rank_C, masked_C = _ranks_of_scores(scores, target_B[part], met)
        ranks.append(rank_C)
        if masked_C is not None:
            masked_ranks.append(masked_C)
    return np.concatenate(ranks), None if history is None else np.concatenate(masked_ranks)


def _ranks_by_tiles(user_BD: torch.Tensor, item_VD: torch.Tensor, target_B: torch.Tensor) -> np.ndarray:
    """int64 (B,): the ranks, from scores that exist for one tile at a time.

    No product is narrower than the others, for it would round another way, and equal items would not tie: few cases or
    items are filled up with zeros, and the last piece of many overlaps the one before.
    """
    from sear.kernels.scores import add_items_above

    cases, items = len(user_BD), len(item_VD)
    user_BD, item_VD = _filled_up(user_BD, OWN), _filled_up(item_VD, TILE[1])
    target_B = _filled_up(target_B[:, None], OWN).squeeze(1)
    rows, width = min(TILE[0], len(user_BD)), TILE[1]
    memory = user_BD.new_empty(max(rows * width, OWN * OWN))  # one for all: fresh pages cost a third of a product

    def product(user_CD, item_TD):
        shape = len(user_CD), len(item_TD)
        return torch.mm(user_CD, item_TD.T, out=memory[: shape[0] * shape[1]].view(shape))

    limits = []
    for start, skip in _pieces(len(user_BD), OWN):
        piece = slice(start, start + OWN)
        limits.append(product(user_BD[piece], item_VD[target_B[piece]]).diagonal()[skip:].clone())
    limit_B, above_B = torch.cat(limits), torch.zeros_like(target_B)
    for start, skip in _pieces(len(user_BD), rows):
        part = slice(start + skip, start + rows)
        for first, counted in _pieces(len(item_VD), width):
            scores_CT = product(user_BD[start : start + rows], item_VD[first : first + width])
            scores_CT = scores_CT[skip:, : items - first]
            add_items_above(scores_CT, first, counted, target_B[part], limit_B[part], above_B[part])
    return _ranks(above_B[:cases]).numpy()


def _filled_up(rows: torch.Tensor, least: int) -> torch.Tensor:
    missing = least - len(rows)
    return rows if missing <= 0 else torch.cat([rows, rows.new_zeros(missing, rows.shape[1])])


def _pieces(length: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, skip) of pieces of one size that cover range(length); the last begins with `skip` that are covered."""
    for first in range(0, length, size):
        start = min(first, length - size)
        yield start, first - start


def _ranks(above_B: torch.Tensor) -> torch.Tensor:
    """1 + the items above. Raises InputError where NaN kept them from being counted."""
    if (above_B < 0).any():
        raise InputError("scores are NaN - the training diverged: lower learning_rate and train again")
    return above_B + 1


def _check(target_B: torch.Tensor, cases: int, items: int) -> None:
    assert target_B.shape == (cases,), (target_B.shape, cases)
    assert not cases or 1 <= target_B.min() <= target_B.max() < items, "a target is no item"


@torch.no_grad()
def ranks_from_scores(
    scores_BV: torch.Tensor, target_B: torch.Tensor, history: History | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Each target's rank among items 1..V-1: 1 + items scored higher + equally scored items of lower id.

    Args:
        scores_BV: column 0 is padding and never counts, whatever it holds.
        target_B: int64, 1..V-1.
        history: (items_H, start_B, end_B): case b's earlier events are items_H[start_B[b]:end_B[b]], all of them,
            not only the last MAX_ITEM_LIST_LENGTH. May live on another device than the scores.

    Returns:
        Two int64 arrays (B,): the rank, and the rank with seen items filtered, which is without every history item
        except the target (None without a history).

    Raises:
        InputError: a score is NaN, which no comparison would notice: the target would seem to rank first.
    """
    target_B = target_B.to(scores_BV.device, torch.int64)
    _check(target_B, *scores_BV.shape)
    return _ranks_of_scores(scores_BV, target_B, history and _met_pairs(history, scores_BV))


def _ranks_of_scores(
    scores_BV: torch.Tensor, target_B: torch.Tensor, met: Pairs | None
) -> tuple[np.ndarray, np.ndarray | None]:
    if scores_BV.dtype not in (torch.float32, torch.float64):
        scores_BV = scores_BV.float()
    count = _count_above_compiled if scores_BV.device.type == "cpu" else count_above
    rank_B = _ranks(count(scores_BV, target_B))
    masked_B = None if met is None else rank_B - _history_above(scores_BV, target_B, met)
    return rank_B.cpu().numpy(), None if masked_B is None else masked_B.cpu().numpy()


def _chunk_rows(scores_BV: torch.Tensor) -> int:
    return max(1, CHUNK_BYTES // (scores_BV.shape[1] * scores_BV.element_size()))


def count_above(scores_BV: torch.Tensor, target_B: torch.Tensor) -> torch.Tensor:
    """int64 (B,): how many items outrank the target, -1 where a score is NaN. The plain reference, and CUDA's path."""
    rows = _chunk_rows(scores_BV)  # in parts, because the comparisons make tables as wide as the scores
    parts = zip(scores_BV.split(rows), target_B[:, None].split(rows), strict=True)
    return torch.cat([_count_above_in_part(*part) for part in parts])


def _count_above_in_part(scores_CV: torch.Tensor, target_C1: torch.Tensor) -> torch.Tensor:
    target_score = scores_CV.gather(1, target_C1)
    lower_id = torch.arange(scores_CV.shape[1], device=scores_CV.device) < target_C1
    outranks = (scores_CV > target_score) | ((scores_CV == target_score) & lower_id)
    spoilt = scores_CV[:, 1:].isnan().any(dim=1)
    return torch.where(spoilt, -1, outranks[:, 1:].sum(dim=1))


def _count_above_compiled(scores_BV: torch.Tensor, target_B: torch.Tensor) -> torch.Tensor:
    """`count_above` by a kernel."""
    from sear.kernels.scores import add_items_above

    above_B, limit_B = torch.zeros_like(target_B), scores_BV.gather(1, target_B[:, None]).squeeze(1)
    add_items_above(scores_BV, 0, 0, target_B, limit_B, above_B)
    return above_B


def _met_pairs(history: History, scores_BV: torch.Tensor) -> Pairs:
    """The distinct pairs of a case and an item of its history, without padding."""
    items_H, start_B, end_B = history
    width = scores_BV.shape[1]
    length_B = end_B - start_B
    first_B = length_B.cumsum(0) - length_B
    row_P = torch.arange(len(length_B), device=length_B.device).repeat_interleave(length_B)
    event_P = torch.arange(len(row_P), device=length_B.device) + (start_B - first_B)[row_P]
    item_P = items_H[event_P.to(items_H.device)].to(row_P.device)
    pair_P = torch.unique((row_P * width + item_P)[item_P != 0]).to(scores_BV.device)  # a repeated item counts once
    return pair_P // width, pair_P % width


def _history_above(scores_BV: torch.Tensor, target_B: torch.Tensor, met: Pairs) -> torch.Tensor:
    """int64 (B,): how many distinct history items outrank the target."""
    row_P, item_P = met
    score_P, limit_P, wanted_P = scores_BV[met], scores_BV[row_P, target_B[row_P]], target_B[row_P]
    outranks_P = (score_P > limit_P) | ((score_P == limit_P) & (item_P < wanted_P))
    return torch.zeros_like(target_B).scatter_add_(0, row_P, outranks_P.long())


ENCODED_EVENTS = 8192  # encoded at once: enough for full-speed products, small enough for the caches
Move = Callable[[Interaction], Interaction]
Ranks = tuple[np.ndarray, np.ndarray | None]


@torch.no_grad()
def case_ranks(
    model,
    eval_data,
    to_device: Move,
    batch: int,
    mask_history: bool,
    show_progress: bool = False,
    share: tuple[int, int] = (0, 1),
) -> Ranks:
    """Each target's rank among all items and, with `mask_history`, among those not in the user's full earlier history.

    Args:
        model: with `user_vectors` and `item_table` (and its `repeat_bias`, a number or None) no score outlives its
            chunk; else, or where it is not `scored_by_vectors`, `full_sort_predict` is asked.
        eval_data: a RecBole loader over the validation or test part of a SEARDataset.
        to_device: brings a batch to where the model is.
        batch: cases at a time.
        share: (i, n): the i-th of n shares alone is ranked. What is encoded at once is the same as without shares, so
            that the vectors are, too.

    Returns:
        Two int64 arrays (cases,), in row order, 0 for the cases of other shares; None for the second without
        `mask_history`.
    """
    model.eval()
    dataset = eval_data._dataset
    by_vectors = hasattr(model, "user_vectors") and getattr(model, "scored_by_vectors", True)
    item_VD, repeat_bias = (model.item_table(), getattr(model, "repeat_bias", None)) if by_vectors else (None, None)
    ranks, masked = (np.zeros(len(dataset), np.int64) for _ in range(2))
    starts = tqdm(range(0, len(dataset), batch), desc="evaluate", disable=None if show_progress else True, leave=False)
    for start in starts:
        whole = np.arange(start, min(start + batch, len(dataset)))
        groups = _encoded_together(dataset.rows.length[whole]) if by_vectors else [np.arange(len(whole))]
        mine = groups[(share[0] - start // batch) % share[1] :: share[1]]  # in turn, for the last group may be small
        if not mine:
            continue
        index = whole[np.sort(np.concatenate(mine))]
        history = dataset.full_history(index) if mask_history or repeat_bias is not None else None
        if item_VD is not None:
            users = _user_vectors(model, eval_data, [whole[group] for group in mine], to_device)
            found = target_ranks(users, item_VD, dataset.targets(index), history, repeat_bias)
        else:
            scores = model.full_sort_predict(to_device(eval_data.collate_fn(index)[0]))
            found = ranks_from_scores(scores, dataset.targets(index), history)
        ranks[index] = found[0]
        if found[1] is not None:
            masked[index] = found[1]
    return ranks, masked if mask_history else None


def _encoded_together(length_B: np.ndarray) -> list[np.ndarray]:
    """A batch's rows in groups of similar length: little is padded."""
    order = np.argsort(length_B, kind="stable")
    groups = np.cumsum(length_B[order]) // ENCODED_EVENTS
    return np.split(order, np.flatnonzero(np.diff(groups)) + 1)


def _user_vectors(model, eval_data, groups: list[np.ndarray], to_device: Move) -> torch.Tensor:
    """(B, D) of the rows in all the groups, in ascending order of their numbers; one group is encoded at a time."""
    vectors = torch.cat([model.user_vectors(to_device(eval_data.collate_fn(group)[0])) for group in groups])
    users = torch.empty_like(vectors)
    users[torch.from_numpy(np.argsort(np.argsort(np.concatenate(groups)))).to(vectors.device)] = vectors
    return users
