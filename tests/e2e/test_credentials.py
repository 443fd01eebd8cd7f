"""Credentials and CA of the upstream: wrong, right, gone and back, and no cache is restarted for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.localcluster.node.installed import NAMESPACE
from tests.support.certificates import Issuer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.testbed import Testbed

# Seconds until a cache uses a changed Secret. The kubelet of the local node takes eight.
FOLLOWED = 60.0
BAD_GATEWAY = 502


def test_wrong_then_right_then_gone_and_back(testbed: Testbed) -> None:
    """The condition reports each change and the same pod follows it. The private CA stays trusted."""
    name = testbed.secret("account", username="puller", password="wrong")
    testbed.apply_mirror("private", testbed.private.host, credentialsSecret=name)
    testbed.until(lambda: testbed.condition("private", "CacheAvailable")["status"] == "True", 120)
    image = testbed.private.push("lib/secret:1", (2.0,))
    before = testbed.started("private")
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
    testbed.until(lambda: not testbed.serves("private", "lib/secret", "1"), FOLLOWED)
    cold = testbed.private.push("lib/secret:2", (2.0,))
    testbed.credentials(testbed.private, "account")
    testbed.becomes("private", "CredentialsAvailable", "CredentialsAccepted")
    testbed.until(lambda: testbed.serves("private", "lib/secret", "2"), FOLLOWED)
    testbed.pull(cold)
    assert testbed.started("private") == before
    testbed.delete("private")


def test_changed_ca_bundle_is_used(testbed: Testbed) -> None:
    """Without its CA the upstream is not reachable. The same pod uses the CA when the bundle has it."""
    testbed.mirror("trusting", testbed.private, credentialsSecret=testbed.credentials(testbed.private))
    image = testbed.private.push("lib/trusted:1", (2.0,))
    before = testbed.started("trusting")
    bundle(testbed, [Issuer("another").certificate.decode()])
    try:
        # A tag that is stored would be served.
        testbed.until(lambda: testbed.tag_status("trusting", "lib/trusted", "missing") == BAD_GATEWAY, FOLLOWED)
        condition = testbed.becomes("trusting", "UpstreamReachable", "UntrustedCertificate")
        assert "CA_CERTIFICATE_BUNDLE" in condition["message"]
    finally:
        bundle(testbed, [testbed.private.ca_file.read_text()])
    testbed.becomes("trusting", "UpstreamReachable", "Reachable", 2 * FOLLOWED)
    testbed.pull(image)
    assert testbed.counted("trusting") > 2_000_000
    assert testbed.started("trusting") == before
    testbed.delete("trusting")


def bundle(testbed: Testbed, certificates: Iterable[str]) -> None:
    """Replace the CAs of CA_CERTIFICATE_BUNDLE."""
    data = {"ca-certificates.crt": "".join(certificates)}
    metadata = {"name": "bundle", "namespace": NAMESPACE}
    testbed.node.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}])
