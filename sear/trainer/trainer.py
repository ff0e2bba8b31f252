"""SEARTrainer: RecBole's Trainer with exact resume, one evaluation pass, and all randomness a function of the seed."""

import random
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from logging import getLogger
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.trainer import Trainer
from recbole.trainer.trainer import AbstractTrainer
from recbole.utils import get_local_time
from tqdm import tqdm

from sear.data.dataset import require_sear_dataset
from sear.errors import InputError
from sear.evaluation.metrics import metrics_by_row, summarise
from sear.evaluation.ranks import Ranks, case_ranks
from sear.memory import enough_memory_to
from sear.model.next_item import NextItemModel
from sear.processes import add_up
from sear.trainer.averaging import AveragedWeights
from sear.trainer.checkpoint import LAST, Checkpoints
from sear.trainer.mixing import Mixing
from sear.trainer.sparse_rows import Rows, clip_gradients, step_rows, touched_rows, use_sparse_gradients
from sear.trainer.team import Team
from sear.trainer.tracking import Tracking


def describe_epoch(row: dict, best: bool) -> str:
    """One line on an epoch of `history`."""
    metrics = ", ".join(f"{name[6:]} {value:.4f}" for name, value in row.items() if name.startswith("valid_"))
    loss = "" if row["loss"] is None else f"loss {row['loss']:.4f}, "
    line = f"epoch {row['epoch']:3d}: {loss}{row['seconds']:.1f} s"
    return f"{line}, valid {metrics}{' *' if best else ''}" if metrics else line


class SEARTrainer(Trainer):
    """Trains any RecBole sequential model on a SEARDataset.

    After each epoch the best and the last checkpoint are written aside and renamed; `resume_checkpoint` goes on from
    the last one as if nothing had happened. `history` holds one dict per epoch: epoch, lr, loss, seconds and the
    validation metrics. With a `team` several processes make its steps and rank its cases, to the same end.
    """

    team: Team | None = None
    # what a step's memory grows with, besides its batch
    sizes: tuple[str, ...] = ("MAX_ITEM_LIST_LENGTH", "mask_copies", "hidden_size", "soft_label_length")

    def __init__(self, config, model):
        AbstractTrainer.__init__(self, config, model)  # Trainer's own opens ./log_tensorboard and two evaluators
        self.logger = getLogger()
        self.tracking = Tracking(config)
        self.seed, self.device = config["seed"], config["device"]
        self.learner, self.learning_rate = config["learner"], config["learning_rate"]
        self.weight_decay, self.clip_grad_norm = config["weight_decay"], config["clip_grad_norm"]
        self.epochs, self.stopping_step = config["epochs"], config["stopping_step"]
        self.eval_step = min(config["eval_step"], self.epochs)
        self.valid_metric, self.valid_metric_bigger = config["valid_metric"].lower(), config["valid_metric_bigger"]
        self.valid_protocol = config["valid_protocol"] or "kept"
        self.valid_smoothing = config["valid_smoothing"] or 1
        self.metrics, self.topk = config["metrics"], config["topk"]
        self.enable_amp = config["enable_amp"]
        self.start_epoch = self.cur_step = 0
        self.finished = False
        self.best_valid_score = -np.inf if self.valid_metric_bigger else np.inf
        self.best_epoch, self.best_valid_result = None, None
        self.history: list[dict] = []
        self.optimizer = self._build_optimizer()
        decay = config["learning_rate_decay"] or 1.0
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, decay)
        self.warmup_steps, self.steps = config["warmup_steps"] or 0, 0  # steps so far, over all sessions
        self.averaged = AveragedWeights(model, config["ema_decay"]) if config["ema_decay"] else None
        self.mixing = Mixing(self)
        self.fit_seconds = 0.0  # over all sessions of a resumed run
        self.on_epoch_end = None  # called after the checkpoints of an epoch are written
        name = str(Path(config["checkpoint_dir"]) / f"{config['model']}-{get_local_time()}")
        files = Path(f"{name}.pth"), Path(f"{name}{LAST}")
        self.checkpoints = Checkpoints(config["model"], config["dataset"], *files, self.device)

    def average_anew(self) -> None:
        """Begin the averaged weights with the weights as they are, which somebody has set."""
        if self.averaged:
            self.averaged = AveragedWeights(self.model, self.averaged.decay)

    @property
    def saved_model_file(self) -> str:
        """RecBole's name for the best checkpoint's path."""
        return str(self.checkpoints.best)

    def resume_checkpoint(self, resume_file) -> None:
        """Go on after the epoch of a last checkpoint. Raises InputError where the file is not one."""
        learning = {"optimizer": self.optimizer, "scheduler": self.scheduler}
        learning |= {"averaged": self.averaged} if self.averaged else {}
        state = self.checkpoints.load_last(resume_file, self.model, learning)
        self.start_epoch, self.cur_step, self.finished = state["epoch"] + 1, state["cur_step"], state["finished"]
        self._know_best(state)
        self.history, self.fit_seconds, self.steps = state["history"], state["fit_seconds"], state["steps"]

    def know_training(self, best: Mapping[str, Any], history: list[dict[str, Any]], fit_seconds: float) -> None:
        """Tell of a training that another run has done; the model has its weights already.

        Args:
            best: its best checkpoint.
            history: all its epochs.
        """
        self._know_best(best)
        self.history, self.fit_seconds = history, fit_seconds

    def _know_best(self, state: Mapping[str, Any]) -> None:
        result = state["best_valid_result"]
        self.best_valid_score, self.best_epoch = state["best_valid_score"], state["best_epoch"]
        self.best_valid_result = OrderedDict(result) if result else None

    def _save(self, epoch: int, improved: bool) -> None:
        progress = {
            "epoch": epoch,
            "cur_step": self.cur_step,
            "finished": self.finished,
            "best_epoch": self.best_epoch,
            "best_valid_score": float(self.best_valid_score),
            "best_valid_result": dict(self.best_valid_result) if self.best_valid_result else None,
            "history": self.history,
            "fit_seconds": self.fit_seconds,
            "steps": self.steps,
        }
        weights = self.model.state_dict()
        learning = {"optimizer": self.optimizer.state_dict(), "scheduler": self.scheduler.state_dict()}
        if self.averaged:
            learning["averaged"] = self.averaged.state_dict()
        best = (self.averaged.over(weights) if self.averaged else weights) if improved else None
        self.checkpoints.save(self.model, progress, learning, best)

    def _build_optimizer(self, **kwargs) -> torch.optim.Optimizer:
        bias = getattr(self.model, "repeat_bias", None)
        if bias is not None:  # one number has its own way to go: without weight decay, and in larger steps
            others = [parameter for parameter in self.model.parameters() if parameter is not bias]
            own = {"params": [bias], "lr": self.config["repeat_bias_lr"], "weight_decay": 0.0}
            kwargs["params"] = [{"params": others}, own]
        optimizer = super()._build_optimizer(**kwargs)
        if isinstance(optimizer, (torch.optim.Adam, torch.optim.AdamW)):
            for group in optimizer.param_groups:
                group["fused"] = True  # one pass over the parameters; the same update
            if getattr(self.model, "sampler", None) is not None:
                use_sparse_gradients(self.model, self.model.n_items)
        return optimizer

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        """Train until `epochs` or early stopping; returns (best validation score, best validation metrics)."""
        require_sear_dataset(train_data._dataset, "SEARTrainer")
        self.tracking.open()
        self.checkpoints.events_hash = train_data._dataset.events_hash
        if hasattr(train_data, "get_model"):
            train_data.get_model(self.model)
        with self.asking("begin", self.scheduler.state_dict(), self.steps):
            if self.team:
                self.team.take_weights()
                self.team.take_state(self.optimizer)
        for epoch in range(self.start_epoch, self.epochs):
            if self.finished:
                break
            started = perf_counter()
            lr = self.optimizer.param_groups[0]["lr"]
            with self.asking("train_epoch", epoch):
                loss = self.train_epoch(train_data, epoch, show_progress)
            if loss is not None and not np.isfinite(loss):
                remedy = "lower learning_rate or set clip_grad_norm"
                raise InputError(f"epoch {epoch}: the training loss is {loss} - {remedy}")
            row = {"epoch": epoch, "lr": lr, "loss": loss, "seconds": perf_counter() - started}
            if getattr(self.model, "repeat_bias", None) is not None:
                row["repeat_bias"] = self.model.repeat_bias.item()
            validates = bool(valid_data) and self.eval_step > 0
            improved = not validates  # without validation the newest epoch is the best known
            if validates and (epoch + 1) % self.eval_step == 0:
                improved = self._validate(epoch, valid_data, row, callback_fn)
            self.history.append(row)
            self.tracking.log_epoch(row)
            if verbose:
                self.logger.info(describe_epoch(row, self.best_epoch == epoch))
            self.fit_seconds += perf_counter() - started
            if saved:
                self._save(epoch, improved)
            if self.on_epoch_end:
                self.on_epoch_end()
        return self.best_valid_score, self.best_valid_result

    def asking(self, what: str, *arguments: Any) -> AbstractContextManager[None]:
        return self.team.asks(what, *arguments) if self.team else nullcontext()

    def train_epoch(self, train_data, epoch: int, show_progress: bool = False) -> float | None:
        """One pass over the training rows, and the learning rate after it; returns the mean loss per loss position."""
        with enough_memory_to("train", self.told_sizes("train_batch_size", *self.sizes)):
            loss = self._train_epoch(train_data, epoch, show_progress=show_progress)
        self.scheduler.step()
        return loss

    def _validate(self, epoch: int, valid_data, row: dict, callback_fn) -> bool:
        score, result = self._valid_epoch(valid_data)
        row.update({f"valid_{name}": value for name, value in result.items()})
        if self.valid_smoothing > 1:
            earlier = [self._score(old, "valid_") for old in self.history if f"valid_{self.valid_metric}" in old]
            score = row["valid_score"] = float(np.mean([*earlier, score][-self.valid_smoothing :]))
        improved = score > self.best_valid_score if self.valid_metric_bigger else score < self.best_valid_score
        if improved:  # a tie does not count, unlike in RecBole's early_stopping
            self.best_valid_score, self.best_epoch, self.best_valid_result = score, epoch, result
        self.cur_step = 0 if improved else self.cur_step + 1
        self.finished = self.cur_step > self.stopping_step
        if callback_fn:
            callback_fn(epoch, score)
        return improved

    def validation(self, valid_data, show_progress: bool = False) -> OrderedDict:
        """The metrics of a validation with the model's weights as they are; with seen items filtered, `filtered_…`."""
        ranks = self.rank_cases(valid_data, show_progress, mask_history=self.valid_protocol != "kept")
        return self._both_protocols(ranks)

    def _valid_epoch(self, valid_data, show_progress=False):
        """This epoch's own score, not smoothed, and its metrics."""
        with self.averaged.in_use() if self.averaged else nullcontext():
            result = self.validation(valid_data, show_progress)
        return self._score(result), result

    def _both_protocols(
        self,
        ranks: tuple[np.ndarray | None, ...],
        metrics: list[str] | None = None,
        topk: list[int] | None = None,
    ) -> OrderedDict:
        kept, filtered = (self._means(part, metrics, topk) if part is not None else {} for part in ranks)
        return OrderedDict(kept | {f"filtered_{name}": value for name, value in filtered.items()})

    def score_of_ranks(self, *ranks: np.ndarray | None) -> float:
        """What validation makes of ranks, kept and filtered; a finished run may be tested with other metrics."""
        metric, _, k = self.valid_metric.partition("@")
        return self._score(self._both_protocols(ranks, [metric], [int(k)]))

    def _means(
        self, ranks: np.ndarray, metrics: list[str] | None = None, topk: list[int] | None = None
    ) -> dict[str, float]:
        means = summarise(metrics_by_row(ranks, metrics or self.metrics, topk or self.topk))
        return cast("dict[str, float]", means)  # a validation has cases

    def _score(self, result: Mapping[str, float], prefix: str = "") -> float:
        """What `valid_protocol` makes of a validation's metrics."""
        names = {"kept": [""], "filtered": ["filtered_"], "mean": ["", "filtered_"]}[self.valid_protocol]
        return float(np.mean([result[f"{prefix}{name}{self.valid_metric}"] for name in names]))

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False) -> float | None:
        """One pass over the training rows; returns the mean loss per loss position."""
        self.model.train()
        loss_func = loss_func or self.model.calculate_loss
        batches = train_data._dataset.epoch_batches(self.seed, epoch_idx)
        loss_count = train_data._dataset.rows.loss_count
        total, targets = torch.zeros((), dtype=torch.float64, device=self.device), 0
        bar = tqdm(
            batches, desc=f"epoch {epoch_idx}", unit="batch", disable=None if show_progress else True, leave=False
        )
        started, shown = perf_counter(), 0.0
        whole = self._batches(train_data, batches)
        for step, index in enumerate(bar):
            seed = step_seed(self.seed, epoch_idx, step)
            seed_all(seed)
            if self.team:
                batch, loss_of = self.team.share(train_data, index, seed, loss_func)
                seed_all(step_seed(self.seed, epoch_idx, step, self.team.rank))  # for what is not drawn for all alike
            else:
                batch, loss_of = next(whole), loss_func
            loss = self._train_step(self.to_device(batch, training=True), loss_of)
            count = int(loss_count[index].sum())
            total += loss.detach().squeeze() * count  # a few of RecBole's models give a loss of shape (1,)
            targets += count
            if show_progress and perf_counter() - shown > 0.5:  # looking at the loss waits for the device
                shown = perf_counter()
                rate = targets / (shown - started)
                bar.set_postfix_str(f"loss {total.item() / targets:.4f}, {rate:,.0f} targets/s", refresh=False)
        return (add_up(total) if self.team else total).item() / targets

    def _batches(self, train_data, batches: list[np.ndarray]) -> Iterator[Interaction]:
        """Each batch once it is asked for; on a GPU it is cut a step ahead, while the kernels before it are launched.

        What is drawn at random (negative items, RecBole's transforms) is drawn with the seed of its step: it waits.
        """
        draws = self.config["train_neg_sample_args"]["distribution"] != "none" or self.config["transform"]
        if self.device.type != "cuda" or draws:
            yield from map(train_data.collate_fn, batches)
            return
        with ThreadPoolExecutor(1) as cutter:
            ready = None
            for index in batches:
                coming = cutter.submit(train_data.collate_fn, index)
                if ready:
                    yield ready.result()
                ready = coming
            if ready:
                yield ready.result()

    def _train_step(self, interaction: Interaction, loss_func) -> torch.Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.enable_amp):
            losses = loss_func(interaction)
        loss = cast(torch.Tensor, sum(losses) if isinstance(losses, tuple) else losses)
        loss.backward()
        if self.team:
            self.team.add_up_rows()
        rows = touched_rows(self.model)
        if self.clip_grad_norm:
            clip_gradients(self.model.parameters(), **self.clip_grad_norm)
        self._optimizer_step(rows)
        return loss

    def _optimizer_step(self, rows: Rows) -> None:
        """One step of the optimiser, at a lower rate during warm-up, and its share in the averaged weights."""
        self.steps += 1
        groups = self.optimizer.param_groups
        rates = [group["lr"] for group in groups]
        if self.steps < self.warmup_steps:
            for group in groups:
                group["lr"] *= self.steps / self.warmup_steps
        if self.averaged:
            self.averaged.catch_up(rows)
        step_rows(self.optimizer, rows)
        self.optimizer.step()
        for group, rate in zip(groups, rates, strict=True):  # the schedule of the epochs knows nothing of warm-up
            group["lr"] = rate
        if self.averaged:
            self.averaged.update(rows)

    def to_device(self, interaction: Interaction, training: bool = False) -> Interaction:
        if self.device.type == "cpu":
            return interaction
        fields = dict(interaction.interaction)
        if training and isinstance(self.model, NextItemModel):
            positions = self.model.loss_positions(interaction, whole=self.team is None)
            fields |= {} if positions is None else {"loss_position": positions}
        pinned = {name: value.pin_memory() for name, value in fields.items()}
        return Interaction({name: value.to(self.device, non_blocking=True) for name, value in pinned.items()})

    def evaluate(self, eval_data, load_best_model=True, model_file=None, show_progress=False) -> OrderedDict:
        """Mean metrics over the cases of `eval_data`, e.g. {"hit@10": …}, in one pass over them."""
        require_sear_dataset(eval_data._dataset, "SEARTrainer")
        if load_best_model:
            prior = getattr(self.model, "transition_prior", None)
            mix = None if prior is None else prior.mix.clone()  # chosen after training: no checkpoint holds it
            self.checkpoints.events_hash = eval_data._dataset.events_hash
            self.checkpoints.load_best(self.model, model_file)
            if prior is not None:
                prior.mix.copy_(mix)
        ranks, _ = self.rank_cases(eval_data, show_progress, mask_history=False)  # nobody asks for the others
        result = OrderedDict(self._means(ranks))
        self.tracking.log_test(result, self.tested_epoch)
        return result

    @property
    def tested_epoch(self) -> int:
        """The epoch of the best checkpoint: of those trained the last one, where none was validated."""
        return max(len(self.history) - 1, 0) if self.best_epoch is None else self.best_epoch

    def rank_cases(self, eval_data, show_progress=False, mask_history: bool | None = None) -> Ranks:
        """The ranks of all cases, see sear.evaluation.ranks.case_ranks; `mask_history` None is as configured."""
        asked = self.config["mask_history"] if mask_history is None else mask_history
        with self.asking("rank_cases", eval_data._dataset.part, asked):
            return self.rank_share(eval_data, asked, show_progress)

    def rank_share(self, eval_data, mask_history: bool, show_progress: bool = False) -> Ranks:
        """The same, where the others of a team have been asked."""
        find = self.team.ranks if self.team else partial(case_ranks, self.model)
        with enough_memory_to("evaluate", self.told_sizes("eval_batch_size", *self.sizes)):
            return find(eval_data, self.to_device, self.config["eval_batch_size"], mask_history, show_progress)

    def told_sizes(self, *keys: str) -> dict[str, Any]:
        """Keys that decide how much memory is taken, with their values: first those that are far beyond the usual."""
        found = {key: self.config[key] for key in keys if isinstance(self.config[key], int)}
        usual = {key: self.checkpoints.usual.get(key) or value for key, value in found.items()}
        return dict(sorted(found.items(), key=lambda entry: -entry[1] / usual[entry[0]]))


def step_seed(seed: int, *place: int) -> int:
    """The seed of one training step's dropout: a stop between two steps changes nothing that comes after.

    Args:
        place: epoch and step, and for what each process draws for itself its number.
    """
    return int(np.random.SeedSequence([seed, *place]).generate_state(1, np.uint64)[0]) >> 1


def seed_all(seed: int) -> None:
    """Every generator that a step may draw from: dropout torch's, RecBole's negative sampling NumPy's and Python's."""
    torch.manual_seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    random.seed(seed)
