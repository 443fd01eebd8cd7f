"""Serve tokens as Docker Hub does: `GET /token?service=...&scope=repository:lib/test:pull` returns a JWT.

Runs as its own process: `python -m tests.localcluster.node.tokens <json>`, with the fields of `Settings`. It has no
TLS, as a `front` stands before it.
"""

import base64
import http.server
import json
import sys
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from common.types import Json

LIFETIME = 300  # seconds, as at Docker Hub
CLOCK_SKEW = 60  # seconds of clock skew
HALF = 32  # bytes of each number of a P-256 signature


@dataclass(frozen=True)
class Settings:
    """`account` is `username:password`; `public` allows pulls without. The PEM files are for signing."""

    port: int
    issuer: str
    account: str
    public: bool
    certificate: str
    key: str


class Issuer:
    """Sign tokens; the registry checks the certificate in them against its CA."""

    def __init__(self, settings: Settings) -> None:
        certificate = x509.load_pem_x509_certificate(Path(settings.certificate).read_bytes())
        key = serialization.load_pem_private_key(Path(settings.key).read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{settings.key} holds no EC key")  # written by us, so this is a bug
        self._name = settings.issuer
        self._key = key
        der = certificate.public_bytes(serialization.Encoding.DER)
        self._header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}

    def token(self, service: str, access: list[Json], now: int) -> str:
        """Return a JWT for `service` that grants `access`, valid from `now` (seconds since 1970)."""
        claims = {
            "iss": self._name,
            "sub": "",
            "aud": service,
            "exp": now + LIFETIME,
            "nbf": now - CLOCK_SKEW,
            "iat": now,
            "access": access,
        }
        signed = f"{_encoded(json.dumps(self._header).encode())}.{_encoded(json.dumps(claims).encode())}"
        parts = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encoded(b''.join(part.to_bytes(HALF, 'big') for part in parts))}"


def granted(scopes: list[str], *, pull_only: bool) -> list[Json]:
    """Return the claims for scopes such as `repository:lib/test:pull,push`, without those not allowed."""
    access = []
    for scope in scopes:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        wanted = [action for action in actions.split(",") if action == "pull" or not pull_only]
        access.append({"type": kind, "name": name, "actions": wanted})
    return access


class Handler(http.server.BaseHTTPRequestHandler):
    """Answer GET; a POST (OAuth2) gets 404, after which clients use GET."""

    settings: Settings
    issuer: Issuer

    def do_GET(self) -> None:
        """Answer with a token, or 401."""
        authorization = self.headers.get("Authorization")
        expected = "Basic " + base64.b64encode(self.settings.account.encode()).decode()
        if authorization != expected and (authorization or not self.settings.public):
            self._answer(HTTPStatus.UNAUTHORIZED, {"details": "incorrect username or password"})
            return
        query = parse_qs(urlsplit(self.path).query)
        scopes = [scope for each in query.get("scope", []) for scope in each.split(" ")]
        access = granted(scopes, pull_only=authorization is None)
        token = self.issuer.token(query.get("service", [""])[0], access, int(time.time()))
        self._answer(HTTPStatus.OK, {"token": token, "access_token": token, "expires_in": LIFETIME})

    def do_POST(self) -> None:
        """Refuse, as many token servers do."""
        self._answer(HTTPStatus.NOT_FOUND, {})

    def _answer(self, status: HTTPStatus, content: Json) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(settings: Settings) -> None:
    """Serve until this process is ended."""
    Handler.settings, Handler.issuer = settings, Issuer(settings)
    http.server.ThreadingHTTPServer(("127.0.0.1", settings.port), Handler).serve_forever()


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


if __name__ == "__main__":
    main(Settings(**json.loads(sys.argv[1])))
