"""Judges the settings, the langgraph.json of the folder, and the URLs under which the API is reached."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from millstream.shared.checks.facts import Facts
from millstream.shared.checks.problem import Problem, error, listing, note, warning
from millstream.shared.settings import Settings

PROXY_SECONDS: Final = 55.0  # the usual limit of silence in proxies is 60 s


def settings_valid(facts: Facts) -> Iterator[Problem]:
    """Finds invalid environment variables, and one setting with two values."""
    environment = facts.environment()
    if environment.error:
        yield error(
            environment.error.rstrip("."),
            "no process starts with it",
            "set the variable to a valid value, or unset it (docs/settings.md)",
        )
    for winner, losers in environment.contradicting.items():
        yield warning(
            f"{winner} and {listing(list(losers))} have different values",
            f"they are the same setting: {winner} counts",
            f"unset {listing(list(losers))}",
        )


def settings_agree(facts: Facts) -> Iterator[Problem]:
    """Finds settings that are valid by themselves and contradict each other."""
    settings = facts.environment().settings
    if settings is None:
        return
    yield from _time_limits(settings)
    if 0 < settings.max_live < settings.jobs_per_worker:
        yield warning(
            f"QUEUE_MAX_DEPTH ({settings.max_live}) is less than N_JOBS_PER_WORKER ({settings.jobs_per_worker})",
            "one worker never fills its slots, and further requests get 429",
            f"QUEUE_MAX_DEPTH={settings.jobs_per_worker} or more; 0 is no limit",
        )
    if not facts.project.reason and (file := facts.project().file) is not None:
        url = settings.webhook_base_url
        if file.config.http.disable_webhooks and (url or settings.webhook_secret):
            yield note(
                "WEBHOOK_… is set, and http.disable_webhooks of langgraph.json disables webhooks",
                "the settings have no effect",
                "remove one of them",
            )


def _time_limits(settings: Settings) -> Iterator[Problem]:
    if settings.keepalive > PROXY_SECONDS:
        yield warning(
            f"KEEPALIVE_INTERVAL_SECS is {settings.keepalive:g} s",
            "proxies and load balancers break off streams that are silent for 60 s",
            "KEEPALIVE_INTERVAL_SECS=5",
        )
    if settings.disconnect_grace > settings.stream_ttl:
        yield warning(
            f"DISCONNECT_GRACE_SECS ({settings.disconnect_grace:g}) is more than RESUMABLE_STREAM_TTL_SECONDS "
            f"({settings.stream_ttl})",
            "a client that may still reconnect finds no events of a run that ended",
            f"RESUMABLE_STREAM_TTL_SECONDS={settings.disconnect_grace:.0f} or more",
        )
    if settings.webhook_give_up <= max(settings.webhook_retry, settings.webhook_timeout):
        yield warning(
            f"WEBHOOK_GIVE_UP_SECS ({settings.webhook_give_up:g}) is not more than WEBHOOK_RETRY_SECS "
            f"({settings.webhook_retry:g}) and WEBHOOK_TIMEOUT_SECS ({settings.webhook_timeout:g})",
            "a webhook whose first call fails is given up without another call",
            "WEBHOOK_GIVE_UP_SECS=86400",
        )
    if settings.lease > settings.job_timeout:
        yield note(
            f"LEASE_SECS ({settings.lease:g}) is more than BG_JOB_TIMEOUT_SECS ({settings.job_timeout:g})",
            "a run of a worker that died waits longer for another worker than it may take",
            "LEASE_SECS=10",
        )


def langgraph_json(facts: Facts) -> Iterator[Problem]:
    """Finds errors in langgraph.json, and keys without an effect."""
    project = facts.project()
    if project.error:
        yield error(
            project.error.rstrip(".").replace("\n\n", "\n"),
            "workers and `millstream dev` do not start in this folder",
            "correct the file: docs/projects.md has its keys",
        )
    if project.file is not None:
        for sentence in project.file.notes:
            yield note(
                sentence.rstrip("."),
                "the graphs run without it",
                "remove the key if nothing else reads it",
            )


def paths(facts: Facts) -> Iterator[Problem]:
    """Finds files and folders that langgraph.json names and that do not exist."""
    project = facts.project()
    if project.missing_files:
        yield error(
            f"langgraph.json names files that do not exist: {listing(list(project.missing_files))}",
            "a worker does not start without them",
            "correct the path, which is relative to the folder of langgraph.json",
        )
    if project.missing_folders:
        yield warning(
            f"`dependencies` of langgraph.json names folders that do not exist: "
            f"{listing(list(project.missing_folders))}",
            "imports from them fail",
            "correct the path, which is relative to the folder of langgraph.json",
        )


def env_file(facts: Facts) -> Iterator[Problem]:
    """Finds an env file, or variables, that `env` of langgraph.json names and that do not exist."""
    for sentence in facts.project().env_notes:
        yield warning(
            sentence.rstrip("."),
            "graphs may lack variables, such as the keys of models",
            "create the file or set the variables; or remove `env` from langgraph.json",
        )


def graphs_import(facts: Facts) -> Iterator[Problem]:
    """Imports the graphs of langgraph.json, in a process of its own."""
    failure = facts.graph_import().error
    if failure:
        yield error(
            failure.rstrip("."),
            "a worker does not start with this project",
            "correct the code, or install what it imports",
        )


def api_urls(facts: Facts) -> Iterator[Problem]:
    """Compares the path of `MILLSTREAM_API_URL` and `MILLSTREAM_PUBLIC_URL` with `http.mount_prefix` and an answer."""
    for answer in facts.api_answers():
        if answer.failure:
            yield note(
                f"No API answers at {answer.variable}={answer.url}",
                f"graphs that call their own server, or clients, can't reach it from this machine: {answer.failure}",
                "start the API, or correct the URL",
            )
        elif not answer.is_millstream:
            yield warning(
                f"{answer.variable}={answer.url} leads to no API of Millstream (status {answer.status})",
                "its path must end with the prefix under which the API is served",
                "correct the path of the URL, or http.mount_prefix of langgraph.json",
            )
    if (
        facts.project.reason
        or (file := facts.project().file) is None
        or not file.config.http.prefix
    ):
        return
    settings, prefix = facts.environment().settings, file.config.http.prefix
    if settings is None:
        return
    urls = {"MILLSTREAM_API_URL": settings.api_url, "MILLSTREAM_PUBLIC_URL": settings.public_url}
    for variable, url in urls.items():
        if url and not urlsplit(url).path.rstrip("/").endswith(prefix):
            yield warning(
                f"The path of {variable}={url} does not end with http.mount_prefix ({prefix})",
                "clients that use the URL get 404",
                f"append {prefix} to {variable}, unless a proxy adds it",
            )
