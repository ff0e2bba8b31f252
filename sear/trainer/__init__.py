"""Training: epochs, early stopping, exact resume; `from sear.trainer import SEARTrainer`."""

__all__ = ["SEARTrainer"]


def __getattr__(name: str):
    """SEARTrainer, imported when first asked for: RecBole takes seconds."""
    if name == "SEARTrainer":
        from sear.trainer.trainer import SEARTrainer

        return SEARTrainer
    raise AttributeError(f"module 'sear.trainer' has no attribute {name!r}")
