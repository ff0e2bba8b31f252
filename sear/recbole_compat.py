"""What RecBole 1.2.1, its last release, needs mended on current Python and NumPy; importing this module mends it.

RecBole is mended from outside, its files stay as they are. Another RecBole program in the same process keeps working:
names are only put back where they are missing, and mean what they meant in NumPy 1.

- NumPy 2 removed `float_`, `complex_` and `unicode_`, which `recbole.config.Config` reads whenever one is made: they
  are put back.
- `recbole.evaluator` and `recbole.data` read `np.float` and others of NumPy's oldest names, which RecBole sets when
  the first Config is made: `restore_old_names` sets them for code that runs without a Config.
- RecBole's SINE turns torch's anomaly detection on for the whole process when `recbole.model.sequential_recommender`
  is imported, which slows every backward pass: `anomaly_detection_kept` leaves the switch as it was.

Nothing is mended for Ray, which RecBole's metadata asks for in a version that ends at Python 3.11: only
`recbole.quick_start` imports it, and SEAR never imports that. Nor for pandas 3: SEARDataset reads the atomic files
itself. RecBole's own Dataset, in a script of one's own, fails there on columns of type token_seq and leaves missing
numbers unfilled; such a script wants `pandas<3`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

_REMOVED_IN_NUMPY_2 = {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}

for _name, _type in _REMOVED_IN_NUMPY_2.items():
    if _name not in vars(np):
        setattr(np, _name, _type)


def restore_old_names() -> None:
    """NumPy's oldest names (`np.float`, …), as RecBole's own Config restores them."""
    from recbole.config import Config

    if "float" not in vars(np):
        Config.compatibility_settings(None)  # uses nothing of its Config


@contextmanager
def anomaly_detection_kept() -> Iterator[None]:
    """Whatever the block imports, torch's anomaly detection is on afterwards only if it was on before."""
    import torch

    before = torch.is_anomaly_enabled()
    try:
        yield
    finally:
        torch.autograd.set_detect_anomaly(before)
