"""The public keys of an issuer of JWTs: read in the background, and kept while the issuer can't be reached."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import jwt

from millstream.shared.errors import UnavailableError
from millstream.shared.issuer import Issuer, IssuerError, read_keys

log = logging.getLogger(__name__)

REFRESH_SECONDS: Final = 300.0
RETRY_SECONDS: Final = (
    1.0,
    30.0,
)  # after a failure: the first pause, which doubles up to the second
# Between two reads because of unknown keys: clients can't make the server call the issuer for each request.
UNKNOWN_INTERVAL_SECONDS: Final = 10.0
FIRST_READ_SECONDS: Final = 3.0  # for which a request waits for the first keys
RETRY_AFTER_SECONDS: Final = 5  # for clients while no key is known
# Source: RFC 7518, section 3.1; RFC 8037, section 3.1.
KEY_TYPES: Final = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
CURVES: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}

Read = Callable[[Issuer], list[dict[str, Any]]]


class IssuerKeys:
    """The keys of one issuer."""

    def __init__(
        self,
        issuer: Issuer,
        *,
        read: Read = read_keys,
        refresh: float = REFRESH_SECONDS,
        retry: tuple[float, float] = RETRY_SECONDS,
        unknown_interval: float = UNKNOWN_INTERVAL_SECONDS,
    ) -> None:
        """Reads nothing yet.

        Args:
            issuer: whose keys they are.
            read: reads them; it may block.
            refresh: seconds between two reads.
            retry: seconds of the first pause after a failure, and of the longest.
            unknown_interval: seconds between two reads because of unknown keys.
        """
        self._issuer = issuer
        self._read_keys = read
        self._refresh = refresh
        self._retry = retry
        self._unknown_interval = unknown_interval
        self._keys: list[dict[str, Any]] | None = None
        self._usable: dict[tuple[int, str], jwt.PyJWK | None] = {}  # (index in _keys, algorithm)
        self._began_at = float("-inf")  # monotonic time of the last read, successful or not
        self._reading: asyncio.Task[bool] | None = None
        self._is_failing = False

    async def run(self) -> None:
        """Reads the keys again and again, until it is cancelled."""
        first_pause, max_pause = self._retry
        pause = first_pause
        while True:
            if await self._read():
                pause = first_pause
                await asyncio.sleep(self._refresh)
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, max_pause)

    async def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Returns the key with that id for that algorithm; None if there is none.

        A token without an id needs an issuer with a single key for the algorithm. Raises UnavailableError as long as
        no keys have been read.
        """
        if self._keys is None and self._reading is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_READ_SECONDS):
                    await self._read()
        if self._keys is None:
            raise UnavailableError(
                "The keys of the issuer of tokens are not known yet. Try again shortly.",
                retry_after=RETRY_AFTER_SECONDS,
            )
        key = self._find(self._keys, key_id, algorithm)
        if key is None and time.monotonic() - self._began_at >= self._unknown_interval:
            await self._read()
            key = self._find(self._keys, key_id, algorithm)
        return key

    def _find(
        self, keys: Sequence[dict[str, Any]], key_id: str | None, algorithm: str
    ) -> jwt.PyJWK | None:
        indexes = [
            index
            for index, key in enumerate(keys)
            if is_for(key, algorithm) and (key_id is None or key.get("kid") == key_id)
        ]
        return self._usable_key(indexes[0], algorithm) if len(indexes) == 1 else None

    def _usable_key(self, index: int, algorithm: str) -> jwt.PyJWK | None:
        usage = index, algorithm
        if usage not in self._usable:
            assert self._keys is not None
            self._usable[usage] = parse_key(self._keys[index], algorithm)
        return self._usable[usage]

    async def _read(self) -> bool:
        """Reads the keys, once for all that wait; returns whether that succeeded."""
        if self._reading is None or self._reading.done():
            self._began_at = time.monotonic()
            self._reading = asyncio.create_task(self._read_once())
        return await asyncio.shield(self._reading)

    async def _read_once(self) -> bool:
        try:
            keys = await _in_thread(lambda: self._read_keys(self._issuer))
        except IssuerError as error:
            if not self._is_failing:
                state = "No JWT can be checked" if self._keys is None else "Known keys stay valid"
                log.warning(
                    "The keys of %s can't be read: %s. %s.", self._issuer.name, error, state
                )
            self._is_failing = True
            return False
        if self._is_failing:
            log.warning("The keys of %s are read again.", self._issuer.name)
        self._is_failing = False
        if keys != self._keys:
            self._keys, self._usable = keys, {}
        return True


def is_for(key: dict[str, Any], algorithm: str) -> bool:
    """Returns whether a JSON Web Key may verify signatures of an algorithm."""
    operations = key.get("key_ops")
    return (
        key.get("kty") == KEY_TYPES[algorithm[:2]]
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
        and (algorithm not in CURVES or key.get("crv") == CURVES[algorithm])
    )


def parse_key(key: dict[str, Any], algorithm: str) -> jwt.PyJWK | None:
    """Returns the key for PyJWT; None for an invalid one, or one that is too short to be safe."""
    try:
        usable = jwt.PyJWK(key, algorithm)
        weakness = usable.Algorithm.check_key_length(usable.key)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        weakness = str(error)
    if weakness:
        log.warning("Key %.100r of the issuer is ignored: %s", key.get("kid"), weakness)
        return None
    return usable


async def _in_thread(read: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Returns what `read` returns, from a thread that does not delay the end of the process."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[list[dict[str, Any]]] = loop.create_future()

    def settle(set_result: Callable[[Any], None], value: Any) -> None:
        if not result.done():
            set_result(value)

    def act() -> None:
        try:
            value: Any = read()
            set_result: Callable[[Any], None] = result.set_result
        except Exception as error:  # noqa: BLE001 - the coroutine raises it
            value, set_result = error, result.set_exception
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, set_result, value)

    threading.Thread(target=act, name="issuer-keys", daemon=True).start()
    return await result
