"""Baselines that count instead of learning: Pop and ItemKNN, fitted on all training events and scored like every model.

RecBole's own classes count the targets of training rows, or know users only by their training events. These count every
training event once and score the history of the case at hand. B batch, V items incl. padding id 0, N neighbours.
"""

from collections import OrderedDict

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from sear.model.transitions import history_matrix, training_events


class CountingModel(SequentialRecommender):
    """Scores from counts, which are buffers: a checkpoint holds them."""

    input_type = InputType.POINTWISE
    train_rows = "windows"  # it reads no rows, and these are the fewest

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.recommend_again = config["recommend_again"]
        self.nothing = nn.Parameter(torch.zeros(0), requires_grad=False)  # an optimizer asks for a parameter

    def count(self, dataset) -> None:
        """Count the training events of a SEARDataset."""
        raise NotImplementedError

    def scores(self, item_BL: Tensor) -> Tensor:
        """(B, V), by the histories alone."""
        raise NotImplementedError

    def full_sort_predict(self, interaction) -> Tensor:
        """(B, V): every item's score; without `recommend_again` those of the history come last."""
        item_BL = interaction[self.ITEM_SEQ]
        scores_BV = self.scores(item_BL)
        return scores_BV if self.recommend_again else scores_BV.scatter(1, item_BL, -torch.inf)

    def predict(self, interaction) -> Tensor:
        """(B,): the score of each row's own `item_id`."""
        return self.full_sort_predict(interaction).gather(1, interaction[self.ITEM_ID][:, None])[:, 0]


class Pop(CountingModel):
    """Every item by how often it occurs among all training events."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.register_buffer("count_V", torch.zeros(self.n_items, dtype=torch.float64))

    def count(self, dataset) -> None:
        self.count_V.copy_(torch.from_numpy(dataset.training_item_counts))

    def scores(self, item_BL: Tensor) -> Tensor:
        return self.count_V.expand(len(item_BL), -1)


def training_matrix(dataset) -> csr_matrix:
    """float32 (users, items): how often each user met each item in training; row and column 0 are padding."""
    item, user = training_events(dataset)
    return csr_matrix((np.ones(len(user), np.float32), (user, item)), (dataset.user_num, dataset.item_num))


class ItemKNN(CountingModel):
    """Every item by its cosine similarity to the history's items, of which only its nearest k count (RecBole's own).

    With a half-life the last events of the history count most.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.k, self.shrink = min(config["k"], self.n_items), config["shrink"]
        self.half_life = config["recency_half_life"]
        self.register_buffer("neighbour_VN", torch.zeros(self.n_items, self.k, dtype=torch.int32))
        self.register_buffer("similarity_VN", torch.zeros(self.n_items, self.k))
        self._weights = None

    def count(self, dataset) -> None:
        from recbole.model.general_recommender.itemknn import ComputeSimilarity

        met = training_matrix(dataset)
        _, weights_VV = ComputeSimilarity(met, topk=self.k, shrink=self.shrink).compute_similarity()
        at = np.arange(self.k) < np.diff(weights_VV.indptr)[:, None]
        for buffer, values in ((self.neighbour_VN, weights_VV.indices), (self.similarity_VN, weights_VV.data)):
            table = np.zeros(buffer.shape, values.dtype)
            table[at] = values
            buffer.copy_(torch.from_numpy(table))
        self._weights = None

    def load_state_dict(self, state_dict: OrderedDict, *arguments, **options):
        self._weights = None
        return super().load_state_dict(state_dict, *arguments, **options)

    def scores(self, item_BL: Tensor) -> Tensor:
        if self._weights is None:  # row: an item of the history, column: an item it speaks for
            shape = (self.n_items, self.n_items)
            similarity, neighbour = self.similarity_VN.cpu().numpy(), self.neighbour_VN.cpu().numpy()
            item, place = np.nonzero(similarity)
            self._weights = csr_matrix((similarity[item, place], (neighbour[item, place], item)), shape)
        met = history_matrix(item_BL, self.n_items, self.half_life)
        return torch.from_numpy((met @ self._weights).toarray()).to(item_BL.device)
