"""Randomness as a function of (seed, epoch, step): what has been drawn before leaves no trace."""

import random

import numpy as np
import torch


def step_seed(seed: int, epoch: int, step: int) -> int:
    """The seed of one training step's dropout: a stop between two steps changes nothing that comes after."""
    return int(np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)[0]) >> 1


def seed_all(seed: int) -> None:
    """Every generator that a step may draw from: dropout torch's, RecBole's negative sampling NumPy's and Python's."""
    torch.manual_seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    random.seed(seed)
