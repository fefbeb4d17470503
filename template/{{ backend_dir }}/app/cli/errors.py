"""What a command says when it can't go on."""


class CommandError(Exception):
    """The command can't do what it was asked to; the message says why and what to do."""
