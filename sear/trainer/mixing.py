"""What is mixed into a model's scores after training: validation chooses it, and every process has it in use.

No checkpoint holds the choice; metrics.json does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from logging import getLogger
from typing import TYPE_CHECKING, Any

import torch
from recbole.data.interaction import Interaction

from sear.evaluation.mix_choice import Score, choose_mix, choose_weight
from sear.memory import enough_memory_to
from sear.model.text_match import TextMatch

if TYPE_CHECKING:
    from sear.trainer.trainer import SEARTrainer

logger = getLogger("sear")


@dataclass(frozen=True)
class Choice:
    """What is in use, as metrics.json tells it.

    Attributes:
        prior: {weight, floor, score, tried} of the transition prior, `tried` a list of {weight, floor, score}; None
            for a model without one.
        text_match: {weight, score, tried} of the texts like the history's, likewise; None where none are matched.
    """

    prior: dict[str, Any] | None = None
    text_match: dict[str, Any] | None = None


class Mixing:
    """Chooses what is mixed into the scores of a trainer's model, and puts it in use."""

    def __init__(self, trainer: "SEARTrainer"):
        self.trainer, self.model, self.config = trainer, trainer.model, trainer.config

    def choose(self, valid_data) -> Choice:
        """Have in use what validates best with the model's weights as they are: first transitions, texts on top."""
        prior = self._choose_prior(valid_data)
        if prior:
            logger.info("transition prior: weight {weight}, floor {floor}, validation {score:.4f}".format(**prior))
        text_match = self._choose_text_match(valid_data)
        if text_match:
            logger.info("text match: weight {weight}, validation {score:.4f}".format(**text_match))
        return Choice(prior, text_match)

    def use(self, choice: Choice) -> None:
        """Have in use what was chosen before."""
        if choice.prior:
            mix = torch.tensor([choice.prior["weight"], choice.prior["floor"]])
            self.model.transition_prior.mix.copy_(mix)
        if choice.text_match:
            self._match_texts(choice.text_match["weight"])

    def match_texts_here(self, weight: float, match: TextMatch | None = None) -> None:
        """Add `weight` times the mean cosine of texts to the scores in this process, others having been asked.

        Args:
            weight: 0 adds nothing.
            match: what this process has made of the texts already.
        """
        self.model.text_match = (match or self._new_text_match()) if weight else None
        if weight:
            self.model.text_match.weight.fill_(weight)

    def _choose_prior(self, valid_data) -> dict[str, Any] | None:
        prior = getattr(self.model, "transition_prior", None)
        if prior is None:
            return None

        to_device, batch, score, filters = self._ranking
        grid = self.config["transition_prior"], self.config["transition_floor"]
        with enough_memory_to("mix transitions", self.trainer.told_sizes("eval_batch_size")):
            best, scores = choose_mix(self.model, valid_data, to_device, batch, grid, score, filters)
        prior.mix.copy_(torch.tensor(best))
        tried = [{"weight": weight, "floor": floor, "score": value} for (weight, floor), value in scores.items()]
        return {"weight": best[0], "floor": best[1], "score": scores[best], "tried": tried}

    def _choose_text_match(self, valid_data) -> dict[str, Any] | None:
        if not self.config["text_match"]:
            return None

        to_device, batch, score, filters = self._ranking
        with enough_memory_to("match texts", self.trainer.told_sizes("eval_batch_size")):
            self._match_texts(0)
            match, weights = self._new_text_match(), self.config["text_match"]

            def said(interaction) -> torch.Tensor:
                return match.cosines(interaction[self.model.ITEM_SEQ], interaction[self.model.ITEM_SEQ_LEN])

            best, scores = choose_weight(self.model, said, valid_data, to_device, batch, weights, score, filters)
            self._match_texts(best, match)
        tried = [{"weight": weight, "score": value} for weight, value in scores.items()]
        return {"weight": best, "score": scores[best], "tried": tried}

    @property
    def _ranking(self) -> tuple[Callable[[Interaction], Interaction], int, Score, bool]:
        """How cases are ranked and scored: to_device, batch, score and filters of sear.evaluation.mix_choice."""
        trainer = self.trainer
        filters = trainer.valid_protocol != "kept"
        return trainer.to_device, self.config["eval_batch_size"], trainer.score_of_ranks, filters

    def _match_texts(self, weight: float, match: TextMatch | None = None) -> None:
        with self.trainer.asking("match_texts", weight):
            self.match_texts_here(weight, match)

    def _new_text_match(self) -> TextMatch:
        sizes = self.config["text_match_width"], self.config["text_match_half_life"]
        return TextMatch.of_texts(self.model.item_text_VE, *sizes).to(self.trainer.device)
