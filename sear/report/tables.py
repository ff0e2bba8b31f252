"""A table once, written as CSV (bare numbers), Markdown, LaTeX and, by the page's template, HTML."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sear.files import write_text


@dataclass(frozen=True)
class Entry:
    """One cell of a table: plain text, perhaps the best of its column, perhaps marked as significant."""

    text: str
    best: bool = False
    mark: str = ""


@dataclass
class Table:
    """A table ready to be shown.

    Attributes:
        name: stem of its files.
        columns: heads.
        entries: one list per row.
        numbers: what the CSV file holds, unrounded.
        note: what has to be said below it.
        texts: how many columns, from the left, are text; the others are numbers and stand to the right.
    """

    name: str
    title: str
    columns: list[str]
    entries: list[list[Entry]]
    numbers: pd.DataFrame
    note: str = ""
    texts: int = 1


def file_name(text: str) -> str:
    """The text as part of a file name, a folder name or an XML id; letters of all languages stay.

    What cannot stay and is no bracket, quotation mark, comma, colon or blank is told by a checksum.

    >>> file_name("SEAR (k=4)"), file_name("книги 2"), file_name("a+b")
    ('SEAR-k=4', 'книги-2', 'a-b-300273da')
    """
    name = re.sub(r"[^\w.=-]+", "-", text).strip("-")
    if name and not re.search(r"""[^\w.=\s(){}\[\],;:'"-]""", text):
        return name
    return f"{name}-{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}".lstrip("-")


def write_table(table: Table, folder: Path) -> None:
    """NAME.csv, NAME.md and NAME.tex in `folder`."""
    write_text(folder / f"{table.name}.csv", table.numbers.to_csv(index=False, lineterminator="\n"))
    write_text(folder / f"{table.name}.md", to_markdown(table))
    write_text(folder / f"{table.name}.tex", to_latex(table))


def to_markdown(table: Table) -> str:
    """A pipe table under its title, best in bold."""
    body = _frame(table, escape_markdown, "**{}**".format)
    align = ["left"] * table.texts + ["right"] * (len(table.columns) - table.texts)
    text = body.to_markdown(index=False, colalign=align, disable_numparse=True)
    note = f"\n{escape_markdown(table.note)}\n" if table.note else ""
    return f"**{escape_markdown(table.title)}**\n\n{text}\n{note}"


def to_latex(table: Table) -> str:
    r"""A booktabs table (`\usepackage{booktabs}`), best in bold, the note in its caption."""
    body = _frame(table, escape_latex, r"\textbf{{{}}}".format)
    columns = "l" * table.texts + "r" * (len(table.columns) - table.texts)
    caption = escape_latex(f"{table.title}. {table.note}" if table.note else table.title)
    return body.to_latex(
        index=False, escape=False, column_format=columns, caption=(caption, f"{{{escape_latex(table.title)}}}")
    )


def _frame(table: Table, escape: Callable[[str], str], embolden: Callable[[str], str]) -> pd.DataFrame:
    def shown(entry: Entry) -> str:
        text = escape(entry.text)
        return (embolden(text) if entry.best else text) + escape(entry.mark)

    rows = [[shown(entry) for entry in row] for row in table.entries]
    return pd.DataFrame(rows, columns=[escape(column) for column in table.columns])


def escape_markdown(text: str) -> str:
    """The text as it is, whatever Markdown (and the HTML inside it) would make of its signs."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(text.split()))


LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$",
    "†": r"$^\dagger$", "‡": r"$^\ddagger$", "∞": r"$\infty$", "<": "$<$", ">": "$>$", "…": r"\dots{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip


def escape_latex(text: str) -> str:
    """The text as it is, whatever LaTeX would make of its signs."""
    return "".join(LATEX.get(sign, sign) for sign in " ".join(text.split()))


def best_in_column(values: Sequence[float], decimals: int = 4) -> list[bool]:
    """Which values are the highest as they are shown; none where only one is there to be compared."""
    rounded = pd.Series(values, dtype=float).round(decimals)
    return (rounded.eq(rounded.max()) & (rounded.notna().sum() > 1)).tolist()


def with_deviation(mean: float, deviation: float, decimals: int = 4) -> str:
    """`0.1234 ± 0.0012`; the mean alone where one seed leaves no deviation, a dash where there is no value."""
    if pd.isna(mean):
        return "–"
    return f"{mean:.{decimals}f}" + ("" if pd.isna(deviation) else f" ± {deviation:.{decimals}f}")


def signed(value: float, form: str) -> str:
    """The number with its sign, a true minus: `+1.2 %`, `−0.0031`; a dash where there is none."""
    return "–" if pd.isna(value) else format(value, f"+{form}").replace("-", "−")


def percent(share: float) -> str:
    """`+1.2 %` of 0.012; a dash where there is none."""
    return signed(100 * share, ".1f") + ("" if pd.isna(share) else " %")


def p_value(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"
