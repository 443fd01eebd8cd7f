"""Credentials of the upstream: wrong, right, gone and back, and no cache is restarted for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.land import Land

# Seconds. The kubelet brings a changed Secret into a pod within a minute and a half; the registry asks for it again
# after one minute more.
FOLLOWED = 180.0


def uids(land: Land) -> set[str]:
    """UIDs of the cache pods."""
    said = json.loads(land.kubectl("get", "pods", "-l", "mirror=private,component=registry", "-o", "json"))
    return {pod["metadata"]["uid"] for pod in said["items"]}


def test_wrong_then_right_then_gone_and_back(land: Land) -> None:
    """Each is told, each is followed, by the same pod; the private CA is trusted all along."""
    name = land.secret("account", username="puller", password="wrong")
    land.apply_mirror("private", land.private.host, credentialsSecret=name)
    land.until(lambda: land.condition("private", "CacheAvailable")["status"] == "True", 120)
    image = land.private.push("lib/secret:1", (2.0,))
    before = uids(land)
    said = land.becomes("private", "CredentialsAvailable", "CredentialsRefused")
    assert "account" in said["message"]
    land.fails(image)
    land.credentials(land.private, "account")
    land.becomes("private", "CredentialsAvailable", "CredentialsAccepted")
    land.until(lambda: land.serves("private", "lib/secret", "1"), FOLLOWED)
    land.pull(image)
    assert land.counted("private") > 2_000_000
    land.kubectl("delete", "secret", "account")
    land.becomes("private", "CredentialsAvailable", "SecretMissing")
    cold = land.private.push("lib/secret:2", (2.0,))
    land.credentials(land.private, "account")
    land.becomes("private", "CredentialsAvailable", "CredentialsAccepted")
    land.until(lambda: land.serves("private", "lib/secret", "2"), FOLLOWED)
    land.pull(cold)
    assert uids(land) == before
    land.delete("private")
