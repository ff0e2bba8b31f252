"""The data sets with published statistics (SEAR's method: Data sets): what they are called and what must come out."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class DataSet:
    """users, items, interactions: after 5-core, as published.

    edition: the dump that these are of, by its format or, where several have one format, by the name of its event file;
    category: the dump's own name (Amazon only).
    """

    name: str
    folder: str
    users: int
    items: int
    interactions: int
    edition: str
    category: str | None = None

    @property
    def family(self) -> str:
        return "movielens" if self.category is None else "amazon"


DATA_SETS = (
    DataSet("beauty", "amazon-beauty", 22_363, 12_101, 198_502, "amazon-2014", "Beauty"),
    DataSet("games", "Amazon_Video_Games", 54_955, 17_256, 494_934, "amazon-2018", "Video_Games"),
    DataSet("supplies", "Amazon_Pet_Supplies", 236_506, 42_351, 2_093_662, "amazon-2018", "Pet_Supplies"),
    DataSet(
        "scientific",
        "Amazon_Industrial_and_Scientific",
        10_646,
        4_991,
        74_357,
        "amazon-2018",
        "Industrial_and_Scientific",
    ),
    DataSet("ml-1m", "ml-1m", 6_040, 3_416, 999_611, "ratings.dat"),
    DataSet("ml-100k", "ml-100k", 943, 1_349, 99_287, "u.data"),
)


def published(name: str) -> DataSet | None:
    """The data set of this short name or RecBole folder name, None when nothing is published about it."""
    return next((data_set for data_set in DATA_SETS if name in (data_set.name, data_set.folder)), None)


def asked_for(name: str) -> DataSet | None:
    """The data set that a user means: also by its category, with or without `Amazon`, in any case, with any separator.

    `Video_Games`, `amazon-video-games` and `games` are one; `All_Beauty` is another category than `Beauty`.
    """
    return next((found for found in DATA_SETS if plain_name(name) in map(plain_name, _names(found))), None)


def _names(data_set: DataSet) -> list[str]:
    return [name for name in (data_set.name, data_set.folder, data_set.category) if name]


def plain_name(name: str) -> str:
    """Without case, separators and a leading `Amazon`: what two names of one thing have in common."""
    return re.sub(r"[\W_]", "", re.sub(r"^amazon(?=[\W_])", "", name.lower()))
