"""An issuer of JWTs for tests: its keys, its tokens, and a server with its documents."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "millstream"


class SigningKey:
    """A private key with its id and algorithm."""

    def __init__(self, key_id: str, algorithm: str = "RS256", *, bits: int = 2048) -> None:
        self.key_id = key_id
        self.algorithm = algorithm
        self.private: Any
        self._to_jwk: Any
        if algorithm.startswith("ES"):
            self.private = ec.generate_private_key(ec.SECP256R1())
            self._to_jwk = ECAlgorithm.to_jwk
        elif algorithm == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
            self._to_jwk = OKPAlgorithm.to_jwk
        else:
            self.private = rsa.generate_private_key(65537, bits)
            self._to_jwk = RSAAlgorithm.to_jwk

    @property
    def public_pem(self) -> bytes:
        """The public key as text, which anybody may have."""
        pem: bytes = self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return pem

    def jwk(self, **fields: Any) -> dict[str, Any]:
        """The public key as a JSON Web Key; without the fields whose value is None."""
        key = json.loads(self._to_jwk(self.private.public_key()))
        key = {**key, "kid": self.key_id, "alg": self.algorithm, "use": "sig", **fields}
        key.pop("key_ops", None) if "key_ops" not in fields else None
        return {name: value for name, value in key.items() if value is not None}


def claims(issuer: str, **fields: Any) -> dict[str, Any]:
    """Returns the claims of a valid token, changed by `fields`, without those whose value is None."""
    now = int(time.time())
    usual = {"iss": issuer, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300}
    return {name: value for name, value in {**usual, **fields}.items() if value is not None}


def token(key: SigningKey, content: dict[str, Any], **header: Any) -> str:
    """Returns a token that the key signed."""
    headers = {
        name: value for name, value in {"kid": key.key_id, **header}.items() if value is not None
    }
    return jwt.encode(content, key.private, algorithm=key.algorithm, headers=headers)


class IssuerServer:
    """Serves the documents of an issuer on a free port."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys = [key.jwk() for key in keys]
        self.status = 200
        self.requests: list[str] = []
        self.documents: dict[str, Any] = {}
        server = self

        class Responder(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self.path)
                body = server.body_of(self.path)
                self.send_response(server.status if body is not None else 404)
                self.send_header("Content-Length", str(len(body or b"")))
                if 300 <= server.status < 400:
                    self.send_header("Location", "/keys")
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: Any) -> None:
                """Prints nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Responder)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def body_of(self, path: str) -> bytes | None:
        """Returns a document; None for an unknown path."""
        usual: dict[str, Any] = {
            "/.well-known/openid-configuration": {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
            },
            "/keys": {"keys": self.keys},
        }
        document = {**usual, **self.documents}.get(path)
        if document is None or isinstance(document, bytes):
            return document
        return json.dumps(document).encode()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
