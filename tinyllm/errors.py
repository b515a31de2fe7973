"""The exception for mistakes that a user can mend: the command line prints it and exits with code 2."""


class UserError(ValueError):
    """The exception for a wrong file, flag, size or other input from outside the program.

    The message is one line that says what is wrong and what to do about it.
    """
