"""The project's pages, and what stands in them: code blocks, shell commands, inline code, tables."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "docs" / "results" / "README.md",
]
PROGRAMS = ("python", "pip", "docker", ".venv/bin/", "bash", "torchrun")  # what a line of a shell block begins with


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language ("" for none), the comment above it ("" for none), and its text."""

    page: str
    language: str
    comment: str
    text: str


def page_text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(language: str | None = None) -> list[Block]:
    """Every fenced block of every page, or those of one language."""
    pattern = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$", re.M | re.S)
    found = [
        Block(page_name(path), kind, comment, text)
        for path in PAGES
        for comment, kind, text in pattern.findall(page_text(path))
    ]
    return [block for block in found if language in (None, block.language)]


def is_shell(block: Block) -> bool:
    return block.language == "" and block.text.startswith(PROGRAMS)


def shell_commands() -> list[tuple[str, str]]:
    """(page, command) of every line of every shell block, without its comment; `a && b` are two."""
    return [
        (block.page, part.strip())
        for block in blocks()
        if is_shell(block)
        for line in block.text.splitlines()
        for part in re.sub(r"\s+#.*", "", line).split(" && ")
    ]


def inline_code() -> list[tuple[str, str]]:
    """(page, text) of every `text` outside fenced blocks."""
    found = []
    for path in PAGES:
        prose = re.sub(r"^```.*?^```$", "", page_text(path), flags=re.M | re.S)
        found += [(page_name(path), code.replace("\n", " ")) for code in re.findall(r"`([^`]+)`", prose)]
    return found
