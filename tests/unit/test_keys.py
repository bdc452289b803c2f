"""Keys: job ids contain their run, the keys of a thread share a slot, the permanent list is complete."""

import inspect
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.shared import key_lists, keys

NO_KEYS = {"parse_job_id", "decode_job_id", "thread_id_of", "threads_index"}
PLAIN = st.text(st.characters(exclude_characters="/"), min_size=1)


@given(PLAIN, st.text(min_size=1))
def test_a_job_id_contains_its_thread_and_run(thread: str, run: str) -> None:
    assert keys.parse_job_id(keys.job_id(thread, run)) == (thread, run)


@pytest.mark.parametrize("text", ["", "/", "a", "a/", "/b"])
def test_an_invalid_job_id_raises(text: str) -> None:
    with pytest.raises(ValueError, match="not a job id"):
        keys.parse_job_id(text)


@pytest.mark.parametrize(
    "key",
    [
        keys.thread("t"),
        keys.runs("t"),
        keys.waiting("t"),
        keys.deferred("t"),
        keys.run("t", "r"),
        keys.events("t", "r"),
    ],
)
def test_keys_of_a_thread_have_its_id_as_hash_tag(key: str) -> None:
    assert key.startswith("ms:{t}:")


@pytest.mark.parametrize("text", [b"", b"junk", b"/", b"a/", b"/a", b"\xff/\xff"])
def test_an_invalid_job_id_decodes_to_none(text: bytes) -> None:
    assert keys.decode_job_id(text) is None
    assert keys.decode_job_id(b"t/r") == "t/r"


def test_the_thread_of_a_key_is_its_hash_tag() -> None:
    assert (
        keys.thread_id_of(keys.thread("t-1")) == keys.thread_id_of(keys.events("t-1", "r")) == "t-1"
    )


def test_all_keys_differ() -> None:
    functions: list[Callable[..., str]] = [
        function
        for name, function in inspect.getmembers(keys, inspect.isfunction)
        if name not in NO_KEYS
    ]
    created = [
        function(*["x"] * len(inspect.signature(function).parameters)) for function in functions
    ]
    assert len(set(created)) == len(created)


def test_permanent_keys_say_so_in_their_docstring() -> None:
    said = set(keys.threads_index())
    for name, function in inspect.getmembers(keys, inspect.isfunction):
        head = (function.__doc__ or "").partition(":")[0]
        if "permanent" in head and name not in ("threads_by", "threads_of"):
            [*parameters] = inspect.signature(function).parameters
            said.add(
                function(
                    *(keys.call_queue("g") if "call_queue" in text else "q" for text in parameters)
                )
            )
    store = {keys.calls(keys.STORE), keys.workers(keys.STORE)}
    assert key_lists.permanent_keys(["q"], ["g"]) == said | store
    always = {
        keys.api_keys(),
        keys.api_keys_version(),
        keys.assistants(),
        keys.crons(),
        keys.deliveries(),
        keys.expiring(),
        keys.graphs(),
        keys.garbage(),
        keys.identities(),
        keys.live(),
        keys.offers(),
        keys.project(),
        keys.queues(),
        keys.routes(),
        keys.runs_with_checkpoints(),
        keys.retired(),
        keys.unindexed(),
        *keys.threads_index(),
    }
    assert key_lists.permanent_keys([], []) == always | store
    assert key_lists.permanent_keys(["q"], []) < key_lists.permanent_keys(["q", "r"], [])


def test_a_run_ref_holds_the_job_and_the_keys_that_release_it() -> None:
    parts = ["t/r", keys.queue("q"), keys.wake("q"), keys.run("t", "r")]
    parts += [keys.events("t", "r"), keys.delivery("t", "r")]
    assert keys.run_ref("t", "r", "q").split(" ") == parts


def test_each_key_function_has_a_sample() -> None:
    """A Redis user may have access to some of `ms:queue:*`, `ms:{*`, …, so the check tries a sample of each."""
    created = [
        function(*["x"] * len(inspect.signature(function).parameters))
        for name, function in inspect.getmembers(keys, inspect.isfunction)
        if name not in NO_KEYS
    ]
    kinds = {re.split("[:{]", key)[1] for key in created if key.startswith("ms:")}
    tried = {
        re.split("[:{]", key)[1] for key in (*key_lists.sample_keys(), *key_lists.sample_channels())
    }
    assert kinds == tried
