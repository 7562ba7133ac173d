"""The one exception that bad input raises."""


class InputError(ValueError):
    """Input that cannot be used.

    The message is one line that says what was expected, what came and what to do; the command line prints it and
    exits with code 2.
    """
