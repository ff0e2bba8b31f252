"""RecBole's own helpers on a SEARDataset: they find each user's rows, as on RecBole's datasets."""

import importlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.data import data_preparation
from recbole.data.dataset import SequentialDataset
from recbole.utils.case_study import full_sort_scores, full_sort_topk

from sear.data.dataset import SEARDataset
from sear.settings.recbole_config import model_class
from sear.trainer.checkpoint import save_checkpoint
from tests.conftest import random_histories, write_atomic_files


@pytest.fixture
def made(tmp_path, tiny_config, tiny_text):
    """A function (**changes) -> (dataset, loaders, model in evaluation mode)."""

    def build(histories=None, **changes):
        write_atomic_files(tmp_path, "tiny", histories or random_histories())
        config = tiny_config(tmp_path, **changes)
        dataset = SEARDataset(config)
        loaders = data_preparation(config, dataset)
        torch.manual_seed(0)
        return dataset, loaders, model_class("SEAR")(config, loaders[0].dataset).eval()

    return build


def an_hour_apart():
    """Histories whose order survives float32, through which RecBole's own dataset takes the times."""
    return {
        user: [(item, rating, 881250000 + 3600 * place) for place, (item, rating, _) in enumerate(events)]
        for user, events in random_histories().items()
    }


def test_full_sort_scores_and_topk_are_those_of_the_users_asked_for(made):
    dataset, (_, valid, test), model = made()
    asked = dataset.token2id("user_id", ["u7", "u3"])
    for loader in (valid, test):
        found = full_sort_scores(asked, model, loader)
        best = full_sort_topk(asked, model, loader, k=5)[1]
        assert found.shape == (2, dataset.item_num) and best.shape == (2, 5)
        for row, user in enumerate(asked):
            (case,) = np.flatnonzero(loader.dataset.rows.user + 1 == user)
            own = model.full_sort_predict(loader.collate_fn(np.array([case]))[0])[0].detach()
            torch.testing.assert_close(found[row, 1:], own[1:])
            assert best[row].tolist() == own[1:].topk(5).indices.add(1).tolist()


@pytest.mark.skipif(pd.__version__ >= "3", reason="RecBole's own Dataset, to compare with, fails with pandas 3")
@pytest.mark.parametrize("train_rows", ["windows", "prefixes"])
def test_inter_matrix_counts_what_recboles_own_does(made, train_rows):
    dataset, loaders, _ = made(histories=an_hour_apart(), train_rows=train_rows)
    theirs = SequentialDataset(dataset.config)
    counted = dataset.inter_matrix().toarray()
    assert counted.sum() == len(dataset.events)
    for ours, stock in zip((loader.dataset for loader in loaders), theirs.build(), strict=True):
        users = theirs.token2id("user_id", dataset.field2id_token["user_id"])
        items = theirs.token2id("item_id", dataset.field2id_token["item_id"])
        assert (ours.inter_matrix("csr").toarray() == stock.inter_matrix("csr").toarray()[np.ix_(users, items)]).all()
        counted = counted - ours.inter_matrix().toarray()
    assert not counted.any()


@pytest.mark.long
@pytest.mark.parametrize("first", ["recbole.quick_start", "sear.dataset"])
def test_load_data_and_model_names_what_reads_a_checkpoint_of_sear(tmp_path, first):
    pytest.importorskip("ray")  # RecBole's quick_start imports it
    path = tmp_path / "best.pth"
    save_checkpoint(path, {"state_dict": {}})
    code = f"import {first}, sear.dataset; import recbole.quick_start as q; q.load_data_and_model({str(path)!r})"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert "best.pth is a checkpoint of SEAR, which RecBole's load_data_and_model cannot read - use" in done.stderr


def test_recboles_quick_start_without_ray_names_what_does_without(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in [name for name in sys.modules if name.startswith("recbole.quick_start")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModuleNotFoundError, match="needs ray, which is not installed - use sear.quick_start"):
        importlib.import_module("recbole.quick_start.quick_start")
