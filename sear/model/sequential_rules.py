"""Sequential rules (Ludewig and Jannach 2018, arXiv 1803.09587): what followed a history's items, and how soon."""

import torch
from torch import Tensor

from sear.model.counting import CountingModel
from sear.model.transitions import SparseTable, history_matrix, normalised, training_events, transition_counts


class SequentialRules(CountingModel):
    """Every item by its counted transitions from the history's items, the last of which weigh most."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.steps, self.half_life = config["steps"], config["recency_half_life"]
        self.popularity_power = config["popularity_power"]
        self.rules = SparseTable(self.n_items, self.n_items)

    def count(self, dataset) -> None:
        item_E, user_E = training_events(dataset)
        counts_VV = transition_counts(item_E, user_E, self.n_items, self.steps)
        self.rules.put(normalised(counts_VV, self.popularity_power))

    def scores(self, item_BL: Tensor) -> Tensor:
        said_BV = history_matrix(item_BL, self.n_items, self.half_life) @ self.rules.matrix()
        return torch.from_numpy(said_BV.toarray()).to(item_BL.device)
