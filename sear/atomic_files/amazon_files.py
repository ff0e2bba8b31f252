"""Which of a folder's files are an Amazon dump, of which year and category."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sear.atomic_files import amazon
from sear.atomic_files.catalogue import asked_for
from sear.atomic_files.raw_lines import decode, raw_lines
from sear.atomic_files.source import Source, require_text_file
from sear.errors import InputError

META = re.compile(r"meta_(?P<category>.+)\.jsonl?(\.gz)?")
REVIEWS = re.compile(
    r"(?!meta_)(?P<prefix>reviews_|ratings_)?(?P<category>.+?)(?P<core>_5)?\.(?P<suffix>json|jsonl|csv)(?P<gzip>\.gz)?"
)


@dataclass(frozen=True)
class ReviewFile:
    """rank: the lowest of a category is read."""

    path: Path
    category: str
    format: str
    rank: int


def find(folder: Path, name: str, format_name: str | None, no_text: bool) -> tuple[Source, list[str]] | None:
    """The dump for data set `name`, with notices; None when the folder holds none.

    Of several files of one category the 5-core is read first (the same events are left after 5-core), then all
    reviews, then the bare ratings; plain before gzip'd.

    Raises:
        InputError: the category or the product file is missing, or the folder holds several categories and none
            is called `name`.
    """
    files = [file for file in _review_files(folder) if format_name in (None, file.format)]
    if not files:
        return None
    category = _category(name, folder, sorted({file.category for file in files}))
    files = sorted((file for file in files if file.category == category), key=lambda file: file.rank)
    chosen = files[0]
    meta = require_text_file(_meta_path(folder, category), f"meta_{category}.json(l)[.gz]", folder, no_text)
    notices = [f"ignored: {', '.join(file.path.name for file in files[1:])}"] if files[1:] else []
    return amazon.source(chosen.format, chosen.path, meta), notices


def _review_files(folder: Path) -> Iterator[ReviewFile]:
    for path in sorted(folder.iterdir()):
        found = REVIEWS.fullmatch(path.name)
        if not found or not path.is_file():
            continue
        suffix = found["suffix"]
        rank = 4 * (suffix == "csv") + 2 * (found["core"] is None) + (found["gzip"] is not None)
        yield ReviewFile(path, found["category"], _format(path, suffix, found["prefix"]), rank)


def _format(path: Path, suffix: str, prefix: str | None) -> str:
    if suffix == "jsonl":
        return "amazon-2023"
    if prefix:
        return "amazon-2014"
    if suffix == "json":
        return "amazon-2018"
    first = next((decode(line) for _, line in raw_lines(path)), "")  # only 2023's CSV has a header
    return "amazon-2023" if amazon.DUMPS["amazon-2023"].item in first else "amazon-2018"


def _category(name: str, folder: Path, categories: list[str]) -> str:
    data_set = asked_for(name)
    if data_set and data_set.category:
        if data_set.category in categories:
            return data_set.category
        found = ", ".join(categories)
        raise InputError(
            f"{folder} holds reviews of {found}, not of {data_set.category} - fetch those, or choose a NAME other than"
            f" {name}"
        )
    described = [category for category in categories if _meta_path(folder, category)]
    categories = described or categories  # a stray .json beside the dump is no category
    if len(categories) == 1:
        return categories[0]
    asked = re.sub(r"^amazon[_-]|[_-](2014|2018|2023)$", "", name.lower())
    matching = [category for category in categories if category.lower() == asked]
    if len(matching) != 1:
        raise InputError(f"{folder} holds several categories ({', '.join(categories)}) - give one of them as NAME")
    return matching[0]


def _meta_path(folder: Path, category: str) -> Path | None:
    paths = (path for path in sorted(folder.iterdir()) if path.is_file() and META.fullmatch(path.name))
    return next((path for path in paths if META.fullmatch(path.name)["category"] == category), None)
