"""The one exception that bad input raises."""

# Names in a damaged file can be of any length.
_LONGEST = 1_000


class InputError(ValueError):
    """Input that cannot be used.

    The message is one line that says what was expected, what came and what to do; the command line prints it and
    exits with code 2.

    Args:
        message: Made one line of printable characters here, since it may quote a file: line breaks become spaces, other control
            characters question marks.
    """

    def __init__(self, message: str) -> None:
        line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(message.split()))
        super().__init__(line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ...")


def reason_of(error: Exception) -> str:
    """The first line of what a library says of a damaged file or a failed download, for the one line of an `InputError`."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
