"""The trainer of models that count once instead of learning by gradient."""

from sear.trainer.trainer import SEARTrainer


class CountingTrainer(SEARTrainer):
    """One epoch, in which the model counts the training events; no learning rate, no loss, no gradient."""

    sizes = ("k",)

    def __init__(self, config, model):
        super().__init__(config, model)
        self.epochs = self.eval_step = 1

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False) -> None:
        self.model.count(train_data._dataset)
        self.optimizer.step()  # of nothing; the scheduler warns when it comes first

    def _validate(self, epoch: int, valid_data, row: dict, callback_fn) -> bool:
        row["lr"] = None
        return super()._validate(epoch, valid_data, row, callback_fn)
