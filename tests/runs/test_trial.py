"""One run of a search: it alone works on its run, and pruning touches no other."""

from types import SimpleNamespace

import pytest

optuna = pytest.importorskip("optuna", reason="needs optuna")

from sear.errors import HeldError  # noqa: E402
from sear.runs import trial  # noqa: E402
from sear.runs.lock import claimed  # noqa: E402

ROWS = [{"epoch": 0, "valid_mrr@10": 0.1}]


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Of a run on data that nobody reads."""
    found = {"results_path": str(tmp_path), "dataset": "tiny", "valid_protocol": "kept", "valid_metric": "MRR@10"}
    monkeypatch.setattr(trial, "build_config", lambda *_: found)
    monkeypatch.setattr(trial, "effective_settings", lambda config: config)
    monkeypatch.setattr(trial, "data_hashes", lambda config: None)
    return found


def test_a_pruned_trial_deletes_the_checkpoints_of_its_own_run_alone(tmp_path, settings, monkeypatch):
    own, newer = (tmp_path / "tiny" / "SASRec" / name for name in ("2026-1", "2026-2"))
    for folder in (own, newer):
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("{dataset: tiny, valid_protocol: kept, valid_metric: MRR@10}")
        (folder / "last.pth").write_text("")

    class Run(SimpleNamespace):
        def train(self, log):
            self.on_epoch(own, ROWS)

    def told(epoch, score):
        raise optuna.TrialPruned

    monkeypatch.setattr(trial, "TrainingRun", lambda config, folder, begun: Run())
    with pytest.raises(optuna.TrialPruned):
        trial.best_score("tiny", "SASRec", [], {}, told)
    assert not (own / "last.pth").exists() and (newer / "last.pth").exists()


def test_a_trial_begins_no_run_that_a_grid_works_on(settings):
    with claimed(settings), pytest.raises(HeldError, match="another process works on this run"):
        trial.best_score("tiny", "SASRec", [], {}, lambda *_: None)
