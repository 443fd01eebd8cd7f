"""Credentials of the upstream: wrong, right, gone and back, and no cache is restarted for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.land import Land

# Seconds. The kubelet brings a changed Secret into a pod within a minute and a half; the registry asks for it again
# after one minute more.
FOLLOWED = 180.0


@pytest.fixture(scope="module")
def private(land: Land) -> Iterator[Land]:
    """A mirror of the upstream that wants an account and has a private CA; its credentials are wrong."""
    name = land.secret("account", username="puller", password="wrong")
    land.apply_mirror("private", land.private.host, credentialsSecret=name)
    land.until(lambda: land.condition("private", "CacheAvailable")["status"] == "True", 120)
    yield land
    land.delete("private")


def uids(land: Land) -> set[str]:
    """UIDs of the cache pods."""
    said = json.loads(land.kubectl("get", "pods", "-l", "mirror=private,component=registry", "-o", "json"))
    return {pod["metadata"]["uid"] for pod in said["items"]}


def test_wrong_then_right_then_gone_and_back(private: Land) -> None:
    """Each is told, each is followed, by the same pod; the private CA is trusted all along."""
    image = private.private.push("lib/secret:1", (2.0,))
    before = uids(private)
    said = private.becomes("private", "CredentialsAvailable", "CredentialsRefused")
    assert "account" in said["message"]
    private.fails(image)
    private.credentials(private.private, "account")
    private.becomes("private", "CredentialsAvailable", "CredentialsAccepted")
    private.until(lambda: private.serves("private", "lib/secret", "1"), FOLLOWED)
    private.pull(image)
    assert private.counted("private") > 2_000_000
    private.kubectl("delete", "secret", "account")
    private.becomes("private", "CredentialsAvailable", "SecretMissing")
    cold = private.private.push("lib/secret:2", (2.0,))
    private.credentials(private.private, "account")
    private.becomes("private", "CredentialsAvailable", "CredentialsAccepted")
    private.until(lambda: private.serves("private", "lib/secret", "2"), FOLLOWED)
    private.pull(cold)
    assert uids(private) == before
