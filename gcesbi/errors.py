"""The one error a user can mend: bad input, told in one line that names argument, rule and value."""

__all__ = ["InputError"]


class InputError(ValueError):
    """Input that breaks a rule; the command line prints its message and exits with status 2."""
