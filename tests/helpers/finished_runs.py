"""Run folders as a finished run leaves them, without training anything."""

import numpy as np

from sear.evaluation.examples import example_cases, examples
from sear.evaluation.metrics import grouped, metrics_by_row, summarise
from sear.runs.command import command_of
from sear.runs.folder import write_cases, write_config, write_examples, write_history, write_metrics
from sear.runs.record import RunRecord

ENVIRONMENT = {
    "python": "3.11.2", "torch": "2.9.0", "numpy": "1.26.4", "recbole": "1.2.1", "mamba-ssm": None,
    "cpu": "a processor", "threads": 2, "device": "cpu", "commit": "0123456789abcdef",
    "earlier_commits": ["fedcba", "abcdef"],
}  # fmt: skip
TITLES = ["", "Alien (1979)", "Brazil (1985)", "Casablanca (1942)", "Dead Man (1995)", "<i>Eraserhead</i> & Co. (1977)",
          "Fargo (1996)", "Gattaca (1997)", "Heat (1995)", "Ikiru (1952)", "Jaws (1975)"]  # fmt: skip


def write_run(
    results,
    ranks,
    dataset="tiny",
    model="SEAR",
    seed=1,
    targets=None,
    example_titles=TITLES,
    masked=None,
    told=None,
    **changes,
):
    """A finished run with one case per rank; `changes` go to config.yaml, `ablate` to metrics.json too.

    Args:
        masked: the ranks without the items of the history, None where they were not asked for.
        told: what else it was given, key -> value.
    """
    ranks = np.asarray(ranks)
    name = "-".join([f"seed{seed}", *(f"{key}-{value}" for key, value in changes.items())])
    folder = results / dataset / model / name
    folder.mkdir(parents=True)
    random = np.random.default_rng(len(ranks))
    lengths, counts = random.integers(1, 30, len(ranks)), random.integers(0, 300, len(ranks))
    users = [f"u{number}" for number in range(len(ranks))]
    targets = [f"i{number % 10}" for number in range(len(ranks))] if targets is None else targets
    extra = {} if masked is None else {"rank_history_masked": np.asarray(masked)}
    write_cases(folder, {"user": users, "target": targets, "rank": ranks, **extra, "history_length": lengths,
                         "target_training_count": counts})  # fmt: skip
    write_config(folder, {"dataset": dataset, "model": model, "seed": seed, "k": 4, "window_stride": 50, **changes})
    rows = metrics_by_row(ranks)
    epochs = 6 + seed % 3
    best = epochs - 2  # by the validation's own metric, not by the one that is drawn
    curve = [summarise(rows)["ndcg@10"] * (1 - 0.6**epoch) for epoch in range(1, epochs + 1)]
    write_history(folder, [{"epoch": epoch, "lr": 0.001, "loss": 7 - score, "seconds": 1.5, "valid_ndcg@10": score}
                           for epoch, score in enumerate(curve)])  # fmt: skip
    statistics = {"users": len(ranks), "items": 10, "interactions": 20 * len(ranks), "sparsity": 0.9,
                  "avg_interactions_per_user": 20.0, "avg_interactions_per_item": 2.0 * len(ranks)}  # fmt: skip
    names = {"dataset": dataset, "model": model, "seed": seed, "ablate": changes.get("ablate")}
    write_metrics(folder, RunRecord(
        **names, statistics=statistics, epochs=epochs, best_epoch=best, valid=summarise(rows), test=summarise(rows),
        valid_metric=changes.get("valid_metric", "MRR@10").lower(),
        test_history_masked=None if masked is None else summarise(metrics_by_row(np.asarray(masked))),
        test_by_history_length=grouped(rows, lengths, (0, 5, 10, 15, 20)),
        test_by_item_popularity=grouped(rows, counts, (0, 10, 50, 100, 200)),
        seconds={"data": 1.0, "text": 0.1, "train": 1.5 * epochs * len(model), "test": 0.2},
        environment=ENVIRONMENT, parameters=1000 * len(model), peak_memory_mb=600 + len(model),
        overrides=told or {}, command=command_of(**names, overrides=told or {}),
    ))  # fmt: skip
    if example_titles:
        write_examples(folder, some_examples(ranks, users, example_titles))
    return folder


def some_examples(ranks, users, titles):
    random, chosen = np.random.default_rng(0), example_cases(len(ranks))
    count = len(titles) - 1
    targets = random.integers(1, count + 1, len(chosen))
    histories = [random.integers(1, count + 1, 9) for _ in chosen]
    ratings = [[4.0, 5.0, np.nan, 3.0, 1.0, 2.0, 5.0, 3.5, 4.0] for _ in chosen]
    tops = []
    for case, target in zip(chosen, targets, strict=True):
        others = [item for item in random.permutation(np.arange(1, count + 1)) if item != target]
        tops.append(np.insert(others, min(ranks[case] - 1, count - 1), target))
    return examples([users[case] for case in chosen], histories, ratings, targets, ranks[chosen], tops, titles)


def write_grid(results):
    """Three models (one in a variant), an ablation, two seeds, 60 cases, and a second data set with a single run."""
    random = np.random.default_rng(3)
    difficulty = random.integers(1, 25, 60)
    for seed in (1, 2):
        noise = random.integers(0, 4, 60)
        write_run(results, difficulty + noise, seed=seed)
        write_run(results, difficulty + noise + 1, seed=seed, ablate="text_init")
        write_run(results, difficulty + 9 * noise, model="SASRec", seed=seed)
        write_run(results, difficulty + 40 - noise, model="Pop", seed=seed)
    write_run(results, difficulty, seed=1, window_stride=25)
    write_run(results, difficulty, dataset="other", seed=1)
    return results
