"""What decides on the best epoch and on the end: the protocol, the smoothing, the patience."""

from collections import OrderedDict
from pathlib import Path

import pandas as pd
import pytest
import torch

from sear.evaluation.metrics import metrics_by_row, summarise
from sear.trainer.trainer import SEARTrainer
from tests.helpers.killed_run import run

SCORES = [0.10, 0.30, 0.14, 0.28, 0.21, 0.02, 0.01, 0.01, 0.01]


@pytest.fixture
def scored(monkeypatch):
    """Validations give SCORES, whatever the model says."""
    scores = iter(SCORES)

    def validate(self, valid_data, show_progress=False):
        result = OrderedDict({"hit@10": 0.5, "ndcg@10": 0.4, "mrr@10": next(scores)})
        return self._score(result), result

    monkeypatch.setattr(SEARTrainer, "_valid_epoch", validate)


@pytest.mark.parametrize("smoothing, best, epochs", [(1, 1, 5), (3, 3, 7)])
def test_the_mean_of_the_last_validations_decides(here, scored, smoothing, best, epochs):
    made = run(here, threads=1, model="SASRec", epochs=9, stopping_step=2, valid_smoothing=smoothing)
    assert (made["best_epoch"], made["epochs"]) == (best, epochs)
    history = pd.read_csv(Path(made["run_folder"]) / "history.csv")
    if smoothing == 3:  # of as many as there are at first; 0.14, 0.28 and 0.21 have the lower mean
        expected = [0.10, 0.20, 0.18, 0.24, 0.21, 0.17, 0.08]
        assert history["valid_score"].tolist() == pytest.approx(expected, abs=1e-12)
    else:
        assert "valid_score" not in history
    assert torch.load(Path(made["run_folder"]) / "best.pth")["epoch"] == best


@pytest.mark.parametrize("protocol", ["kept", "filtered", "mean"])
def test_the_protocol_names_the_ranking_that_decides(here, monkeypatch, protocol):
    seen, validate = [], SEARTrainer._valid_epoch

    def noted(self, valid_data, show_progress=False):
        ranks = self.rank_cases(valid_data, mask_history=True)
        kept, filtered = (summarise(metrics_by_row(part))["ndcg@10"] for part in ranks)
        seen.append({"kept": kept, "filtered": filtered, "mean": (kept + filtered) / 2})
        return validate(self, valid_data, show_progress)

    monkeypatch.setattr(SEARTrainer, "_valid_epoch", noted)
    made = run(here, threads=1, model="SASRec", valid_protocol=protocol, valid_metric="NDCG@10")
    best = seen[made["best_epoch"]]
    assert best["kept"] < best["filtered"]
    assert best[protocol] == pytest.approx(max(score[protocol] for score in seen), abs=1e-12)
    assert made["valid"]["ndcg@10"] == pytest.approx(best["kept"], abs=1e-12)
    assert ("filtered_ndcg@10" in made["valid"]) == (protocol != "kept")
    state = torch.load(Path(made["run_folder"]) / "best.pth")
    assert state["best_valid_score"] == pytest.approx(best[protocol], abs=1e-12)
