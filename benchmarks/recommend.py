"""A trained model in use, at the size of Pet Supplies: lists for many users, one list at a time, one event at a time.

Untrained weights, random texts: what a list costs does not depend on them. The baseline of the lists is RecBole's
full_sort_topk with the same model, that of an event is to encode the history once more.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from recbole.data import data_preparation

import sear
from benchmarks.measure import Request, Row, Side, alternate, compare, say
from benchmarks.synthetic import SUPPLIES, TOY, write_atomic_files
from benchmarks.training import COLUMNS, RandomTextDataset, inside
from sear.model.sear import SEAR
from sear.recommend.recommender import Recommender
from sear.runs.model_folder import UserHistories, write_model
from sear.runs.record import RunRecord
from sear.runs.run_model import trained_model
from sear.settings.recbole_config import build_config

NAME = "Amazon_Pet_Supplies"
OURS, BASELINE = "Recommender.recommend", "RecBole's full_sort_topk"
USERS, AT_ONCE = 8192, 1024  # users of both sides; of RecBole's, whose scores are kept whole, so many at a time
K = 10
CALLS = 200  # of which p50 and p95 are told
LENGTHS = (10, 100)  # events of a history before the list, or the event, that is measured


def rows(request: Request) -> Iterator[Row]:
    sizes, users = (TOY, 32) if request.quick else (SUPPLIES, USERS)
    with tempfile.TemporaryDirectory(prefix="sear-benchmark-") as folder, inside(Path(folder)):
        say("recommend: data")
        settings = {"data_path": str(write_atomic_files(sizes, Path(folder), NAME)), "load_col": {"inter": COLUMNS}}
        config = build_config(NAME, "SEAR", settings | {"text_init": False, "use_gpu": False})
        test = data_preparation(config, RandomTextDataset(config))[2]
        model = SEAR(config, test._dataset).eval()
        recommender, load_note = exported(model, test._dataset, Path(folder, "model"))
        yield lists(recommender, model, test, users, request, load_note)
        yield from one_list(recommender, model, test, request)
        yield from one_event(recommender, request)


def exported(model: SEAR, dataset, folder: Path) -> tuple[Recommender, str]:
    """The model as a user of it has it, every history without its last event, as the test has them."""
    record = RunRecord(NAME, "SEAR", 1, None, 0, None, None, {}, None, None, None, None, None)
    whole = trained_model(model, dataset, record)
    assert whole.users is not None
    kept = np.ones(len(whole.users.item), dtype=bool)
    kept[whole.users.offsets[1:] - 1] = False
    offsets = whole.users.offsets - np.arange(len(whole.users.offsets))
    users = UserHistories(whole.users.user_ids, offsets, whole.users.item[kept], whole.users.rating[kept])
    write_model(folder, replace(whole, users=users))
    size = sum(path.stat().st_size for path in folder.iterdir())
    started = perf_counter()
    recommender = sear.load(folder)
    return recommender, f"{size / 1e6:,.0f} MB, loaded in {perf_counter() - started:.2f} s"


def lists(recommender: Recommender, model: SEAR, test, users: int, request: Request, load_note: str) -> Row:
    """Lists of many users at once."""
    from recbole.utils.case_study import full_sort_topk

    part = test._dataset
    numbers = part.rows.user[:users] + 1
    ids = [str(part.field2id_token[part.uid_field][number]) for number in numbers]

    def theirs(numbers: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return full_sort_topk(numbers, model, test, K)[1].numpy()

    few = min(64, users)
    found = recommender.recommend(ids[:few], k=K, filter_seen=False).item_id.to_numpy().reshape(few, K)
    expected = part.field2id_token[part.iid_field][theirs(numbers[:few])]
    assert (found == expected).mean() > 0.99, "the two recommend different items"
    sides = {
        OURS: Side(lambda: consume(recommender, ids)),
        BASELINE: Side(lambda: [theirs(numbers[at : at + AT_ONCE]) for at in range(0, users, AT_ONCE)]),
    }
    turns = alternate(sides, request)
    speeds = [users / float(np.median([turn.seconds for turn in turns[side]])) for side in sides]
    note = f"{users:,} users x {len(recommender.item_ids):,} items, {speeds[0]:,.0f} users/s against {speeds[1]:,.0f}"
    return compare("recommend, many users", BASELINE, turns, None, f"{note}; {load_note}")


def consume(recommender: Recommender, ids: list[str]) -> None:
    for _ in recommender.recommend_batches(ids, k=K, filter_seen=False)[1]:
        pass


def one_list(recommender: Recommender, model: SEAR, test, request: Request) -> Iterator[Row]:
    """The list of one given history."""
    calls = 3 if request.quick else CALLS
    for length in LENGTHS:
        history = events(recommender, length)
        batch = as_batch(recommender, history, test)

        def theirs(batch=batch) -> None:
            with torch.no_grad():
                model.full_sort_predict(batch).topk(K)

        def ours(history=history) -> pd.DataFrame:
            return recommender.recommend(history=history, k=K)

        turns = alternate({OURS: Side(ours), "full_sort_predict, topk": Side(theirs)}, request)
        note = f"one list of {len(recommender.item_ids):,} items; ours, seen items filtered: {spread(ours, calls)}"
        yield compare(f"recommend, history of {length}", "full_sort_predict, topk", turns, None, note)


def one_event(recommender: Recommender, request: Request) -> Iterator[Row]:
    """The next event of a session, against reading its whole history again."""
    calls = 3 if request.quick else CALLS
    for length in (*LENGTHS, 100 * LENGTHS[0]):
        history = events(recommender, length)
        session = recommender.session(history)
        for item, rating in history[: 10 if request.quick else 100]:
            session.add(item, rating)
        item, rating = history[0]

        def ours(session=session, item=item, rating=rating) -> None:
            session.add(item, rating)

        def again(history=history) -> None:
            recommender.session(history)._current()

        turns = alternate({"Session.add": Side(ours), "the history read again": Side(again)}, request)
        size = len(recommender.session(history).to_bytes()) / 1e3
        told = f"add: {spread(ours, calls)}; recommend: {spread(session.recommend, calls)}; {size:,.0f} KB as bytes"
        yield compare(f"session, event after {length:,}", "the history read again", turns, None, told)


def events(recommender: Recommender, count: int) -> list[tuple[str, float]]:
    random = np.random.default_rng(count)
    items = random.integers(len(recommender.item_ids), size=count)
    return [
        (recommender.item_ids[item], float(rating))
        for item, rating in zip(items, random.integers(1, 6, count), strict=True)
    ]


def as_batch(recommender: Recommender, history: list[tuple[str, float]], test):
    """The history as a batch of RecBole's, for the model in it."""
    from recbole.data.interaction import Interaction

    part, numbers = test._dataset, recommender._catalogue.numbers
    items = torch.tensor([[numbers[item] for item, _ in history]])
    ratings = torch.tensor([[rating for _, rating in history]])
    suffix = part.config["LIST_SUFFIX"]
    lists = {part.iid_field + suffix: items, part.rating_field + suffix: ratings}
    return Interaction(lists | {part.item_list_length_field: torch.tensor([len(history)])})


def spread(call, calls: int) -> str:
    """p50 and p95 of so many calls one after another."""
    seconds = []
    for _ in range(calls):
        started = perf_counter()
        call()
        seconds.append(perf_counter() - started)
    middle, high = np.quantile(seconds, [0.5, 0.95]) * 1e3
    return f"p50 {middle:.2f} ms, p95 {high:.2f} ms"
