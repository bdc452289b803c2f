"""Deployments in which one thing is wrong, and what `millstream doctor` must say of each."""

from dataclasses import replace

from msgspec.structs import replace as replace_struct

from millstream.shared.checks.facts import (
    ApiAnswer,
    Environment,
    Fact,
    Facts,
    GraphImport,
    GraphState,
    IssuerState,
    KeyRing,
    Lapsed,
    OtherKeys,
    ProjectState,
    Stuck,
)
from millstream.shared.checks.problem import Severity
from millstream.shared.figures import Backlog
from millstream.shared.wire import PROTOCOL
from unit.checks import (
    FIGURES,
    FINE,
    NOW_US,
    a_key,
    project_file,
    with_facts,
    with_queue,
    with_settings,
    with_worker,
)

OPEN = ApiAnswer("MILLSTREAM_API_URL", "http://api", status=200, is_millstream=True, is_open=True)
E, W, N = Severity.ERROR, Severity.WARNING, Severity.NOTE
PREFIXED = project_file({"http": {"mount_prefix": "/agents"}})
TWO_GRAPHS = (
    GraphState("chat", "default", is_served=True),
    GraphState("old", "gpu", is_served=False, unserved_for=90.0),
)

# Facts in which one thing is wrong → the check that reports it, how bad it is, and a part of what and how to mend it.
DEPLOYMENTS: list[tuple[Facts, str, Severity, str, str]] = [
    (
        with_queue(workers=0),
        "due-runs",
        E,
        "'default' has 1 due run and no worker",
        "millstream worker --queue default",
    ),
    (with_queue(due=0, workers=0), "workers", N, "No worker is live", "millstream worker"),
    (with_queue(lost_workers=1), "workers", W, "1 worker of queue 'default' stopped", "restart it"),
    (
        with_worker(protocol=0),
        "versions",
        W,
        f"can't execute runs of protocol {PROTOCOL}: w4",
        "replace these workers",
    ),
    (
        with_worker(version="0.2.0"),
        "versions",
        N,
        "Millstream: 0.1.0, 0.2.0",
        "complete the deploy",
    ),
    (with_worker(version=""), "versions", N, "Millstream: 0.1.0, unknown", "complete the deploy"),
    (
        with_settings(aes_key="k" * 16),
        "encryption-keys",
        W,
        "2 workers can't read data that other processes encrypt: w2, w1",
        "LANGGRAPH_AES_FALLBACK_KEYS",
    ),
    (
        replace(
            FINE,
            figures=Fact(
                replace(
                    FIGURES,
                    workers=[
                        replace(each, record=replace_struct(each.record, encryption_keys=["aa"]))
                        for each in FIGURES.workers
                    ],
                )
            ),
        ),
        "encryption-keys",
        N,
        "this environment has no key",
        "set LANGGRAPH_AES_KEY for all APIs",
    ),
    (
        with_queue(unserved=3),
        "unserved-runs",
        W,
        "can't execute 3 due runs",
        "langgraph.json has the graph",
    ),
    (
        replace(with_queue(workers=0, due=0), graphs=Fact(TWO_GRAPHS[1:])),
        "unserved-graphs",
        N,
        "'old' (queue 'gpu')",
        "millstream worker",
    ),
    (
        with_facts(graphs=TWO_GRAPHS),
        "unserved-graphs",
        W,
        "'old' (queue 'gpu')",
        "millstream worker --queue gpu",
    ),
    (
        with_facts(lapsed=(Lapsed("default", 2, 60.0),)),
        "lapsed-leases",
        W,
        "2 leases of queue 'default' lapsed, the first 60 s ago",
        "millstream worker --queue default",
    ),
    (
        with_facts(lapsed=(Lapsed("default", 1, 1.0),)),
        "lapsed-leases",
        N,
        "1 lease of queue",
        "millstream worker",
    ),
    (
        with_facts(stuck=Stuck(runs=("t/1", "t/2", "t/3", "t/4"))),
        "stuck-runs",
        W,
        "4 runs can't be reached by a claim: t/1, t/2, t/3 and 1 more",
        "reaper",
    ),
    (
        with_facts(stuck=Stuck(threads=("t",))),
        "stuck-threads",
        W,
        "1 thread wait for a run that does not exist: t",
        "reaper",
    ),
    (with_facts(stuck=Stuck(deletions=2)), "stuck-threads", N, "deletion of 2 threads", "reaper"),
    (
        with_facts(figures=replace(FIGURES, crons=Backlog(2, 90.0))),
        "crons",
        W,
        "2 crons should have fired, the first 90 s ago",
        "millstream worker",
    ),
    (
        with_facts(figures=replace(FIGURES, webhooks=Backlog(1, 700.0))),
        "webhooks",
        W,
        "1 webhook should have been called",
        "millstream worker",
    ),
    (
        with_facts(other_keys=OtherKeys({"cache": 7, "celery": 9}, 900)),
        "other-keys",
        N,
        "'celery' (9), 'cache' (7), among the first 900 keys",
        "another database",
    ),
    (
        with_facts(environment=Environment(None, "N_JOBS_PER_WORKER='x' is not a whole number.")),
        "settings",
        E,
        "N_JOBS_PER_WORKER='x' is not a whole number",
        "docs/settings.md",
    ),
    (
        with_facts(
            environment=Environment(
                FINE.environment().settings, contradicting={"REDIS_URL": ("REDIS_URI",)}
            )
        ),
        "settings",
        W,
        "REDIS_URL and REDIS_URI have different values",
        "unset REDIS_URI",
    ),
    (
        with_settings(keepalive=90.0),
        "contradictions",
        W,
        "KEEPALIVE_INTERVAL_SECS is 90 s",
        "KEEPALIVE_INTERVAL_SECS=5",
    ),
    (
        with_settings(disconnect_grace=60.0, stream_ttl=30),
        "contradictions",
        W,
        "DISCONNECT_GRACE_SECS (60)",
        "RESUMABLE_STREAM_TTL_SECONDS=60",
    ),
    (
        with_settings(webhook_give_up=4.0),
        "contradictions",
        W,
        "WEBHOOK_GIVE_UP_SECS (4)",
        "WEBHOOK_GIVE_UP_SECS=86400",
    ),
    (with_settings(max_live=5), "contradictions", W, "QUEUE_MAX_DEPTH (5)", "QUEUE_MAX_DEPTH=10"),
    (with_settings(job_timeout=5.0), "contradictions", N, "LEASE_SECS (10)", "LEASE_SECS=10"),
    (
        replace(
            with_settings(webhook_base_url="https://app"),
            project=Fact(ProjectState(project_file({"http": {"disable_webhooks": True}}))),
        ),
        "contradictions",
        N,
        "disables webhooks",
        "remove one",
    ),
    (
        with_facts(project=ProjectState(None, "langgraph.json is not valid JSON: line 3.")),
        "langgraph.json",
        E,
        "not valid JSON",
        "correct the file",
    ),
    (
        with_facts(project=ProjectState(project_file({"ui": {"a": "b"}}))),
        "langgraph.json",
        N,
        "`ui` of langgraph.json has no effect",
        "remove the key",
    ),
    (
        with_facts(project=ProjectState(project_file(), missing_files=("./chat.py",))),
        "paths",
        E,
        "do not exist: ./chat.py",
        "correct the path",
    ),
    (
        with_facts(project=ProjectState(project_file(), missing_folders=("./lib",))),
        "paths",
        W,
        "do not exist: ./lib",
        "correct the path",
    ),
    (
        with_facts(project=ProjectState(project_file(), env_notes=("env: not set: KEY.",))),
        "env",
        W,
        "not set: KEY",
        "set the variables",
    ),
    (
        with_facts(graph_import=GraphImport("graph 'chat': no module named x.")),
        "graphs",
        E,
        "no module named x",
        "install what it imports",
    ),
    (
        with_facts(api_answers=(ApiAnswer("MILLSTREAM_API_URL", "http://api/x", status=404),)),
        "api-urls",
        W,
        "leads to no API of Millstream (status 404)",
        "correct the path",
    ),
    (
        with_facts(api_answers=(ApiAnswer("MILLSTREAM_API_URL", "http://api", failure="refused"),)),
        "api-urls",
        N,
        "No API answers at MILLSTREAM_API_URL=http://api",
        "start the API",
    ),
    (
        replace(
            with_settings(public_url="https://a.example/x"), project=Fact(ProjectState(PREFIXED))
        ),
        "api-urls",
        W,
        "does not end with http.mount_prefix (/agents)",
        "append /agents to MILLSTREAM_PUBLIC_URL",
    ),
    (
        with_facts(api_answers=(replace(OPEN, variable="MILLSTREAM_PUBLIC_URL"),)),
        "open-apis",
        W,
        "MILLSTREAM_PUBLIC_URL=http://api needs no credentials",
        "AUTH_TYPE=api_key",
    ),
    (
        with_facts(api_answers=(OPEN, replace(OPEN, url="http://127.0.0.1:2024"))),
        "open-apis",
        N,
        "MILLSTREAM_API_URL=http://api needs no credentials",
        "millstream keys create",
    ),
    (
        with_facts(issuer=IssuerState("https://id.example", "it is not reachable: refused")),
        "issuer",
        E,
        "https://id.example can't be read",
        "AUTH_JWT_JWKS_URL",
    ),
    (
        with_facts(api_keys=KeyRing((a_key("ci", expires_in_days=13),), NOW_US)),
        "api-keys",
        W,
        "1 API key will expire within 14 days: ci (kkkkkkkkkkkk)",
        "millstream keys rotate kkkkkkkkkkkk",
    ),
    (
        replace(
            with_settings(auth_type="api_key"),
            api_keys=Fact(KeyRing((a_key("past", expires_in_days=-1),), NOW_US)),
        ),
        "api-keys",
        N,
        "no valid API key",
        "millstream keys create",
    ),
]
