"""`make audit` with what pip-audit really does: a database that answers, one that knows of something, and none."""

from __future__ import annotations

import json
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from deploy import audit

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

LOCK = audit.LOCKS / "sbom.txt"
FLAW = {
    "id": "TEST-2026-1",
    "summary": "one",
    "affected": [
        {
            "package": {"name": "defusedxml", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}],
        }
    ],
}


@contextmanager
def database(**flaws: Any) -> Iterator[dict[str, str]]:
    """The environment of one who asks a database that knows these flaws, by package."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
            body = json.dumps({"vulns": [flaws[asked]]} if asked in flaws else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (the base class's name)
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield {**os.environ, "NO_PROXY": "*", "PIP_AUDIT_OSV_URL": f"http://127.0.0.1:{server.server_port}/"}
    finally:
        server.shutdown()
        server.server_close()


def test_packages_without_a_known_vulnerability_pass(capsys: pytest.CaptureFixture[str]) -> None:
    with database() as environment:
        assert audit.report(LOCK, audit.audit(LOCK, environment)) == 0
    assert capsys.readouterr().out.endswith("packages asked for, 0 known vulnerabilities\n")


def test_a_known_vulnerability_is_named_with_the_version_that_mends_it(capsys: pytest.CaptureFixture[str]) -> None:
    with database(defusedxml=FLAW) as environment:
        assert audit.report(LOCK, audit.audit(LOCK, environment)) == audit.VULNERABLE
    assert "sbom.txt: defusedxml 0.7.1 has TEST-2026-1; mended in 99\n" in capsys.readouterr().out


def test_a_database_that_is_not_reached_is_no_pass(capsys: pytest.CaptureFixture[str]) -> None:
    with database() as environment:
        gone = environment
    assert audit.report(LOCK, audit.audit(LOCK, gone)) == audit.UNKNOWN
    assert capsys.readouterr().out.startswith("sbom.txt: not audited, the database of vulnerabilities did not answer")
