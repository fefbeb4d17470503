"""The exceptions that stop an update."""


class UpdateError(Exception):
    """The update is not possible. The message is one sentence that says what to do."""


class UpToDate(Exception):
    """No newer version exists. The message says which version the project has."""
