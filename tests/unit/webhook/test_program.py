"""`python -m webhook` as it runs in a pod: settings, start, certificate, end."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Self

import httpx
import pytest
import yaml

from tests.support import reviews
from tests.support.mirrors import a_mirror
from tests.support.reviews import UID, a_review
from tests.support.webhooks import ROOT, Client, Program, eventually, get, post, program

if TYPE_CHECKING:
    from tests.support.certificates import Issued, Issuer, Mount


def ask(port: int, issuer: Issuer, request: bytes) -> tuple[int, bytes, str]:
    """Return status, body and the certificate's serial number of a request on a new connection."""
    with Client(port, issuer.certificate) as client:
        client.send(request)
        status, body = client.answer()
        return status, body, client.serial


def test_wrong_settings_are_reported_together() -> None:
    started = Program({"WEBHOOK_PORT": "0", "LOG_LEVEL": "loud", "TLS_KEY_FILE": "", "MASQUERADE_DOMAINS": "a b"})
    try:
        status, output = started.end()
    finally:
        started.close()
    assert status == 2
    lines = output.splitlines()
    assert [line.partition("=")[0].partition(":")[0] for line in lines] == [
        "WEBHOOK_PORT",
        "TLS_CERT_FILE",
        "TLS_KEY_FILE",
        "LOG_LEVEL",
        "MASQUERADE_DOMAINS",
    ]
    assert "Traceback" not in output


def test_default_address_is_of_both_families(mount: Mount, issuer: Issuer) -> None:
    """The kubelet asks the first address of the pod, which has any family."""
    mount.hold_pair(issuer.issue())
    with program(mount, WEBHOOK_HOST="") as (started, port):
        started.wait_for_event("webhook listening")
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, port), 5).close()


def test_review_is_answered_and_logged_once(mount: Mount, issuer: Issuer) -> None:
    mount.hold_pair(issuer.issue())
    with program(mount, MASQUERADE_DOMAINS="example.com") as (started, port):
        started.wait_for_event("webhook listening")
        status, body, _ = ask(port, issuer, post("/validate", a_review().body()))
        assert status == 200
        assert UID.encode() in body
        assert b"is outside the domains" in body
        assert started.wait_for_event("review")["result"] == "denied"
        ask(port, issuer, get("/readyz"))
        assert len(started.events("review")) == 1


def test_program_waits_for_its_certificate(mount: Mount, issuer: Issuer) -> None:
    with program(mount) as (started, port):
        assert "cannot be read" in started.wait_for_event("certificate refused")["reason"]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        mount.hold_pair(issuer.issue())
        started.wait_for_event("webhook listening")
        assert ask(port, issuer, get("/readyz"))[:2] == (200, b"ok\n")
        assert len(started.events("certificate refused")) == 1


def test_startup_probe_is_patient_and_frequent() -> None:
    (deployment,) = (
        each
        for each in yaml.safe_load_all((ROOT / "deploy" / "webhook.yaml").read_text())
        if each["kind"] == "Deployment"
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    start = container["startupProbe"]
    assert start["httpGet"] == container["livenessProbe"]["httpGet"]
    assert start["periodSeconds"] == 1
    assert start["failureThreshold"] > 600  # seconds; kubelet then resets its restart backoff


def test_termination_ends_wait_for_certificate(mount: Mount) -> None:
    with program(mount) as (started, _):
        started.wait_for_event("certificate refused")
        started.process.send_signal(signal.SIGTERM)
        assert started.end() == (0, "")


def test_expired_certificate_means_alive_but_not_ready(mount: Mount, issuer: Issuer) -> None:
    mount.hold_pair(issuer.issue(days=(-3, -1)))
    with program(mount) as (started, port):
        started.wait_for_event("webhook listening")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # kubelet's probes verify nothing
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        url = f"https://127.0.0.1:{port}"
        assert httpx.get(f"{url}/healthz", verify=context).status_code == 200
        assert httpx.get(f"{url}/readyz", verify=context).status_code == 503
        mount.hold_pair(issuer.issue())
        started.wait_for_event("certificate reloaded", times=2)
        assert httpx.get(f"{url}/readyz", verify=context).status_code == 200


class Traffic:
    """Clients that post reviews on a kept connection and on new ones. They record the served certificates."""

    def __init__(self, port: int, issuer: Issuer) -> None:
        self._port, self._issuer = port, issuer
        self._done = threading.Event()
        self.serials: list[str] = []
        self.failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def is_served_by(self, issued: Issued) -> bool:
        """Return True if the latest connection got this certificate. Fail after a failed request."""
        assert not self.failures
        return self.serials[-1:] == [issued.serial]

    def _run(self) -> None:
        try:
            with Client(self._port, self._issuer.certificate) as kept:
                while not self._done.is_set():
                    kept.send(REVIEW)
                    assert kept.answer()[0] == 200
                    status, _, serial = ask(self._port, self._issuer, REVIEW)
                    assert status == 200
                    self.serials.append(serial)
        except BaseException as failure:  # noqa: BLE001 (the test reports a thread's failure)
            self.failures.append(failure)


REVIEW = post("/mutate", a_review().body())


def test_reload_under_traffic_fails_no_request(mount: Mount, issuer: Issuer) -> None:
    first, second, third = (issuer.issue() for _ in range(3))
    mount.hold_pair(first)
    with program(mount) as (started, port):
        started.wait_for_event("webhook listening")
        with Traffic(port, issuer) as traffic:
            eventually(lambda: traffic.is_served_by(first), "the first certificate")
            mount.hold(second.certificate, first.key)  # of two pairs
            assert "are not a usable key pair" in started.wait_for_event("certificate refused")["reason"]
            assert traffic.is_served_by(first)
            mount.hold_pair(second)
            eventually(lambda: traffic.is_served_by(second), "the second certificate")
            mount.hold_pair(third)
            eventually(lambda: traffic.is_served_by(third), "the third certificate")
        assert not traffic.failures


def test_termination_finishes_reviews_and_exits_0(mount: Mount, issuer: Issuer) -> None:
    mount.hold_pair(issuer.issue())
    request = post("/validate", a_review().creating(a_mirror().replicated(0)).body())
    with program(mount) as (started, port):
        started.wait_for_event("webhook listening")
        with Client(port, issuer.certificate) as busy, Client(port, issuer.certificate) as idle:
            idle.send(get("/healthz"))
            assert idle.answer()[0] == 200
            busy.send(request[:-10])
            ask(port, issuer, get("/healthz"))  # the server has read the half review by now
            started.process.send_signal(signal.SIGTERM)
            assert idle.rest() == b""
            busy.send(request[-10:])
            status, body = busy.answer()
            assert status == 200
            assert b'"code":422' in body
            assert busy.rest() == b""
        assert started.end() == (0, "")
        assert started.events("webhook stopped")
        assert started.events("review")[0]["result"] == "denied"


def test_termination_announces_connection_close(mount: Mount, issuer: Issuer) -> None:
    """The server closes no connection of a busy API server while a review is on its way."""
    mount.hold_pair(issuer.issue())
    context = ssl.create_default_context(cadata=issuer.certificate.decode())
    with program(mount) as (started, port), httpx.Client(verify=context, base_url=f"https://127.0.0.1:{port}") as kept:
        started.wait_for_event("webhook listening")
        assert "connection" not in kept.get("/healthz").headers
        started.process.send_signal(signal.SIGTERM)
        answers = iter(lambda: kept.get("/healthz"), None)
        assert next(answer for answer in answers if "connection" in answer.headers).headers["connection"] == "close"
        assert started.end() == (0, "")


def test_taken_port_is_reported(mount: Mount, issuer: Issuer) -> None:
    mount.hold_pair(issuer.issue())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with program(mount, WEBHOOK_PORT=str(taken.getsockname()[1])) as (started, _):
            status, _ = started.end()
            assert status != 0
            assert "Address already in use" in started.wait_for_event("library log")["text"]


def test_damaged_bodies_get_400(mount: Mount, issuer: Issuer) -> None:
    mount.hold_pair(issuer.issue())
    bodies = [a_review().body()[:length] for length in range(0, 900, 3)]
    bodies += [a_review().body().replace(b'"', bytes([number])) for number in range(256) if number != ord('"')]
    with program(mount) as (started, port):
        started.wait_for_event("webhook listening")
        for body in bodies:
            status, content, _ = ask(port, issuer, post("/mutate", body))
            assert status == 400, content
        status, content, _ = ask(port, issuer, post("/mutate", a_review().body()))
        assert status == 200
        reviews.assert_well_formed(json.loads(content), UID)
