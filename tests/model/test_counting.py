"""Pop and ItemKNN: what they count, what they may recommend, and that they are tested like any other model."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sear.errors import InputError
from sear.model.counting import training_matrix
from sear.quick_start import evaluate, resume, run_sear
from sear.settings.recbole_config import build_config
from tests.conftest import TOY, random_histories, write_atomic_files
from tests.helpers.killed_run import run

COUNTING = ("Pop", "ItemKNN")


@pytest.mark.parametrize(("again", "length"), [(True, 10), (False, 10), (False, None)])
def test_pops_ranks_are_those_counted_by_hand(here, again, length):
    histories = random_histories()
    number = {item: n for n, item in enumerate(dict.fromkeys(e[0] for events in histories.values() for e in events))}
    count = Counter(item for events in histories.values() for item, *_ in events[:-2])
    assert max(map(len, histories.values())) > 10 + 2  # some histories are cut
    changes = {"MAX_ITEM_LIST_LENGTH": length} if length else {}  # else whole histories, by config/model/Pop.yaml
    toy = {key: value for key, value in TOY.items() if key != "MAX_ITEM_LIST_LENGTH"}
    changes |= {"recommend_again": again, "results_path": str(here)}
    done = run_sear("tiny", "Pop", **(toy | changes))
    for case in pd.read_csv(Path(done["run_folder"]) / "cases.csv.gz").itertuples():
        visible = set() if again else {item for item, *_ in histories[case.user][:-1][-(length or 0) :]}
        order = sorted(number, key=lambda item: (item in visible, 0 if item in visible else -count[item], number[item]))
        assert case.rank == 1 + order.index(case.target)
        assert case.target_training_count == count[case.target]


@pytest.mark.parametrize("name", COUNTING)
def test_counting_peers_rank_by_the_rule_of_all_models_unless_told_otherwise(here, name):
    met_once = {
        user: list({event[0]: event for event in events}.values()) for user, events in random_histories().items()
    }
    write_atomic_files(
        here, "tiny", {user: sorted(events, key=lambda event: event[2]) for user, events in met_once.items()}
    )
    whole = {"model": name, "MAX_ITEM_LIST_LENGTH": 1000}
    plain, left_out = run(here, mask_history=True, **whole), run(here, recommend_again=False, **whole)
    assert plain["test_history_masked"] == left_out["test"] != plain["test"]


@pytest.mark.parametrize("name", COUNTING)
def test_counting_peers_see_whole_histories_and_pad_none_to_that_length(name):
    assert build_config("ml-100k", name)["MAX_ITEM_LIST_LENGTH"] == 1_000_000
    with pytest.raises(InputError, match="trim_padding is False, but every history would be padded to 1,000,000"):
        build_config("ml-100k", name, {"trim_padding": False})


def test_itemknn_adds_up_the_cosines_of_the_nearest_items(tiny_model):
    model, train, test = tiny_model("ItemKNN", k=3)
    model.count(train)
    met = training_matrix(train).toarray().astype(np.float64)
    assert met.sum() == train.training_item_counts.sum()
    norm = np.linalg.norm(met, axis=0)
    cosine = met.T @ met / np.maximum(np.outer(norm, norm), 1e-9)
    np.fill_diagonal(cosine, 0)
    ranked = np.sort(cosine, axis=0)
    nearest = np.where(cosine >= ranked[-3], cosine, 0)  # of each item, in its column
    sure = ranked[-3] - ranked[-4] > 1e-6  # a tie for the last place may fall either way
    assert sure[1:].sum() > 10
    batch = test[np.arange(len(test))]
    history = np.stack([np.bincount(row, minlength=model.n_items) for row in batch["item_id_list"].numpy()])
    history[:, 0] = 0
    scores = model.full_sort_predict(batch).numpy()
    np.testing.assert_allclose(scores[:, sure], (history @ nearest)[:, sure], atol=1e-5)


@pytest.mark.parametrize("name", COUNTING)
def test_a_counting_model_takes_one_epoch_without_loss_and_is_tested_like_any_other(here, name):
    done = run(here, model=name, epochs=7)
    folder = Path(done["run_folder"])
    assert (done["epochs"], done["best_epoch"], done["parameters"]) == (1, 0, 0)
    (row,) = pd.read_csv(folder / "history.csv").to_dict("records")
    assert np.isnan(row["loss"]) and np.isnan(row["lr"])
    assert row["valid_mrr@10"] == pytest.approx(done["valid"]["mrr@10"]) and done["valid"]["mrr@10"] > 0
    assert evaluate(folder)["test"] == done["test"]  # from the checkpoint, nothing is counted again
    (folder / "metrics.json").unlink()
    assert resume(folder)["test"] == done["test"]
