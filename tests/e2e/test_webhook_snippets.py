"""The snippets of docs/webhooks.md accept Millstream's signatures, and no others."""

import json
import re
from pathlib import Path

import pytest

from e2e.node import node
from millstream.worker.webhooks.signing import read_signing_keys, sign

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")
OLD, NEW = read_signing_keys("an old secret, whsec_bmV3ZXI=")
BODY = '{"status": "success", "who": "Zoë"}'
SIGNED = {
    "webhook-id": "0192",
    "webhook-timestamp": "1764115200",
    "webhook-signature": " ".join(
        sign(key, "0192", 1764115200, BODY.encode()) for key in (OLD, NEW)
    ),
}
CASES = [  # secret, headers, body, whether they fit
    (OLD, SIGNED, BODY, True),
    (NEW, SIGNED, BODY, True),
    (b"another", SIGNED, BODY, False),
    (NEW, SIGNED, BODY + " ", False),
    (NEW, {**SIGNED, "webhook-id": "0193"}, BODY, False),
    (NEW, {**SIGNED, "webhook-timestamp": "1764115201"}, BODY, False),
    (NEW, {**SIGNED, "webhook-signature": "v1,short"}, BODY, False),
]


def snippet(language: str) -> str:
    [code] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(code)


@pytest.mark.parametrize(("secret", "headers", "body", "fits"), CASES)
def test_the_python_snippet_verifies_a_signature(
    secret: bytes, headers: dict[str, str], body: str, fits: bool
) -> None:
    names: dict[str, object] = {}
    exec(snippet("python"), names)  # noqa: S102
    verified = names["verified"]
    assert callable(verified)
    assert verified(secret, headers, body.encode()) is fits


@pytest.mark.usefixtures("node_modules")
async def test_the_javascript_snippet_verifies_a_signature(tmp_path: Path) -> None:
    cases = [[secret.decode(), headers, body] for secret, headers, body, _ in CASES]
    script = tmp_path / "snippet.mjs"
    script.write_text(
        snippet("js")
        + f"const cases = {json.dumps(cases)};\n"
        + "console.log(JSON.stringify(cases.map((each) => verified(...each))));\n"
    )
    assert await node(str(script)) == [fits for *_, fits in CASES]
