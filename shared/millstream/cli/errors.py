"""The ways in which the command says that it can't go on."""

import click


class CliError(click.ClickException):
    """What was asked for can't be done; a short text for the person at the terminal."""

    exit_code = 2


class SetupError(CliError):
    """What was asked for is fine, but something on this machine stands in its way."""

    exit_code = 1
