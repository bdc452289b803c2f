"""The errors with which the command ends."""

import click


class CliError(click.ClickException):
    """Invalid options, settings or project files; the message is printed to the terminal."""

    exit_code = 2


class SetupError(CliError):
    """The options are valid, but this machine lacks something: a package, a free port, a Redis, a folder."""

    exit_code = 1
