"""The processes that train one model together: each makes its share of every step, and ranks its share of the cases.

The first one leads: it decides and writes, and the others do what it asks for (sear.processes). All have the same
parameters at every step, because they begin with the first one's and all get the same gradient: by DDP, or of tables
whose gradients are sparse by `Team.add_up_rows`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from sear import processes
from sear.evaluation.ranks import Ranks, case_ranks
from sear.ops.shares import Share, computing
from sear.trainer.sparse_rows import add_up_rows, sparse_tables


class _Loss(nn.Module):
    """A model whose `forward` is the loss of a share, weighted as its part of the whole batch's."""

    def __init__(self, model: nn.Module, loss_func: Callable):
        super().__init__()
        self.model, self.loss_func = model, loss_func

    def forward(self, interaction: Interaction, share: Share) -> torch.Tensor:
        with computing(share):
            losses = self.loss_func(interaction)
        loss = cast(torch.Tensor, sum(losses) if isinstance(losses, tuple) else losses)
        return loss.squeeze() * share.weight  # a few of RecBole's models give a loss of shape (1,)


def _summed(_, bucket):
    """DDP's hook that adds gradients up, where its own takes their mean: the weights of the shares sum to 1."""
    done = distributed.all_reduce(bucket.buffer(), async_op=True).get_future()
    return done.then(lambda future: future.value()[0])


class Team:
    """One process's part in the work of several.

    Attributes:
        rank, size: its number, and how many there are.
    """

    def __init__(self, model: nn.Module):
        self.rank, self.size = processes.rank(), processes.size()
        self._model = model
        self._loss: nn.Module | None = None
        self._tables: list[torch.Tensor] = []  # with sparse gradients, which DDP leaves out

    def asks(self, what: str, *arguments: Any) -> AbstractContextManager[None]:
        """The first process's block, in which the others do the same, by a method of sear.runs.follower.Follower."""
        return processes.together(what, *arguments)

    def share(
        self, train_data, index: np.ndarray, seed: int, loss_func: Callable
    ) -> tuple[Interaction, Callable[[Interaction], torch.Tensor]]:
        """This process's rows of a batch, every size-th of them, so that lengths and positions are dealt out evenly.

        Args:
            index: the rows of the whole batch.
            seed: of its step. The default generators, which it has seeded, draw what the loader draws.

        Returns:
            The rows, and their loss: together those of all processes are the loss of the batch, and the gradient of
            each, once it has gone backward and after `add_up_rows`, is the batch's.
        """
        dataset = train_data._dataset
        mine = np.arange(self.rank, len(index), self.size)
        share = Share(
            mine if len(mine) else np.zeros(1, np.int64),
            dataset.rows.length[index],
            dataset.rows.loss_count[index],
            dataset.padded_length(index),
            torch.Generator().manual_seed(seed),
            lambda: train_data.collate_fn(index),
            idle=not len(mine),
        )
        if train_data.neg_sample_args["distribution"] == "none":
            batch = train_data.collate_fn(index[share.place_R])
        else:  # each row once, and again for each negative item
            whole = train_data.collate_fn(index)
            batch = whole[torch.from_numpy(share.rows(len(whole) // len(index)))]
        return batch, partial(self._parallel(loss_func), share=share)

    def add_up_rows(self) -> None:
        """After a step's backward: the gradients that DDP leaves out, because they are sparse, become the batch's."""
        if self._tables:
            add_up_rows(self._tables)

    def _parallel(self, loss_func: Callable) -> nn.Module:
        if self._loss is None:
            self._loss = _Loss(self._model, loss_func)
            self._tables = sparse_tables(self._model)  # NCCL adds up no sparse gradients
            tables = set(self._tables)
            named = list(self._loss.named_parameters(remove_duplicate=False))
            names = [name for name, parameter in named if parameter in tables]
            DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self._loss, names)
            if any(parameter.requires_grad and parameter not in tables for _, parameter in named):  # else DDP refuses
                # Buckets keep their places only where unused parameters are looked for: sums are then rounded alike in
                # a training that is gone on with.
                options: dict[str, Any] = {"find_unused_parameters": True, "gradient_as_bucket_view": True}
                self._loss = DistributedDataParallel(self._loss, broadcast_buffers=False, **options)
                self._loss.register_comm_hook(None, _summed)
        return self._loss

    def ranks(self, eval_data, to_device: Callable, batch: int, mask_history: bool, show_progress: bool) -> Ranks:
        """The ranks of all cases as one process finds them, with the first process's weights; see `case_ranks`."""
        with self._weights_of_the_first():
            share = self.rank, self.size
            ranks, masked = case_ranks(self._model, eval_data, to_device, batch, mask_history, show_progress, share)
        for found in (ranks, masked):  # 0 where another process has ranked
            if found is not None:
                processes.add_up(torch.from_numpy(found))
        return ranks, masked

    def take_weights(self) -> None:
        """The first process's weights in place of this one's."""
        processes.spread(parameter.data for parameter in self._model.parameters())
        own = dict(self._model.named_parameters(remove_duplicate=False))
        buffers = {name: value for name, value in self._model.state_dict().items() if name not in own}
        buffers = processes.share(buffers)
        if self.rank:
            self._model.load_state_dict(buffers, strict=False)

    def take_state(self, optimizer: torch.optim.Optimizer) -> None:
        """The first process's state of the optimiser in place of this one's."""
        state = processes.share(optimizer.state_dict())
        if self.rank:
            optimizer.load_state_dict(state)

    @contextmanager
    def _weights_of_the_first(self) -> Iterator[None]:
        """In the block; afterwards the weights are those of the training again, for the first may test an average."""
        own = [parameter.detach().clone() for parameter in self._model.parameters()] if self.rank else []
        self.take_weights()
        try:
            yield
        finally:
            for parameter, value in zip(self._model.parameters() if own else (), own, strict=True):
                parameter.data.copy_(value)
