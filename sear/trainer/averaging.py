"""Averaged weights: an exponential moving average over the steps of training, which validates and tests steadier."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


class AveragedWeights:
    """The average of a model's trained parameters; their buffers stay the model's own.

    After step n the average keeps min(decay, (1 + n) / (10 + n)) of itself: the first steps are soon forgotten.
    """

    def __init__(self, model: torch.nn.Module, decay: float):
        assert 0 < decay < 1, decay
        self.decay, self.steps = decay, 0
        every_name = model.named_parameters(remove_duplicate=False)  # as a state dict has them
        named = {name: parameter for name, parameter in every_name if parameter.requires_grad}
        self._parameters: list[torch.Tensor] = list(named.values())
        self._average = {name: parameter.detach().clone() for name, parameter in named.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after one more step."""
        self.steps += 1
        kept = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self._average.values()), self._parameters, 1 - kept)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The model computes with the average; afterwards it has its own weights again, to the last bit."""
        own = [parameter.detach().clone() for parameter in self._parameters]
        self._put(self._average.values())
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: Iterable[torch.Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "weights": self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved average of the same model."""
        self.steps = state["steps"]
        for name, value in self._average.items():
            value.copy_(state["weights"][name])

    def over(self, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A model's state dict with the averages in place of what they are averages of."""
        return weights | self._average
