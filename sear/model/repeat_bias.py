"""The repeat bias: one learned number added to the scores of the items that a user has met before.

Where nobody buys twice it becomes strongly negative, where people do, positive. The whole earlier history counts, not
only the window that the network sees. P positions.
"""

from torch import Tensor

from sear.data.history import EARLIER_EVENTS, HISTORY_ITEMS
from sear.errors import InputError
from sear.ops.earlier_items import EarlierItems


def items_before(interaction, row_P: Tensor, step_P: Tensor) -> EarlierItems:
    """The items of the events before event `step_P` of row `row_P`, as a SEARDataset's batch holds them.

    Raises:
        InputError: the batch has no whole histories.
    """
    if HISTORY_ITEMS not in interaction:
        raise InputError(f"the batch has no {HISTORY_ITEMS}, which repeat_bias needs - take it from a SEARDataset")
    return EarlierItems(interaction[HISTORY_ITEMS], row_P, interaction[EARLIER_EVENTS][row_P] + step_P)
