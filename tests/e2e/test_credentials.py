"""Credentials of the upstream: wrong, right, gone and back, and no cache is restarted for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.testbed import Testbed

# Seconds. The kubelet brings a changed Secret into a pod within a minute and a half; the registry asks for it again
# after one minute more.
FOLLOWED = 180.0


def uids(testbed: Testbed) -> set[str]:
    """Return the UIDs of the cache pods."""
    pods = json.loads(testbed.kubectl("get", "pods", "-l", "mirror=private,component=registry", "-o", "json"))
    return {pod["metadata"]["uid"] for pod in pods["items"]}


def test_wrong_then_right_then_gone_and_back(testbed: Testbed) -> None:
    """The condition reports each change and the same pod follows it. The private CA stays trusted."""
    name = testbed.secret("account", username="puller", password="wrong")
    testbed.apply_mirror("private", testbed.private.host, credentialsSecret=name)
    testbed.until(lambda: testbed.condition("private", "CacheAvailable")["status"] == "True", 120)
    image = testbed.private.push("lib/secret:1", (2.0,))
    before = uids(testbed)
    condition = testbed.becomes("private", "CredentialsAvailable", "CredentialsRefused")
    assert "account" in condition["message"]
    testbed.fails(image)
    testbed.credentials(testbed.private, "account")
    testbed.becomes("private", "CredentialsAvailable", "CredentialsAccepted")
    testbed.until(lambda: testbed.serves("private", "lib/secret", "1"), FOLLOWED)
    testbed.pull(image)
    assert testbed.counted("private") > 2_000_000
    testbed.kubectl("delete", "secret", "account")
    testbed.becomes("private", "CredentialsAvailable", "SecretMissing")
    cold = testbed.private.push("lib/secret:2", (2.0,))
    testbed.credentials(testbed.private, "account")
    testbed.becomes("private", "CredentialsAvailable", "CredentialsAccepted")
    testbed.until(lambda: testbed.serves("private", "lib/secret", "2"), FOLLOWED)
    testbed.pull(cold)
    assert uids(testbed) == before
    testbed.delete("private")
