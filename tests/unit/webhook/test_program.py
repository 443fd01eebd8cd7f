"""`python -m webhook` as it runs in a pod: its settings, its start, its certificate, its end."""

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
from tests.support.certificates import Issued, Issuer, Mount
from tests.support.mirrors import a_mirror
from tests.support.reviews import UID, a_review
from tests.support.webhooks import ROOT, Client, Program, eventually, get, post, program

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    return Mount(tmp_path / "tls")


def ask(port: int, issuer: Issuer, request: bytes) -> tuple[int, bytes, str]:
    """Status, body and the certificate's serial number of one request on a connection of its own."""
    with Client(port, issuer.certificate) as client:
        client.send(request)
        status, body = client.answer()
        return status, body, client.serial


def test_wrong_settings_are_told_all_together_one_line_a_mistake_and_end_it_with_status_2() -> None:
    started = Program({"WEBHOOK_PORT": "0", "LOG_LEVEL": "loud", "TLS_KEY_FILE": "", "MASQUERADE_DOMAINS": "a b"})
    try:
        status, told = started.end()
    finally:
        started.close()
    assert status == 2
    lines = told.splitlines()
    assert [line.partition("=")[0].partition(":")[0] for line in lines] == [
        "WEBHOOK_PORT",
        "TLS_CERT_FILE",
        "TLS_KEY_FILE",
        "LOG_LEVEL",
        "MASQUERADE_DOMAINS",
    ]
    assert "Traceback" not in told


def test_it_answers_reviews_and_tells_each_in_one_line(mount: Mount, issuer: Issuer) -> None:
    mount.hold_pair(issuer.issue())
    with program(mount, MASQUERADE_DOMAINS="example.com") as (started, port):
        started.told("webhook listens")
        status, body, _ = ask(port, issuer, post("/validate", a_review().body()))
        assert status == 200
        assert UID.encode() in body
        assert b"is outside the domains" in body
        assert started.told("review")["result"] == "denied"
        ask(port, issuer, get("/readyz"))
        assert len(started.events("review")) == 1


def test_without_its_certificate_it_waits_says_so_once_and_serves_when_it_is_there(
    mount: Mount, issuer: Issuer
) -> None:
    with program(mount) as (started, port):
        assert "cannot be read" in started.told("certificate refused")["reason"]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        mount.hold_pair(issuer.issue())
        started.told("webhook listens")
        assert ask(port, issuer, get("/readyz"))[:2] == (200, b"ok\n")
        assert len(started.events("certificate refused")) == 1


def test_kubelet_lets_it_wait_for_a_certificate_and_sees_soon_that_it_listens() -> None:
    (deployment,) = (
        each
        for each in yaml.safe_load_all((ROOT / "deploy" / "webhook.yaml").read_text())
        if each["kind"] == "Deployment"
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    start = container["startupProbe"]
    assert start["httpGet"] == container["livenessProbe"]["httpGet"]
    assert start["periodSeconds"] == 1
    assert start["failureThreshold"] > 600  # seconds after which kubelet forgets how often it has started one


def test_a_termination_ends_the_wait_for_a_certificate_too(mount: Mount) -> None:
    with program(mount) as (started, _):
        started.told("certificate refused")
        started.process.send_signal(signal.SIGTERM)
        assert started.end() == (0, "")


def test_an_expired_certificate_leaves_it_alive_and_not_ready_until_a_better_one_comes(
    mount: Mount, issuer: Issuer
) -> None:
    mount.hold_pair(issuer.issue(days=(-3, -1)))
    with program(mount) as (started, port):
        started.told("webhook listens")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusting all, as kubelet's probes do
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        url = f"https://127.0.0.1:{port}"
        assert httpx.get(f"{url}/healthz", verify=context).status_code == 200
        assert httpx.get(f"{url}/readyz", verify=context).status_code == 503
        mount.hold_pair(issuer.issue())
        started.told("certificate taken up", times=2)
        assert httpx.get(f"{url}/readyz", verify=context).status_code == 200


class Traffic:
    """Clients that post reviews on a connection that is kept and on ever new ones; counts what serves them."""

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
        """Whether the latest connection was; a failed request ends the wait for it."""
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
        except BaseException as failure:  # noqa: BLE001 (a thread's failure is the test's)
            self.failures.append(failure)


REVIEW = post("/mutate", a_review().body())


def test_certificates_are_taken_up_under_traffic_without_one_failed_request(mount: Mount, issuer: Issuer) -> None:
    first, second, third = (issuer.issue() for _ in range(3))
    mount.hold_pair(first)
    with program(mount) as (started, port):
        started.told("webhook listens")
        with Traffic(port, issuer) as traffic:
            eventually(lambda: traffic.is_served_by(first), "the first certificate")
            mount.hold(second.certificate, first.key)  # no pair
            assert "are no pair that can serve" in started.told("certificate refused")["reason"]
            assert traffic.is_served_by(first)
            mount.hold_pair(second)
            eventually(lambda: traffic.is_served_by(second), "the second certificate")
            mount.hold_pair(third)
            eventually(lambda: traffic.is_served_by(third), "the third certificate")
        assert not traffic.failures


def test_a_termination_lets_the_review_in_hand_finish_and_ends_with_status_0(mount: Mount, issuer: Issuer) -> None:
    mount.hold_pair(issuer.issue())
    request = post("/validate", a_review().creating(a_mirror().replicated(0)).body())
    with program(mount) as (started, port):
        started.told("webhook listens")
        with Client(port, issuer.certificate) as busy, Client(port, issuer.certificate) as idle:
            idle.send(get("/healthz"))
            assert idle.answer()[0] == 200
            busy.send(request[:-10])
            ask(port, issuer, get("/healthz"))  # by now the half review has been read
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


def test_a_termination_takes_leave_of_clients_that_keep_their_connections(mount: Mount, issuer: Issuer) -> None:
    """An API server that posts without a pause has no connection closed under a review that is on its way."""
    mount.hold_pair(issuer.issue())
    context = ssl.create_default_context(cadata=issuer.certificate.decode())
    with program(mount) as (started, port), httpx.Client(verify=context, base_url=f"https://127.0.0.1:{port}") as kept:
        started.told("webhook listens")
        assert "connection" not in kept.get("/healthz").headers
        started.process.send_signal(signal.SIGTERM)
        answers = iter(lambda: kept.get("/healthz"), None)
        assert next(answer for answer in answers if "connection" in answer.headers).headers["connection"] == "close"
        assert started.end() == (0, "")


def test_a_taken_port_ends_it_with_a_line_that_says_so(mount: Mount, issuer: Issuer) -> None:
    mount.hold_pair(issuer.issue())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with program(mount, WEBHOOK_PORT=str(taken.getsockname()[1])) as (started, _):
            status, _ = started.end()
            assert status != 0
            assert "Address already in use" in started.told("library log")["text"]


def test_any_of_a_thousand_hostile_bodies_over_tls_gets_an_answer_and_never_a_5xx(mount: Mount, issuer: Issuer) -> None:
    mount.hold_pair(issuer.issue())
    bodies = [a_review().body()[:length] for length in range(0, 900, 3)]
    bodies += [a_review().body().replace(b'"', bytes([number])) for number in range(256) if number != ord('"')]
    with program(mount) as (started, port):
        started.told("webhook listens")
        for body in bodies:
            status, content, _ = ask(port, issuer, post("/mutate", body))
            assert status == 400, content
        status, content, _ = ask(port, issuer, post("/mutate", a_review().body()))
        assert status == 200
        reviews.assert_well_formed(json.loads(content), UID)
