"""The errors that mean the user, not the program, has something to mend."""


class InputError(ValueError):
    """A user's mistake: one line that names the thing, its place and the remedy (the command line exits with 2)."""


class OtherDataError(InputError):
    """A checkpoint was trained on other data than those that are there now."""


class WriteError(InputError):
    """The machine does not let a file be written: no space, no rights. What was written before is whole."""


class OutOfMemoryError(InputError):
    """The machine has not the memory that some settings ask for."""


class HeldError(InputError):
    """A run folder that another process works in, or has just finished or taken back."""


class LostProcessError(InputError):
    """Of processes that train together, another one has ended or is not to be found."""
