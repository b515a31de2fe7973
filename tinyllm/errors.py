"""The exception for mistakes that a user can mend: the command line prints it and exits with code 2."""


class UserError(ValueError):
    """Something outside the program is wrong: a file, a flag, a size.

    The message is one line that says what is wrong and what to do about it.
    """
