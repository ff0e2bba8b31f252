"""Lines of a dump that cannot be used: how they are told, counted, and when it is the reading that is at fault."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from sear.errors import InputError

LOOK_AHEAD = 1_000  # lines read after the first bad one, to see whether others fail alike
FEW = 0.05  # a larger share of lines that fail alike is no damage: the file is written in another way
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class BadLine(ValueError):
    """One line of a dump cannot be used; the message says why.

    option: what reads such lines, ready to follow a dash: "--decimal=, reads decimal commas";
    fill_in: how lines that lack a value are completed: however many they are, the file is read as it is written;
    formats: of dates, all that this line may have: a --date_format is for the whole file, where most lines have it.
    """

    def __init__(self, reason: str, option: str = "", fill_in: str = "", formats: tuple[str, ...] = ()):
        super().__init__(reason)
        self.option, self.fill_in, self.formats = option, fill_in, formats

    def narrow(self, other: "BadLine") -> None:
        """Leave the formats that another line of the kind has too, where there are any."""
        self.formats = tuple(form for form in self.formats if form in other.formats) or self.formats

    def remedy(self, most: bool) -> str:
        """What is to be done, "" where that is not known; most: whether most lines of the file fail like this one."""
        if self.fill_in:
            return f"leave such lines out with --bad_lines=skip, or {self.fill_in}"
        if self.formats and not most:
            return "other lines have their dates written otherwise: write all in one way"
        if self.formats:
            return f"--date_format={' or '.join(map(repr, self.formats[:2]))} reads it"
        return self.option


@dataclass
class _Pending:
    """Bad lines of one file that have been seen but not told yet. usable: whether a good line came before them."""

    path: Path
    line: int
    first: dict[str, tuple[int, BadLine]] = field(default_factory=dict)
    lines: Counter[str] = field(default_factory=Counter)


class BadLines:
    """Refuses a file at its first bad line, after a look at the lines that follow; or (`skip`) counts them by file.

    Whoever reads lines calls `seen` before each, and `settle` after the last.
    """

    def __init__(self, skip: bool = False):
        self.skip = skip
        self.counts: Counter[Path] = Counter()
        self.first: dict[Path, str] = {}
        self.options: dict[Path, Counter[tuple[str, str]]] = {}  # remedies where some lines fail, and where most do
        self.either: dict[Path, tuple[int, str]] = {}  # lines in one of two encodings: how many, and what is said
        self.last_lines: Counter[Path] = Counter()
        self.without_end: dict[Path, int] = {}  # number of a last line that has no line break
        self.stop = float("inf")  # the line at which a refusal is due
        self._pending: _Pending | None = None

    def report(self, path: Path, line: int, reason: BadLine | str) -> None:
        bad = reason if isinstance(reason, BadLine) else BadLine(reason)
        self.counts[path] += 1
        self.first.setdefault(path, one_line(f"line {line}: {bad}"))
        keep = f"to keep such lines, {bad.fill_in}"
        remedies = (keep, keep) if bad.fill_in else (bad.remedy(most=False), bad.remedy(most=True))
        if all(remedies):
            self.options.setdefault(path, Counter())[remedies] += 1
        if self.skip:
            return
        if self._pending is None:
            self._pending, self.stop = _Pending(path, line), line + LOOK_AHEAD
        kind = _kind(bad)
        self._pending.first.setdefault(kind, (line, bad))[1].narrow(bad)
        self._pending.lines[kind] += 1

    def note_either(self, path: Path, line: int, codec: str) -> None:
        """Count a line that fits UTF-8 as well as the encoding that it is read in."""
        count, told = self.either.get(path, (0, f"(the first: line {line}) can be UTF-8 too: read as {codec}"))
        self.either[path] = count + 1, told

    def seen(self, path: Path, line: int) -> None:
        """Note that the file has this line; raises InputError when a refusal is due."""
        self.last_lines[path] = line
        if line > self.stop:
            self.settle()

    def settle(self) -> None:
        """Raise InputError if a bad line has been reported."""
        if self._pending is None:
            return
        pending, self._pending, self.stop = self._pending, None, float("inf")
        kind, alike = pending.lines.most_common(1)[0]
        after = max(self.last_lines[pending.path] - pending.line, sum(pending.lines.values()) - 1)
        alone = after == 0 and pending.line <= 2
        if (alike > 1 and alike > FEW * (after + 1)) or alone:
            line, bad = pending.first[kind]
            many = f" and {alike - 1:,} of the {after:,} lines after it" if alike > 1 else ""
            most = 2 * alike > self.last_lines[pending.path] - 1  # of all lines read, but for a header
            remedy = bad.remedy(most) or "the file is not written as it is read here: see --help for what says how"
            raise InputError(one_line(f"{pending.path}, line {line}{many}: {bad} - {remedy}"))
        line, bad = next(iter(pending.first.values()))
        mend = "mend it" if not bad.option else f"mend it, {bad.option}"
        mend = bad.remedy(most=False) if bad.formats else mend
        told = f"{pending.path}, line {line}: {bad} - {mend}, or leave such lines out with --bad_lines=skip"
        raise InputError(one_line(told))

    def notices(self) -> list[str]:
        either = [f"{path}: {counted(count, 'short line')} {told}" for path, (count, told) in self.either.items()]
        return [self._notice(path, count) for path, count in self.counts.items()] + either

    def _notice(self, path: Path, count: int) -> str:
        notice = f"{path}: {counted(count, 'bad line')} left out (the first, {self.first[path]})"
        lines = self.last_lines[path]
        if count > FEW * lines and count > 1:
            option = self.options.get(path, Counter()).most_common(1)
            remedy = f": {option[0][0][2 * count > lines]}" if option else ": is the file read as it is written?"
            notice += f" - THAT IS {count / max(lines, count):.0%} OF ITS LINES{remedy}"
        return notice


def counted(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def one_line(text: str) -> str:
    """The message without line breaks and control characters, which a terminal would obey."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _kind(bad: BadLine) -> str:
    """What two bad lines have in common: their message without the values."""
    return re.sub(r"'(?:[^'\\]|\\.)*'|\"[^\"]*\"|[-+\d.,eE]*\d", "", str(bad))
