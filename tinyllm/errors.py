"""The exception for mistakes that a user can mend: the command line prints it and exits with code 2."""

LONGEST = 560  # characters of a message


class UserError(ValueError):
    """The exception for a wrong file, flag, size or other input from outside the program.

    The message is one printable line that says what is wrong and what to do about it. It may quote names and
    contents of files, however strange: `one_line` makes them harmless.
    """

    def __init__(self, message: object):
        super().__init__(one_line(message))


def one_line(message: object) -> str:
    """Write a message in one line of bounded length, with all that a terminal cannot show escaped."""
    return _shortened("".join(c if c.isprintable() else repr(c)[1:-1] for c in _shortened(str(message))))


def _shortened(text):
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 203]}...{text[-200:]}"
