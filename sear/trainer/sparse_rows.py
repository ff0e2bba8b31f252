"""Steps on the rows of large tables that a batch used, for models that learn from a sample of the items.

A table by items then has a sparse gradient, and Adam's moments, weight decay and averaged weights change with a row in
the steps that use it: what a step costs does not grow with the catalogue. torch.optim.SparseAdam does so too, but knows
no weight decay, and would be a second optimiser beside the one of all other parameters. U rows in use.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from sear import processes

Rows = Mapping[nn.Parameter, Tensor]  # table -> int64 (U,), the rows that a step uses, rising; only sparse gradients


def use_sparse_gradients(model: nn.Module, items: int) -> None:
    """The gradient of every embedding by items will hold the rows that a step used, and no others."""
    for table in model.modules():
        if isinstance(table, nn.Embedding) and table.num_embeddings >= items:
            table.sparse = True


def sparse_tables(model: nn.Module) -> list[Tensor]:
    """The tables of `use_sparse_gradients`, each once."""
    tables = [table.weight for table in model.modules() if isinstance(table, nn.Embedding) and table.sparse]
    return list(dict.fromkeys(tables))


@torch.no_grad()
def add_up_rows(tables: Sequence[Tensor]) -> None:
    """The gradients of tables become the sums of all processes': of the rows that one of them used, and no others."""
    used_T = torch.tensor([table.grad is not None for table in tables], dtype=torch.int64, device=tables[0].device)
    for table, used in zip(tables, processes.add_up(used_T).tolist(), strict=True):
        if used and table.grad is None:  # another process used it, and all must add up the same gradients
            none = used_T.new_empty(1, 0), table.new_empty(0, *table.shape[1:])
            table.grad = torch.sparse_coo_tensor(*none, table.shape, check_invariants=False)
        if table.grad is not None and table.grad.is_sparse:
            own = table.grad.coalesce()
            row_U = torch.unique(processes.gather(own.indices()[0]))
            sum_UD = own.values().new_zeros(len(row_U), *own.values().shape[1:])
            sum_UD[torch.searchsorted(row_U, own.indices()[0])] = own.values()
            summed = row_U[None], processes.add_up(sum_UD), own.shape
            table.grad = torch.sparse_coo_tensor(*summed, is_coalesced=True, check_invariants=False)
        elif table.grad is not None:  # some use of it took the whole table
            processes.add_up(table.grad)


def touched_rows(model: nn.Module) -> Rows:
    """The rows of the sparse gradients, which are summed up by row first."""
    rows = {}
    for parameter in model.parameters():
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            rows[parameter] = parameter.grad.indices()[0]
    return rows


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float, norm_type: float = 2.0) -> None:
    """torch's clip_grad_norm_, also where some of the gradients are sparse; these are summed up by row."""
    found = [parameter.grad for parameter in parameters if parameter.grad is not None]
    dense = [SimpleNamespace(grad=grad.values() if grad.is_sparse else grad) for grad in found]
    clip_grad_norm_(dense, max_norm, norm_type)  # type: ignore[arg-type]  # it reads nothing but .grad


@torch.no_grad()
def step_rows(optimizer: torch.optim.Optimizer, rows: Rows) -> None:
    """A step of Adam or AdamW on these rows, which leaves the other parameters to the optimizer's own step.

    The state is Adam's, so that checkpoints know no difference; the bias of the moments is corrected by the number of
    all steps, as in torch.optim.SparseAdam.
    """
    for group in optimizer.param_groups if rows else ():
        decoupled = group.get("decoupled_weight_decay", isinstance(optimizer, torch.optim.AdamW))
        for table in group["params"]:
            if table in rows:
                _step(table, rows[table], optimizer.state[table], group, decoupled)
                table.grad = None


def _step(table: nn.Parameter, row_U: Tensor, state: dict, group: dict, decoupled: bool) -> None:
    assert table.grad is not None
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32, device=table.device)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(table), torch.zeros_like(table)
    state["step"] += 1
    (beta1, beta2), rate, decay = group["betas"], group["lr"], group["weight_decay"]
    grad_UD, value_UD = table.grad.values(), table[row_U]
    if decay and decoupled:
        value_UD *= 1 - rate * decay
    elif decay:
        grad_UD = grad_UD.add(value_UD, alpha=decay)
    mean_UD = state["exp_avg"][row_U].lerp_(grad_UD, 1 - beta1)
    square_UD = state["exp_avg_sq"][row_U].mul_(beta2).addcmul_(grad_UD, grad_UD, value=1 - beta2)
    state["exp_avg"][row_U], state["exp_avg_sq"][row_U] = mean_UD, square_UD
    steps = state["step"].item()
    scale_UD = square_UD.sqrt_().div_(math.sqrt(1 - beta2**steps)).add_(group["eps"])
    table[row_U] = value_UD.addcdiv_(mean_UD, scale_UD, value=-rate / (1 - beta1**steps))
