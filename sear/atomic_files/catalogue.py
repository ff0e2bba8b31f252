"""The data sets with published statistics (SEAR's method: Data sets): what they are called and what must come out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DataSet:
    """users, items, interactions: after 5-core, as published; category: the dump's own name (Amazon only)."""

    name: str
    folder: str
    users: int
    items: int
    interactions: int
    category: str | None = None


DATA_SETS = (
    DataSet("beauty", "amazon-beauty", 22_363, 12_101, 198_502, "Beauty"),
    DataSet("games", "Amazon_Video_Games", 54_955, 17_256, 494_934, "Video_Games"),
    DataSet("supplies", "Amazon_Pet_Supplies", 236_506, 42_351, 2_093_662, "Pet_Supplies"),
    DataSet("scientific", "Amazon_Industrial_and_Scientific", 10_646, 4_991, 74_357, "Industrial_and_Scientific"),
    DataSet("ml-1m", "ml-1m", 6_040, 3_416, 999_611),
    DataSet("ml-100k", "ml-100k", 943, 1_349, 99_287),
)


def published(name: str) -> DataSet | None:
    """The data set of this short name or RecBole folder name, None when nothing is published about it."""
    return next((data_set for data_set in DATA_SETS if name in (data_set.name, data_set.folder)), None)
