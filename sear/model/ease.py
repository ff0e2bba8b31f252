"""EASE (Steck 2019, arXiv 1905.03375): the linear item-to-item model with its closed solution.

P = (XᵀX + λ1)⁻¹ and weights W = -P / diag(P) by columns with a zero diagonal, X the training events. V items incl.
padding id 0, B histories, L their length.
"""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.linalg import lapack
from torch import Tensor

from sear.errors import InputError
from sear.memory import machine_memory
from sear.model.counting import CountingModel, training_matrix
from sear.model.transitions import recency_weights

BYTES_PER_WEIGHT = 12  # float64 while it is solved, float32 as it is kept
MOST_OF_MEMORY = 0.8


def ease_weights(gram_VV: np.ndarray, reg_weight: float) -> np.ndarray:
    """float64 (V, V): row i, column j is what item i says of item j; `gram_VV` = XᵀX is overwritten."""
    gram_VV.flat[:: len(gram_VV) + 1] += reg_weight
    factor_VV, failed = lapack.dpotrf(gram_VV.T, overwrite_a=True)  # the transpose lies as LAPACK wants it
    assert not failed, "a Gram matrix with reg_weight on its diagonal is positive definite"
    inverse_VV, _ = lapack.dpotri(factor_VV, overwrite_c=True)
    for row in range(1, len(inverse_VV)):  # LAPACK fills the upper half
        inverse_VV[row, :row] = inverse_VV[:row, row]
    weight_VV = inverse_VV
    weight_VV /= -np.diag(inverse_VV).copy()
    np.fill_diagonal(weight_VV, 0)
    return weight_VV


class EASE(CountingModel):
    """Every item by the weights of the history's items; with a half-life the last ones count most.

    Raises:
        InputError: the machine's memory cannot hold a weight for every pair of items.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.reg_weight, self.half_life = config["reg_weight"], config["recency_half_life"]
        needed, there = self.n_items**2 * BYTES_PER_WEIGHT, machine_memory()
        if needed > MOST_OF_MEMORY * there:
            raise InputError(
                f"EASE needs {needed / 1e9:.1f} GB of memory for {self.n_items:,} x {self.n_items:,} weights, but this "
                f"machine has {there / 1e9:.1f} GB - choose ItemKNN or SequentialRules, or keep fewer items"
            )
        self.register_buffer("weight_VV", torch.zeros(self.n_items, self.n_items))

    def count(self, dataset) -> None:
        met = training_matrix(dataset).astype(np.float64)
        self.weight_VV.copy_(torch.from_numpy(ease_weights((met.T @ met).toarray(), self.reg_weight)))

    def scores(self, item_BL: Tensor) -> Tensor:
        weight_BL = recency_weights(item_BL, self.half_life).to(self.weight_VV.dtype)
        return F.embedding_bag(item_BL, self.weight_VV, per_sample_weights=weight_BL, mode="sum")
