"""The one exception that is the user's to mend: the command line shows its line and exits with code 2."""


class UserError(ValueError):
    """Something outside the program is wrong: a file, a flag, a size.

    The message is one line that says what is wrong and what to do about it.
    """
