"""Small real parts for the tests: a data set of a few users, its text embeddings, and the config that reads it."""

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach for a network
os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"  # as for all processes that train together
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each core has a worker of its own

import numpy as np
import pytest

import sear  # noqa: F401  (before torch, for its thread settings)

# isort: split
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported first: its kernels then run on the CPU

with suppress(ImportError):  # tests on a GPU need none of it
    import hypothesis

    hypothesis.settings.register_profile("sear", deadline=None)  # how long an example takes says nothing here
    hypothesis.settings.load_profile("sear")

signal.signal(signal.SIGINT, signal.default_int_handler)  # a script in the background passes on that it is ignored

TITLES = ("Salt", "Pepper", "Thyme", "Rosemary", "Saffron", "Basil", "Cumin", "Dill")


def write_atomic_files(folder, name, histories, ratings=True, items=30):
    """histories: user -> list of (item, rating, time); the .item file lists `items` items with title and kind."""
    directory = folder / name
    directory.mkdir(parents=True, exist_ok=True)
    lines = ["user_id:token\titem_id:token" + ("\trating:float" if ratings else "") + "\ttimestamp:float"]
    for user, events in histories.items():
        for item, rating, time in events:
            lines.append(f"{user}\t{item}" + (f"\t{rating}" if ratings else "") + f"\t{time}")
    (directory / f"{name}.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [f"i{i}\t{TITLES[i % len(TITLES)]} no. {i}\tspice {i % 5}" for i in range(items)]
    (directory / f"{name}.item").write_text(
        "\n".join(["item_id:token\ttitle:token_seq\tkind:token", *rows]) + "\n", encoding="utf-8"
    )
    return directory


def random_histories(users=40, items=30, longest=30, seed=0):
    random = np.random.default_rng(seed)
    histories = {}
    for user in range(users):
        count = int(random.integers(5, longest))
        times = np.sort(random.integers(0, 1000, count)) + 881250000
        histories[f"u{user}"] = [
            (f"i{random.integers(items)}", int(random.integers(1, 6)), int(time)) for time in times
        ]
    return histories


def fake_sentence_vectors(sentences, *_, **__):
    """Text embeddings without an encoder: 24 random numbers per sentence, the same in every run."""
    return np.random.default_rng(1).standard_normal((len(sentences), 24)).astype(np.float32)


@pytest.fixture
def tiny_text(monkeypatch):
    monkeypatch.setattr("sear.data.text_cache.sentence_vectors", fake_sentence_vectors)


def tiny_config_root(folder):
    """A copy of config/ in `folder` that also knows the data set `tiny`, whose atomic files are in folder/tiny."""
    root = folder / "config"
    if not root.exists():
        shutil.copytree(Path(__file__).parent.parent / "config", root)
    (root / "data" / "tiny.yaml").write_text(f"data_path: {folder}\n", encoding="utf-8")
    return root


TOY = {
    "hidden_size": 8, "num_layers": 1, "num_heads": 2, "d_state": 4, "MAX_ITEM_LIST_LENGTH": 10, "epochs": 2,
    "train_batch_size": 128, "seed": 1, "use_gpu": False, "show_progress": False,
    "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"], "item": ["item_id", "title", "kind"]},
    "user_inter_num_interval": "[5,inf)", "item_inter_num_interval": "[5,inf)",
}  # fmt: skip


@pytest.fixture
def tiny_config(monkeypatch):
    """A function (folder, model, **changes) -> RecBole Config at toy size on the data set `tiny` in that folder."""
    from sear.settings.recbole_config import build_config

    def build(folder, model="SEAR", **changes):
        monkeypatch.setattr("sear.settings.gather.CONFIG_ROOT", tiny_config_root(folder))
        return build_config("tiny", model, TOY | changes)

    return build


@pytest.fixture
def here(tmp_path, monkeypatch, tiny_text):
    """A folder with the tiny data set, known by name."""
    write_atomic_files(tmp_path, "tiny", random_histories())
    monkeypatch.setattr("sear.settings.gather.CONFIG_ROOT", tiny_config_root(tmp_path))
    return tmp_path


@pytest.fixture
def tiny_model(tmp_path, tiny_config):
    """A function (model name, histories, **changes) -> (float64 model in evaluation mode, training part, test part)."""
    import torch
    from recbole.data import data_preparation

    from sear.data.dataset import SEARDataset
    from sear.settings.recbole_config import model_class

    def build(name, histories=None, **changes):
        write_atomic_files(tmp_path, "tiny", histories or random_histories())
        config = tiny_config(tmp_path, name, **changes)
        torch.manual_seed(0)
        train, _, test = data_preparation(config, SEARDataset(config))
        return model_class(name)(config, train._dataset).double().eval(), train._dataset, test._dataset

    return build


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """The folder of a report on tests.helpers.finished_runs.write_grid; tests leave it as it is."""
    from sear.report import make_report
    from tests.helpers.finished_runs import write_grid

    results = write_grid(tmp_path_factory.mktemp("grid") / "results")
    return make_report([results], command="python -m sear.report <results>").parent


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory):
    """The folder of a finished run of SEAR on the data set `tiny`; tests leave it as it is."""
    from tests.helpers.used_model import toy_run

    folder = tmp_path_factory.mktemp("toy_model")
    write_atomic_files(folder, "tiny", random_histories())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sear.data.text_cache.sentence_vectors", fake_sentence_vectors)
        patch.setattr("sear.settings.gather.CONFIG_ROOT", tiny_config_root(folder))
        return toy_run(folder)


@pytest.fixture
def no_figures(monkeypatch):
    """For what figures have no part in: drawing takes most of a report's time."""
    monkeypatch.setattr("sear.report.sections._figures", lambda *args: {})
