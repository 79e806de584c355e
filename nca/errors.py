"""The one error that a user can mend."""


class UserError(ValueError):
    """A mistake a user can mend: one sentence saying what is needed, what came, what to do."""
