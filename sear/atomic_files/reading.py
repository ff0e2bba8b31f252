"""What a user can say about how a dump is written."""

from dataclasses import dataclass

from sear.atomic_files.csv_rows import QUOTINGS
from sear.atomic_files.encoding import named
from sear.errors import InputError

UNNAMED = "_"  # in --columns: a column that is not read
UNIX = "unix"  # as --date_format: numbers are Unix times, whatever they look like


@dataclass(frozen=True)
class Reading:
    """encoding: of text files; columns: of a table without a header, in order; decimal: the sign before decimals;
    date_format: as strptime takes it, or "unix"; missing: what else stands for no rating; quoting: of texts.

    "" and () leave the decision to what the file shows.
    """

    encoding: str = ""
    columns: tuple[str, ...] = ()
    decimal: str = "."
    date_format: str = ""
    missing: tuple[str, ...] = ()
    quoting: str = ""

    def check(self) -> None:
        """Raises InputError naming the option that cannot be followed."""
        if self.encoding:
            named(self.encoding)
        if self.decimal not in (".", ","):
            raise InputError(f"--decimal={self.decimal!r} is neither . nor , - give the sign before decimals")
        if self.quoting not in ("", *QUOTINGS):
            raise InputError(f"--quoting={self.quoting!r} is none of {', '.join(QUOTINGS)} - choose one of them")
        if self.date_format and self.date_format != UNIX and "%" not in self.date_format:
            raise InputError(
                f"--date_format={self.date_format!r} has no % - write it as in '%d.%m.%Y %H:%M', or unix for Unix times"
            )
        names = [name for name in self.columns if name != UNNAMED]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice or (self.columns and not names):
            raise InputError(
                f"--columns={','.join(self.columns)!r} must name each column once - write {UNNAMED} for one not needed"
            )


AS_SHOWN = Reading()  # nothing is said
