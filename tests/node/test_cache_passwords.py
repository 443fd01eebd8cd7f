"""Pass arbitrary credentials from a Secret through the real registry to the upstream."""

from __future__ import annotations

import base64
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.desired import registry_config
from controller.desired.secret import credentials_file
from controller.model.inputs import Credentials, CredentialsState
from controller.objects import well_known
from tests.node.test_cache_start import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator

# The colon ends a user name (RFC 7617). Empty values mean anonymous.
USERS = st.text(st.characters(codec="utf-8", exclude_characters=":"), min_size=1, max_size=30)
PASSWORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=80)


class Asking(ThreadingHTTPServer):
    """Empty registry that requires a password and remembers the last one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.given = b""


class _Handler(BaseHTTPRequestHandler):
    server: Asking

    def do_GET(self) -> None:
        header = self.headers.get("Authorization", "")
        if header:
            self.server.given = base64.b64decode(header.removeprefix("Basic "))
        self.send_response(404 if header else 401)
        self.send_header("WWW-Authenticate", 'Basic realm="test"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815 (the name is http.server's)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


class Guarded(Bench):
    """Cache of an upstream that requires a password. The registry calls the helper at each request."""

    def _upstream(self) -> int:
        self.server = Asking()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self.server.server_port

    def prepare(self) -> None:
        """Use the real helper, without caching of credentials."""
        configuration = self.folder / well_known.CONFIGURATION
        at_once = configuration.read_text().replace(f'"{registry_config.CREDENTIALS_LIFETIME}"', '"0s"')
        configuration.write_text(at_once)
        (self.folder / well_known.HELPER).write_text(self._here(registry_config.helper()))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    bench = Guarded(tmp_path_factory.mktemp("passwords"))
    bench.prepare()
    bench.begin()
    yield bench
    for process in bench.processes:
        bench.kill(process)
    bench.server.shutdown()
    bench.server.server_close()
    bench.http.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(username=USERS, password=PASSWORDS, number=st.integers(0, 2**60))
def test_upstream_receives_credentials(guarded: Guarded, username: str, password: str, number: int) -> None:
    file = credentials_file(Credentials(CredentialsState.FOUND, username, password))
    (guarded.folder / well_known.CREDENTIALS).write_text(file)
    guarded.http.get(f"/v2/library/a/manifests/t{number}")
    assert guarded.server.given == f"{username}:{password}".encode()


@pytest.mark.parametrize(
    "password", ["#hash", "!x", "null", "~", "|", "a #b", "&a b", " spaces ", "line\nbreak", "@foo", "{a", "'\"`$(x)"]
)
def test_yaml_like_passwords_are_unchanged(guarded: Guarded, password: str) -> None:
    """Each was lost, changed or fatal in REGISTRY_PROXY_PASSWORD."""
    file = credentials_file(Credentials(CredentialsState.FOUND, "user", password))
    (guarded.folder / well_known.CREDENTIALS).write_text(file)
    guarded.http.get("/v2/library/a/manifests/fixed")
    assert guarded.server.given == f"user:{password}".encode()
