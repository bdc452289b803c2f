"""The errors with which the command ends."""

import click


class CliError(click.ClickException):
    """The arguments, the settings or the project are invalid. The message is for the user at the terminal."""

    exit_code = 2


class SetupError(CliError):
    """The arguments are valid, but something on this machine prevents the start."""

    exit_code = 1
