"""What RecBole 1.2.1, its last release, needs mended on current Python and NumPy: on import, or by a call.

RecBole is mended from outside, its files stay as they are. Another RecBole program in the same process keeps working:
names are only put back where they are missing, and mean what they meant in NumPy 1.

- NumPy 2 removed `float_`, `complex_` and `unicode_`, which `recbole.config.Config` reads whenever one is made: they
  are put back.
- `recbole.evaluator` and `recbole.data` read `np.float` and others of NumPy's oldest names, which RecBole sets when
  the first Config is made: `restore_old_names` sets them for code that runs without a Config.
- RecBole's SINE turns torch's anomaly detection on for the whole process when `recbole.model.sequential_recommender`
  is imported, which slows every backward pass: `anomaly_detection_kept` leaves the switch as it was.
- `recbole.quick_start.load_data_and_model` fails on a SEAR checkpoint, which holds no pickled Config, with a KeyError
  that says nothing: it is told there what reads the file.

Nothing is mended for Ray, which RecBole's metadata asks for in a version that ends at Python 3.11: only
`recbole.quick_start` imports it, and SEAR never imports that. Nor for pandas 3: SEARDataset reads the atomic files
itself. RecBole's own Dataset, in a script of one's own, fails there on columns of type token_seq and leaves missing
numbers unfilled; such a script wants `pandas<3`.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder

import numpy as np

from sear.errors import InputError

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


class _TellOfCheckpoints(MetaPathFinder):
    """Mends `load_data_and_model` as soon as RecBole's quick_start, which needs Ray, is imported by anybody."""

    name = "recbole.quick_start.quick_start"

    def find_spec(self, fullname, path=None, target=None):
        spec = PathFinder.find_spec(fullname, path, target) if fullname == self.name else None
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: (_execute(execute, module), _mend_loading(module))
        return spec


def _execute(execute: Callable, module) -> None:
    """RecBole's quick_start. Raises ModuleNotFoundError, with what does without it, where Ray is missing."""
    try:
        execute(module)
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        told = "recbole.quick_start needs ray, which is not installed - use sear.quick_start (run_sear, resume, …)"
        raise ModuleNotFoundError(told, name="ray") from None


def _mend_loading(module) -> None:
    theirs = module.load_data_and_model

    def load_data_and_model(model_file):
        """RecBole's own. Raises InputError for a checkpoint of SEAR."""
        import torch

        try:
            state = torch.load(model_file, map_location="cpu", weights_only=True)
        except Exception:  # RecBole's own checkpoints hold a Config, and what else is wrong RecBole will say
            state = None
        if isinstance(state, dict) and str(state.get("format")).startswith("sear-checkpoint"):
            raise InputError(
                f"{model_file} is a checkpoint of SEAR, which RecBole's load_data_and_model cannot read - use"
                " sear.quick_start.evaluate(RUN_FOLDER), or SEARTrainer's evaluate(test_data, model_file=PATH)"
            )
        return theirs(model_file)

    module.load_data_and_model = load_data_and_model


if _TellOfCheckpoints.name in sys.modules:
    _loaded = sys.modules[_TellOfCheckpoints.name]
    _mend_loading(_loaded)
    vars(sys.modules["recbole.quick_start"])["load_data_and_model"] = vars(_loaded)["load_data_and_model"]
else:
    sys.meta_path.insert(0, _TellOfCheckpoints())
