"""What stops an update."""


class UpdateError(Exception):
    """An update that cannot be done. The message is one sentence that says what to do."""


class UpToDate(Exception):
    """There is nothing newer. The message says which version the project has."""
