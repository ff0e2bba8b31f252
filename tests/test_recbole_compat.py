"""RecBole 1.2.1 on the NumPy and pandas that are installed, in processes of its own."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sear.recbole_compat  # noqa: F401
from sear.files import PROJECT_ROOT

SEAR = PROJECT_ROOT / "sear"


def python(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import sys\nsys.path.insert(0, {str(PROJECT_ROOT)!r})\n{code}"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_names_that_numpy_2_removed_mean_what_they_meant():
    assert (np.float_, np.complex_, np.unicode_) == (np.float64, np.complex128, np.str_)
    assert np.float_(1) + np.float_(2) == 3.0 and np.array(["a"]).dtype.type is np.unicode_


def test_names_that_numpy_still_has_stay_as_they_are():
    kept = "float32, int_, str_, bool_, object_"
    code = f"from numpy import *\nimport numpy as np\nbefore = {kept}\nimport sear.recbole_compat\n"
    assert python(code + "print(before == (np.float32, np.int_, np.str_, np.bool_, np.object_))", SEAR) == "True\n"


@pytest.mark.long
def test_a_recbole_script_of_ones_own_works_beside_sear(tmp_path):
    """RecBole's Config, Dataset, loaders, model and metrics, with SEAR imported first."""
    code = """
sys.argv = ["script.py"]
from sear.dataset import SEARDataset
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

values = {
    "epochs": 1, "use_gpu": False, "show_progress": False, "hidden_size": 8, "inner_size": 8, "n_layers": 1,
    "n_heads": 1, "train_neg_sample_args": None, "MAX_ITEM_LIST_LENGTH": 5, "train_batch_size": 4096, "state": "ERROR",
    "user_inter_num_interval": "[250,inf)", "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
}
config = Config(model="SASRec", dataset="ml-100k", config_dict=values)
init_seed(1, True)
train, valid, test = data_preparation(config, create_dataset(config))
model = get_model("SASRec")(config, train.dataset)
trainer = get_trainer(config["MODEL_TYPE"], "SASRec")(config, model)
trainer.fit(train, valid, saved=False, show_progress=False)
print(sorted(trainer.evaluate(test, load_best_model=False)))
"""
    assert python(code, tmp_path) == "['hit@10', 'mrr@10', 'ndcg@10', 'precision@10', 'recall@10']\n"


@pytest.mark.long
def test_metrics_need_no_config(tmp_path):
    code = "from sear.evaluation.metrics import metrics_by_row\nprint(metrics_by_row([1, 2, 11], ['MAP', 'MRR']))"
    assert "mrr@10" in python(code, tmp_path)


def test_a_missing_recbole_is_one_line_that_says_how_to_install_it(tmp_path):
    without = "import importlib.util as util\nfind = util.find_spec\n"
    without += "util.find_spec = lambda name, *more: None if name == 'recbole' else find(name, *more)\n"
    remedy = "error: RecBole is not installed - run: pip install --no-deps recbole==1.2.1\n"
    code = f"{without}from sear.cli.commands import main\nsys.stderr = sys.stdout\nprint(main(['train']))"
    assert python(code, tmp_path) == f"{remedy}2\n"
    code = (
        f"{without}import sear\ntry:\n    sear.run_sear\nexcept sear.InputError as error:\n    print('error:', error)"
    )
    assert python(code, tmp_path) == remedy


@pytest.mark.parametrize("path", sorted(SEAR.rglob("*.py")), ids=lambda path: str(path.relative_to(SEAR)))
def test_nothing_imports_ray_or_what_would_import_it(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not [name for name in names if name.startswith(("ray", "recbole.quick_start", "plotly", "thop"))]
