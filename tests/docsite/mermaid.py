"""The library that draws the diagrams: one file of a pinned npm package, which is checked before it is used."""

import base64
import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

VERSION: Final = "12.3.0"  # the major version is the one that Zensical is written for
SHA512: Final = (
    "4113TdXeLAsMruJ79OpFL5O8+LTFXhQqZ260rF3tgUmiNAtRm4Uume04I+65PRN6yZ69J4f8rVYWW8zRk65UYw=="
)
MEMBER: Final = "package/dist/mermaid.min.js"


class WrongPackageError(Exception):
    """The registry has sent another package than the pinned one."""


def library(cache: Path) -> bytes:
    """Returns the script. Downloads it with npm, unless `cache` has it.

    Raises:
        WrongPackageError: the package differs from the pinned one.
        subprocess.CalledProcessError: npm could not download it.
    """
    stored = cache / f"mermaid-{VERSION}.min.js"
    if not stored.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            script = _downloaded(Path(folder))
            partial = Path(folder) / "script"
            partial.write_bytes(script)
            partial.replace(stored)  # in one step: several processes may build
    return stored.read_bytes()


def _downloaded(folder: Path) -> bytes:
    packed = subprocess.run(
        ["npm", "pack", "--json", "--pack-destination", str(folder), f"mermaid@{VERSION}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    archive = folder / json.loads(packed.stdout)[0]["filename"]
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != SHA512:
        raise WrongPackageError(f"mermaid {VERSION} has the SHA-512 {digest}, not {SHA512}.")
    with tarfile.open(archive) as files:
        member = files.extractfile(MEMBER)
        assert member is not None
        return member.read()
