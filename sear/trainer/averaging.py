"""Averaged weights: an exponential moving average over the steps of training, which validates and tests steadier."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch

from sear.trainer.sparse_rows import Rows


class AveragedWeights:
    """The average of a model's trained parameters; their buffers stay the model's own.

    After step n the average keeps min(decay, (1 + n) / (10 + n)) of itself: the first steps are soon forgotten. A row
    of a table with sparse gradients keeps its value between the steps that use it, so its average is brought up to
    date when it is used next, or asked for.
    """

    def __init__(self, model: torch.nn.Module, decay: float):
        assert 0 < decay < 1, decay
        self.decay, self.steps = decay, 0
        every_name = model.named_parameters(remove_duplicate=False)  # as a state dict has them
        named = {name: parameter for name, parameter in every_name if parameter.requires_grad}
        self._parameters: list[torch.nn.Parameter] = list(named.values())
        self._average = {name: parameter.detach().clone() for name, parameter in named.items()}
        self._known_until: dict[torch.nn.Parameter, torch.Tensor] = {}  # table -> the step of each row's average

    @torch.no_grad()
    def catch_up(self, rows: Rows) -> None:
        """Before a step on these rows: bring their averages up to date, while they still have their old values."""
        for parameter in rows:
            if parameter not in self._known_until:  # until now like any other parameter
                steps_V = torch.full((len(parameter),), self.steps, device=parameter.device)
                self._known_until[parameter] = steps_V
        for parameter, average in self._tables(rows):
            row_U = rows[parameter]
            kept_U1 = self._kept_since(self._known_until[parameter][row_U])[:, None].to(average.dtype)
            average[row_U] = torch.lerp(parameter[row_U], average[row_U], kept_U1)

    @torch.no_grad()
    def update(self, rows: Rows = MappingProxyType({})) -> None:
        """Take in the weights after one more step, of tables with sparse gradients those of the rows in use."""
        self.steps += 1
        share = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        whole = [pair for pair in self._pairs() if pair[0] not in self._known_until]
        torch._foreach_lerp_([average for _, average in whole], [parameter for parameter, _ in whole], share)
        for parameter, average in self._tables(rows):
            row_U = rows[parameter]
            average[row_U] = average[row_U].lerp_(parameter[row_U], share)
        for parameter, row_U in rows.items():
            self._known_until[parameter][row_U] = self.steps

    @torch.no_grad()
    def _settle(self) -> None:
        """Bring all averages up to date."""
        for parameter, average in self._tables(self._known_until):
            kept_V1 = self._kept_since(self._known_until[parameter])[:, None].to(average.dtype)
            average.sub_(parameter).mul_(kept_V1).add_(parameter)
        for step_V in self._known_until.values():
            step_V.fill_(self.steps)

    def _pairs(self) -> Iterable[tuple[torch.nn.Parameter, torch.Tensor]]:
        return zip(self._parameters, self._average.values(), strict=True)

    def _tables(self, those: Iterable[torch.nn.Parameter]) -> Iterable[tuple[torch.nn.Parameter, torch.Tensor]]:
        chosen = set(those)
        return [pair for pair in self._pairs() if pair[0] in chosen]

    def _kept_since(self, step: torch.Tensor) -> torch.Tensor:
        """float64: what is left of an average after the steps since then, the product of what each of them keeps."""
        now = torch.tensor(self.steps, device=step.device)
        return torch.exp(self._log_kept(now) - self._log_kept(step))

    def _log_kept(self, step: torch.Tensor) -> torch.Tensor:
        """The logarithm of what is left after all steps up to `step`."""
        last = math.floor((10 * self.decay - 1) / (1 - self.decay))  # after it each step keeps `decay`
        rising = step.clamp(max=max(0, last)).double()
        falls = torch.lgamma(rising + 2) - torch.lgamma(rising + 11) + math.lgamma(11)  # (1 + n) / (10 + n) multiplied
        return falls + (step - rising) * math.log(self.decay)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The model computes with the average; afterwards it has its own weights again, to the last bit."""
        self._settle()
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
        self._settle()
        return {"steps": self.steps, "weights": self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved average of the same model."""
        self.steps = state["steps"]
        self._known_until = {}
        for name, value in self._average.items():
            value.copy_(state["weights"][name])

    def over(self, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A model's state dict with the averages in place of what they are averages of."""
        self._settle()
        return weights | self._average
