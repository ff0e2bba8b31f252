"""RecBole's interface to models with user vectors: from a batch to loss and scores, the same for each of them.

B batch, L length of its rows, D width of a user vector, V items incl. padding id 0, P positions that carry loss,
H longest whole history, K soft-label length.
"""

from collections import ChainMap

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor

from sear.errors import InputError
from sear.model.loss import loss_targets, soft_label_loss
from sear.model.repeat_bias import items_before
from sear.model.sampling import ItemSampler, Sample
from sear.model.scoring import ScoringModule
from sear.model.text_match import TextMatch, aligned
from sear.model.transition_prior import TransitionPrior
from sear.ops.earlier_items import EarlierItems
from sear.ops.shares import current


class NextItemModel(SequentialRecommender, ScoringModule):
    """A model that says a user's vector after an event; a subclass gives `user_vectors` and `item_vectors`.

    Attributes:
        train_rows: the training rows it learns from, unless its config asks for others.
        transition_prior: counted transitions that are mixed into the scores after training; None where they are off.
        text_match: what is added for texts like the history's; None in training, and where validation wants none.
        text_in_vectors: its users' and items' vectors hold what `text_match` adds, so that their products need no more.
        sampler: draws the items of a step's softmax; None where it is over all items.
    """

    input_type = InputType.POINTWISE
    train_rows = "windows"
    text_in_vectors = False

    def __init__(self, config, dataset):
        samples = config["loss_type"] == "sampled"  # a word that RecBole's models do not know
        super().__init__(ChainMap({"loss_type": "CE"}, config) if samples else config, dataset)
        self.start_scoring(config)
        self.sampler = None
        if samples:
            counts = dataset.training_item_counts, self.target_counts(dataset)
            self.sampler = ItemSampler(config["sample_from"], config["sample_size"], *counts)
        self.transition_prior = None
        if config["transition_prior"]:
            self.transition_prior = TransitionPrior(dataset.item_num, config["transition_half_life"])
            self.transition_prior.count(dataset, config["transition_steps"], config["transition_popularity"])
        self.text_match: TextMatch | None = None
        if not self.text_in_vectors and config["text_match"]:
            self.item_text_VE = aligned(dataset.item_text_embedding())  # no buffer: a GPU need not hold it

    def target_counts(self, dataset) -> np.ndarray:
        """int64 (V,): how many training events of each item a batch may hold as targets."""
        return dataset.next_item_counts

    def loss_positions(self, interaction, whole: bool = True) -> Tensor | None:
        """int64 (P,): which positions of a training batch carry loss, numbered over B·L; None where only the loss can
        say. Asked while the batch is on the CPU: counted on a GPU, they would make the host wait.

        Args:
            whole: the batch is not a share of a larger one.
        """
        return None

    def user_vectors(self, interaction) -> Tensor:
        """(B, D): the user after the last event of each history, which has one at least."""
        raise NotImplementedError

    def full_sort_predict(self, interaction) -> Tensor:
        """(B, V): every item's score for the next event of each history."""
        score_BV = self.all_scores(self.user_vectors(interaction), self._whole_histories(interaction))
        if self.text_match is not None and self.matches_apart:
            said_BV = self.text_match.cosines(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
            score_BV = score_BV + self.text_match.weight * said_BV
        return self.transition_prior.mixed(score_BV, interaction[self.ITEM_SEQ]) if self.has_prior else score_BV

    def predict(self, interaction) -> Tensor:
        """(B,): the score of each row's own `item_id`."""
        if self.has_prior or self.matches_apart:
            return self.full_sort_predict(interaction).gather(1, interaction[self.ITEM_ID][:, None])[:, 0]
        users, histories = self.user_vectors(interaction), self._whole_histories(interaction)
        return self.scores_of(users, interaction[self.ITEM_ID], histories)

    @property
    def has_prior(self) -> bool:
        """Whether transitions are mixed in, so that scores are more than products of vectors."""
        return self.transition_prior is not None and self.transition_prior.weight > 0

    @property
    def matches_apart(self) -> bool:
        """Whether texts like the history's are added to scores, not to vectors."""
        return self.text_match is not None and not self.text_in_vectors

    @property
    def scored_by_vectors(self) -> bool:
        """Whether scores are products of vectors and the repeat bias alone: ranks then need no `full_sort_predict`."""
        kind = type(self)
        plain = (
            kind.full_sort_predict is NextItemModel.full_sort_predict and kind.all_scores is ScoringModule.all_scores
        )
        return plain and not self.has_prior and not self.matches_apart

    def sampled_loss(
        self, user_PD: Tensor, sample: Sample, target_PK: Tensor, decay: float, earlier: EarlierItems | None
    ) -> Tensor:
        """(): `soft_label_loss` with a step's sample of the items in place of all; user_PD as scored, items by id."""
        sample = Sample(*(part.to(user_PD.device) for part in sample))
        if earlier is not None:
            earlier = earlier._replace(item_RH=sample.numbers(earlier.item_RH))
        item_UD, target_PK = self.scored_items(self.item_rows(sample.item_U)), sample.numbers(target_PK)
        return soft_label_loss(user_PD, item_UD, target_PK, decay, self.repeat_bias, earlier, sample.chance_U)

    def _whole_histories(self, interaction) -> Tensor | None:
        """int64 (B, H): the distinct items of each case's whole history, 0 = none."""
        if self.repeat_bias is None:
            return None
        length_B = interaction[self.ITEM_SEQ_LEN]
        row_B = torch.arange(len(length_B), device=length_B.device)
        return items_before(interaction, row_B, length_B).items()


class CausalLoss(NextItemModel):
    """A model that looks back only, trained at every position of a row; a subclass gives `users_at`.

    `loss` is the method to override for another loss.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.soft_label_decay = config["soft_label_decay"]
        if self.sampler is not None and type(self).loss is not CausalLoss.loss:
            name = type(self).__name__
            raise InputError(f"loss_type is sampled, but {name} has a loss of its own - write loss_type: CE")

    def loss_positions(self, interaction, whole: bool = True) -> Tensor:
        """int64 (P,): those whose `target_id_list` begins with an item."""
        return loss_targets(interaction["target_id_list"])[0]

    def users_at(self, interaction, position_P: Tensor) -> Tensor:
        """(P, D): the users after the events with the numbers position_P, counted over B·L, of any length."""
        raise NotImplementedError

    def users_and_items(self, interaction, position_P: Tensor) -> tuple[Tensor, Tensor]:
        """(P, D) and (V, D) of a training step, of any length; overridden where both are made of the same."""
        return self.users_at(interaction, position_P), self.item_vectors()

    def user_vectors(self, interaction) -> Tensor:
        """(B, D): the user after the last event of each history, which has one at least."""
        item_BL, length_B = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        row_B = torch.arange(len(item_BL), device=item_BL.device)
        return self.scored_users(self.users_at(interaction, row_B * item_BL.shape[1] + length_B - 1))

    def calculate_loss(self, interaction) -> Tensor:
        """Mean soft-label loss over the batch's positions whose `target_id_list` begins with an item."""
        at = interaction.interaction.get("loss_position")
        position_P, target_PK = loss_targets(interaction["target_id_list"], at)
        if self.sampler is not None:
            share = current()
            whole_PK = loss_targets(share.whole()["target_id_list"])[1] if share else target_PK
            sample = self.sampler.draw(whole_PK)  # before the dropout, whose share of random numbers varies
            user_PD = self.scored_users(self.users_at(interaction, position_P))
            earlier = self._items_up_to(interaction, position_P)
            return self.sampled_loss(user_PD, sample, target_PK, self.soft_label_decay, earlier)
        user_PD, item_VD = self.users_and_items(interaction, position_P)
        user_PD, item_VD = self.scored_users(user_PD), self.scored_items(item_VD)
        return self.loss(user_PD, item_VD, target_PK, self._items_up_to(interaction, position_P))

    def loss(self, user_PD: Tensor, item_VD: Tensor, target_PK: Tensor, earlier: EarlierItems | None = None) -> Tensor:
        """(): the loss of one training step; the place to override for a loss of one's own.

        Args:
            user_PD: the users at the positions that carry loss, as they are scored.
            item_VD: the items, as they are scored: scores are user_PD @ item_VD.T, plus the repeat bias.
            target_PK: int64, the next K items of each position, 0 = none; column 0 is never 0.
            earlier: each position's items so far, for the repeat bias; None where it is off.
        """
        return soft_label_loss(user_PD, item_VD, target_PK, self.soft_label_decay, self.repeat_bias, earlier)

    def _items_up_to(self, interaction, position_P: Tensor) -> EarlierItems | None:
        if self.repeat_bias is None:
            return None
        length = interaction[self.ITEM_SEQ].shape[1]
        return items_before(interaction, position_P // length, position_P % length + 1)
