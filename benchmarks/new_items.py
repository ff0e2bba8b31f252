"""Items that were never sold, ranked from their texts: python -m benchmarks.new_items --dataset=ml-100k --out=FILE.

A share of the items is held out with all their events before training. A case is an event of a held-out item after its
user's last training event; its history is what the user did before, held-out items left out. It is ranked among all
items and among the held-out ones, by the model with several ways to place new items and by baselines. Cases of every
other held-out item are for validation: they choose the way, and the rest is the test. Existing users' own test cases
are ranked with and without the new items. Each seed holds out other items; cases of all seeds are pooled. `--key=value`
words are settings of the training.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import say, write_json
from sear.cli.arguments import parse
from sear.data.atomic_table import read_header
from sear.data.dataset import SEARDataset
from sear.data.item_texts import item_sentences
from sear.data.text_cache import sentence_vectors
from sear.evaluation.metrics import metrics_by_row
from sear.evaluation.ranks import ranks_from_scores
from sear.files import BUNDLED, CHECKOUT
from sear.model.text_map import TextMap
from sear.recommend.load import load
from sear.recommend.new_items import PADDING
from sear.recommend.recommender import Recommender
from sear.runs.machine import commit
from sear.runs.model_folder import UserHistories
from sear.settings.recbole_config import build_config

CHUNK = 512  # cases at a time
NEAREST = 10  # items whose learned rows make a new one's, for the way `neighbours`
RESAMPLES = 1000
Score = Callable[[UserHistories], torch.Tensor]  # histories of some cases -> (B, V)
Map = Callable[[np.ndarray], np.ndarray]  # text embeddings (N, E) of new items -> learned rows (N, D)


@dataclass
class Cases:
    """Events to be ranked: row_of_user says whose case each is, target its item number."""

    histories: UserHistories
    target: np.ndarray
    row_of_user: np.ndarray

    def __len__(self) -> int:
        return len(self.target)


def ridge(text_VE: np.ndarray, learned_VD: np.ndarray, counts: np.ndarray) -> Map:
    """What `add_items` does: an item weighs as much as it has training events."""
    return TextMap(text_VE, learned_VD, counts.astype(np.float64))


def ridge_all_alike(text_VE: np.ndarray, learned_VD: np.ndarray, counts: np.ndarray) -> Map:
    return TextMap(text_VE, learned_VD)


def neighbours(text_VE: np.ndarray, learned_VD: np.ndarray, counts: np.ndarray) -> Map:
    """The mean learned row of the items with the nearest texts."""
    unit_VE = text_VE / np.linalg.norm(text_VE, axis=1, keepdims=True)
    return lambda text_NE: learned_VD[np.argsort(-(text_NE @ unit_VE.T), axis=1)[:, :NEAREST]].mean(1)


def mean_row(text_VE: np.ndarray, learned_VD: np.ndarray, counts: np.ndarray) -> Map:
    """The same row for every new item: of a tied table only their own text part tells them apart."""
    return lambda text_NE: np.tile(learned_VD.mean(0), (len(text_NE), 1))


WAYS = {"ridge": ridge, "ridge, items alike": ridge_all_alike, "neighbours": neighbours, "tied texts alone": mean_row}
AMONG = ("all", "all, seen filtered", "new")
Ranks = dict[str, np.ndarray]  # of the same cases among each of AMONG, or without and with new items


@dataclass
class Split:
    """What one choice of held-out items gave. users_*: whose case each is, by id."""

    told: dict[str, Any]
    users: np.ndarray
    for_validation: np.ndarray
    ranks: dict[str, Ranks]
    existing_users: np.ndarray
    existing: dict[str, Ranks]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.new_items", description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ml-100k", help="name of a config/data/*.yaml (default: ml-100k)")
    parser.add_argument("--model", default="SEAR", help="SEAR or a variant of it (default: SEAR)")
    parser.add_argument("--share", type=float, default=0.1, help="of the items that are held out (default: 0.1)")
    parser.add_argument("--seeds", default="1", help="of the choice and of the training, commas between (default: 1)")
    parser.add_argument("--out", type=Path, help="JSON file to write (default: standard output)")
    asked, words = parser.parse_known_args(arguments)
    settings = parse([f"--dataset={asked.dataset}", f"--model={asked.model}", *words]).overrides
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    with redirect_stdout(sys.stderr):
        splits = [one_split(asked.dataset, asked.model, asked.share, seed, settings) for seed in seeds]
    about = {"dataset": asked.dataset, "model": asked.model, "settings": settings, "share": asked.share}
    write_json(about | {"commit": commit(CHECKOUT)} | pooled(splits), asked.out)
    return 0


def one_split(dataset: str, model: str, share: float, seed: int, settings: dict[str, Any]) -> Split:
    """Ranks of the held-out cases by each way and baseline, and of existing users with and without the new items."""
    from sear import run_sear

    with tempfile.TemporaryDirectory() as work:
        whole = SEARDataset(build_config(dataset, model, settings))
        held = held_out(whole, share, seed)
        say(f"{len(held):,} of {whole.item_num - 1:,} items held out")
        data_path = write_reduced(whole, set(held), Path(work, "data"))
        places = {"data_path": str(data_path), "results_path": str(Path(work, "results"))}
        run = run_sear(dataset, model, seed=seed, **settings | places)
        folder = Path(run["run_folder"])
        table, vectors = texts_of(whole, held)
        ranks: dict[str, Ranks] = {}
        existing: dict[str, Ranks] = {}
        for name, way in WAYS.items():
            recommender = load(folder)
            if way is mean_row and not recommender._scorer.network.tied:
                continue
            placement, counts = recommender._placement, recommender.popularity
            placement._maps = [
                None if rows is None else way(placement._text_VE[1:], rows[1:], counts) for rows in placement._learned
            ]
            recommender.add_items(table, vectors)
            if not ranks:
                cases = held_out_cases(whole, recommender, set(held))
                say(f"{len(cases):,} cases of {len(np.unique(cases.row_of_user)):,} users")
                ranks = {
                    baseline: ranked(cases, score, len(held))
                    for baseline, score in baselines(recommender, seed).items()
                }
            ranks[name] = ranked(cases, by_model(recommender), len(held))
            existing[name], rows = existing_users(recommender, len(held))
        ids = np.array(recommender.user_ids)
    told = {"seed": seed, "held out": len(held), "cases": len(cases), "epochs": run["epochs"], "test": run["test"]}
    first_new = cases.target.min(initial=0)
    return Split(told, ids[cases.row_of_user], (cases.target - first_new) % 2 == 0, ranks, ids[rows], existing)


def pooled(splits: Sequence[Split]) -> dict[str, Any]:
    """Metrics with intervals over the cases of all splits, of validation and of test; validation chooses the way."""
    users, for_validation = (np.concatenate([getattr(s, name) for s in splits]) for name in ("users", "for_validation"))
    found: dict[str, Any] = {"splits": [split.told for split in splits]}
    for part, cases in (("validation", for_validation), ("test", ~for_validation)):
        found[part] = {"cases": int(cases.sum()), "users": len(np.unique(users[cases]))}
        for method in splits[0].ranks:
            ranks = {among: np.concatenate([split.ranks[method][among] for split in splits]) for among in AMONG}
            found[part][method] = {a: with_interval(of_cases[cases], users[cases]) for a, of_cases in ranks.items()}
    ways = splits[0].existing
    found["chosen"] = max(ways, key=lambda way: found["validation"][way]["all"]["mrr"]["mean"])
    users = np.concatenate([split.existing_users for split in splits])
    found["existing users"] = {"cases": len(users)}
    for way in ways:
        without, with_new = (
            metrics_of(np.concatenate([split.existing[way][name] for split in splits])) for name in ("without", "with")
        )
        change = {name: with_new[name] - without[name] for name in without}
        parts = {"without": without, "with": with_new, "change": change}
        found["existing users"][way] = {name: _intervals(values, users) for name, values in parts.items()}
    return found


def held_out(whole: SEARDataset, share: float, seed: int) -> list[str]:
    """Ids of a random share of the items."""
    items = whole.events.item_tokens[1:]
    chosen = np.random.default_rng(seed).permutation(len(items))[: max(1, round(share * len(items)))]
    return [str(items[item]) for item in np.sort(chosen)]


def write_reduced(whole: SEARDataset, held: set[str], folder: Path) -> Path:
    """The data set without the held-out items' events, its texts and ready vectors beside it; returns the folder."""
    source, name = whole.texts.path.parent, whole.dataset_name
    (folder / name).mkdir(parents=True)
    for path in source.glob("*"):
        if path.suffix in (".item", ".safetensors"):
            shutil.copy(path, folder / name)
    inter = source / f"{name}.inter"
    column = list(read_header(inter)).index(whole.iid_field)
    with open(inter, encoding="utf-8") as old, open(folder / name / inter.name, "w", encoding="utf-8") as new:
        new.write(next(old))
        new.writelines(line for line in old if line.rstrip("\r\n").split("\t")[column] not in held)
    return folder


def texts_of(whole: SEARDataset, held: list[str]):
    """The held-out items' rows of the `.item` file, and their text embeddings from the cache."""
    texts = whole.texts
    rows = texts.table[texts.table[texts.item_field].isin(held)].drop_duplicates(texts.item_field)
    rows = rows.set_index(texts.item_field).reindex(held).reset_index()
    tokens = [PADDING, *held]
    sentences = item_sentences(texts.table, tokens, texts.item_field, texts.fields)
    name = whole.dataset_name
    ready = BUNDLED / "dataset" / name
    return rows, sentence_vectors(sentences, texts.encoder, texts.cache_folder, name, ready_in=ready)[1:]


def held_out_cases(whole: SEARDataset, recommender: Recommender, held: set[str]) -> Cases:
    """The events of held-out items after their users' last training events, each with the events before it."""
    numbers, events = recommender._catalogue.numbers, whole.events
    number_of = np.array([numbers.get(str(token), 0) for token in events.item_tokens], dtype=np.int32)
    is_held = np.array([str(token) in held for token in events.item_tokens])
    row_of = {user: row for row, user in enumerate(recommender.user_ids or [])}
    parts, target, owner = [], [], []
    for user in range(1, len(events.user_tokens)):
        row = row_of.get(str(events.user_tokens[user]))
        span = slice(events.offsets[user - 1], events.offsets[user])
        new = is_held[events.item[span]]
        kept = ~new & (number_of[events.item[span]] > 0)
        count = int(kept.sum())
        if row is None or not count:
            continue
        training = count - 2 if count >= 4 else count
        so_far = np.cumsum(kept)
        for at in np.flatnonzero(new & (so_far >= max(1, training)) & (number_of[events.item[span]] > 0)):
            before = np.flatnonzero(kept[:at])
            parts.append((number_of[events.item[span]][before], events.rating[span][before]))
            target.append(number_of[events.item[span][at]])
            owner.append(row)
    if not parts:
        raise SystemExit("no event of a held-out item comes after its user's last training event - hold out more")
    offsets = np.concatenate([[0], np.cumsum([len(items) for items, _ in parts])]).astype(np.int64)
    items, ratings = (np.concatenate(column) for column in zip(*parts, strict=True))
    histories = UserHistories([""] * len(parts), offsets, items, ratings)
    return Cases(histories, np.array(target, dtype=np.int64), np.array(owner))


def by_model(recommender: Recommender) -> Score:
    scorer = recommender._scorer
    return lambda histories: scorer.scores(scorer.user_vectors(histories), histories)


def baselines(recommender: Recommender, seed: int) -> dict[str, Score]:
    """Random, popularity with ties in random order, and the mean cosine to the texts of a history's last items."""
    items = len(recommender.item_ids) + 1
    counts = np.concatenate([[0], recommender.popularity]).astype(np.float64)
    text_VE = torch.from_numpy(recommender._model.text_VE)
    unit_VE = torch.nn.functional.normalize(text_VE, dim=1)

    def noise(histories: UserHistories) -> torch.Tensor:
        random = np.random.default_rng([seed, int(histories.item.sum())])
        return torch.from_numpy(random.random((len(histories.offsets) - 1, items)))

    def texts(last: int) -> Score:
        def score(histories: UserHistories) -> torch.Tensor:
            spans = zip(histories.offsets[:-1], histories.offsets[1:], strict=True)
            recent = [histories.item[max(begin, end - last) : end] for begin, end in spans]
            return (
                torch.stack([unit_VE[torch.from_numpy(items.astype(np.int64))].mean(0) for items in recent]) @ unit_VE.T
            )

        return score

    by_texts = {f"texts of the last {last}": texts(last) for last in (1, 5, 20)}
    return {
        "random": noise,
        "popularity": lambda histories: torch.from_numpy(counts) + noise(histories) / 2,
        **by_texts,
    }


def ranked(cases: Cases, score: Score, new: int) -> Ranks:
    """Ranks among all items, seen ones kept and filtered, and among the new items only."""
    found: dict[str, list[np.ndarray]] = {among: [] for among in AMONG}
    for part, target in _chunks(cases):
        scores = score(part)
        first = scores.shape[1] - new
        history = (
            torch.from_numpy(part.item.astype(np.int64)),
            *map(torch.from_numpy, (part.offsets[:-1], part.offsets[1:])),
        )
        among_new = torch.cat([scores[:, :1], scores[:, first:]], dim=1)
        parts = *ranks_from_scores(scores, target, history), ranks_from_scores(among_new, target - first + 1)[0]
        for among, ranks in zip(AMONG, parts, strict=True):
            found[among].append(ranks)
    return {among: np.concatenate(parts) for among, parts in found.items()}


def _chunks(cases: Cases):
    histories = cases.histories
    for first in range(0, len(cases), CHUNK):
        offsets = histories.offsets[first : first + CHUNK + 1]
        span = slice(offsets[0], offsets[-1])
        part = UserHistories([], offsets - offsets[0], histories.item[span], histories.rating[span])
        yield part, torch.from_numpy(cases.target[first : first + CHUNK])


def existing_users(recommender: Recommender, new: int) -> tuple[Ranks, np.ndarray]:
    """Ranks of the test cases of the model's own users without and with the new items, and the users' rows."""
    users = recommender._users
    assert users is not None
    rows = np.flatnonzero(np.diff(users.offsets)[: recommender.info["counts"]["users"]] >= 4)
    ends = users.offsets[1:][rows] - 1
    spans = [np.arange(users.offsets[row], end) for row, end in zip(rows, ends, strict=True)]
    offsets = np.concatenate([[0], np.cumsum([len(span) for span in spans])]).astype(np.int64)
    at = np.concatenate(spans)
    histories = UserHistories([], offsets, users.item[at], users.rating[at])
    cases = Cases(histories, users.item[ends].astype(np.int64), rows)
    without, with_new = [], []
    score = by_model(recommender)
    for part, target in _chunks(cases):
        scores = score(part)
        without.append(ranks_from_scores(scores[:, : scores.shape[1] - new], target)[0])
        with_new.append(ranks_from_scores(scores, target)[0])
    return {"without": np.concatenate(without), "with": np.concatenate(with_new)}, rows


def metrics_of(ranks: np.ndarray) -> dict[str, np.ndarray]:
    """Those of the evaluation, and the reciprocal rank without a cut-off, which few cases decide on less."""
    return metrics_by_row(ranks) | {"mrr": 1 / ranks}


def with_interval(ranks: np.ndarray, users: np.ndarray) -> dict[str, Any]:
    return _intervals(metrics_of(ranks), users)


def _intervals(metrics: dict[str, np.ndarray], users: np.ndarray) -> dict[str, Any]:
    """Mean and bootstrapped 95 % interval of each metric; whole users are drawn, for their cases are alike."""
    _, row = np.unique(users, return_inverse=True)
    cases = np.bincount(row)
    drawn = np.random.default_rng(0).multinomial(len(cases), np.full(len(cases), 1 / len(cases)), RESAMPLES)
    found = {}
    for name, values in metrics.items():
        means = drawn @ np.bincount(row, values) / (drawn @ cases)
        low, high = np.quantile(means, [0.025, 0.975])
        found[name] = {"mean": float(values.mean()), "low": float(low), "high": float(high)}
    return found


if __name__ == "__main__":
    sys.exit(main())
