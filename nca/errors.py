"""The error that a user can correct."""


class UserError(ValueError):
    """A mistake that a user can correct: one sentence on what is needed, what was given, and what to do."""
