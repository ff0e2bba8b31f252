"""Which of a folder's files are an Amazon dump, of which year and category."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sear.atomic_files import amazon
from sear.atomic_files.raw_lines import decode, raw_lines
from sear.atomic_files.source import Source, require_text_file
from sear.errors import InputError
from sear.settings.published import asked_for, plain_name

META = re.compile(r"meta_(?P<category>.+)\.(?P<suffix>jsonl?)(?P<gzip>\.gz)?")
REVIEWS = re.compile(
    r"(?!meta_)(?P<prefix>reviews_|ratings_)?(?P<category>.+?)(?P<core>_5)?\.(?P<suffix>json|jsonl|csv)(?P<gzip>\.gz)?"
)


@dataclass(frozen=True)
class ReviewFile:
    """format: as its name betrays it; rank: the lowest of a category is read."""

    path: Path
    category: str
    format: str
    rank: int


def find(folder: Path, name: str, format_name: str | None, no_text: bool) -> tuple[Source, list[str]] | None:
    """The dump for data set `name`, with notices; None when the folder holds none.

    Of several files of one category the 5-core is read first (the same events are left after 5-core), then all
    reviews, then the bare ratings; plain before gzip'd. `format_name` is how they are read whatever their names betray,
    but those that look like it come first.

    Raises:
        InputError: the category or the product file is missing, or the folder holds several categories and none
            is called `name`.
    """
    files = list(_review_files(folder))
    if not files:
        return None
    likely = [file for file in files if format_name in (None, file.format)] or files
    category = _category(name, folder, *(sorted({file.category for file in group}) for group in (files, likely)))
    files = [file for file in files if file.category == category]
    files.sort(key=lambda file: (format_name not in (None, file.format), file.rank))
    chosen = replace(files[0], format=format_name or files[0].format)
    meta = require_text_file(
        _meta_path(folder, category, chosen.format), f"meta_{category}.json(l)[.gz]", folder, no_text
    )
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


def _category(name: str, folder: Path, categories: list[str], likely: list[str]) -> str:
    """The category that NAME names; without one, the only one of `likely`."""
    data_set = asked_for(name)
    if data_set and data_set.category:
        if data_set.category in categories:
            return data_set.category
        found = ", ".join(categories)
        raise InputError(
            f"{folder} holds reviews of {found}, not of {data_set.category} - fetch those, or choose a NAME other than"
            f" {name}"
        )
    undated = re.sub(r"[_-](2014|2018|2023)$", "", name)
    for asked in (name, undated):
        named = [category for category in categories if plain_name(category) == plain_name(asked)]
        if len(named) == 1:
            return named[0]
    described = [category for category in likely if _meta_path(folder, category, "")]
    likely = described or likely  # a stray .json beside the dump is no category
    if len(likely) > 1:
        raise InputError(f"{folder} holds several categories ({', '.join(categories)}) - give one of them as NAME")
    return likely[0]


def _meta_path(folder: Path, category: str, format_name: str) -> Path | None:
    """The category's product file: 2023's is .jsonl, the others' .json; any other where there is no such one."""
    usual = "jsonl" if format_name == "amazon-2023" else "json"
    found = [(META.fullmatch(path.name), path) for path in sorted(folder.iterdir()) if path.is_file()]
    found = [(match, path) for match, path in found if match and match["category"] == category]
    found.sort(key=lambda pair: (pair[0]["suffix"] != usual, pair[0]["gzip"] is not None))
    return found[0][1] if found else None
