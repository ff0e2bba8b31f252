"""The import that plain RecBole scripts use: `from sear.dataset import SEARDataset`."""

from sear.data.dataset import SEARDataset

__all__ = ["SEARDataset"]
