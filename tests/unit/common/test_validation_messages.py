"""Assert the whole message of each important error."""

from __future__ import annotations

import pytest

from common.validation import validate
from tests.support.mirrors import CLAIM, MirrorBuilder, a_mirror

METADATA = "spec.volumeClaimTemplate.metadata"
URL = '; for example "upstreamUrl: quay.io"'
MASQUERADE = '; for example "masqueradeUrl: local.docker.io"'
DNS_NAME = (
    "must be a DNS name, not an IP address: parts of letters, digits and inner hyphens, at most 63 characters each,"
    " joined by dots"
)
NAME = (
    'must be a DNS label (a-z, 0-9, inner hyphens, no dots) of at most 36 characters without "-headless" at the end,'
    ' because object names contain it, as in "registry-mirror-docker"'
)
DURATION = "is not a duration: use numbers with the units h, m, s, ms, us or ns, as in 168h or 1h30m"
A_SECRET = "must be the name of a Secret"
QUANTITY = "is not a quantity: use a number and a suffix (Ki Mi Gi Ti Pi Ei or k M G T P E), as in 20Gi"
MODES = "must be one of 'ReadWriteOnce', 'ReadWriteMany', 'ReadWriteOncePod' or 'ReadOnlyMany'"
REPLICAS = 'must be an integer from 1 to 10, without quotes; for example "replicas: 2"'

MESSAGES: dict[str, MirrorBuilder] = {
    f"spec.upstreamUrl: Required value: the registry to mirror, as a string host[:port]{URL}": a_mirror().having(
        "spec", {}
    ),
    "spec: Required value: an object with at least upstreamUrl; "
    'for example "spec: {upstreamUrl: quay.io}"': a_mirror().without("spec"),
    'spec: Invalid value: "quay.io": must be an object with at least upstreamUrl; '
    'for example "spec: {upstreamUrl: quay.io}"': a_mirror().having("spec", "quay.io"),
    'spec.upstreamUrl: Invalid value: "https://***@quay.io": must not contain user information; put username and'
    f" password in a Secret and name it in credentialsSecret{URL}": a_mirror().of("https://bob:secret@quay.io"),
    'spec.upstreamUrl: Invalid value: "quay.io/v2/": must not have a path; mirror the whole host, and keep the'
    f" path in image names, as in quay.io/path/app:1{URL}": a_mirror().of("quay.io/v2/"),
    'spec.upstreamUrl: Invalid value: "https://": must name a host: an IP address, or a DNS name without underscores'
    f" and without a final dot{URL}": a_mirror().of("https://"),
    'spec.upstreamUrl: Invalid value: "quay.io:99999": must have a port from 1 to 65535 after the colon; remove'
    f" the colon to use the default port{URL}": a_mirror().of("quay.io:99999"),
    'spec.upstreamUrl: Invalid value: "oci://quay.io": has an unknown scheme; use https:// or http://, or'
    f" write host[:port] only{URL}": a_mirror().of("oci://quay.io"),
    'spec.upstreamUrl: Invalid value: ["quay.io"]: must be the registry to mirror, as a string'
    f" host[:port]{URL}": a_mirror().having("spec.upstreamUrl", ["quay.io"]),
    f'spec.masqueradeUrl: Invalid value: "local.docker.io.": {DNS_NAME}{MASQUERADE}': a_mirror().known_as(
        "local.docker.io."
    ),
    'spec.masqueradeUrl: Invalid value: "Local.docker.io": must be in lower case; write'
    f" local.docker.io{MASQUERADE}": a_mirror().known_as("Local.docker.io"),
    'spec.masqueradeUrl: Invalid value: "https://local.docker.io": must be a host name only; remove scheme, port and'
    f" path{MASQUERADE}": a_mirror().known_as("https://local.docker.io"),
    'spec.masqueradeUrl: Invalid value: "localhost": is reserved (localhost), because nodes need it to reach themselves'
    ' or the cluster; for example "masqueradeUrl: mirror.example.com"': a_mirror().known_as("localhost"),
    'spec.credentialsSecret: Invalid value: {"username": ..., "password": ...}: must be the name of a Secret, as a'
    ' string; for example "credentialsSecret: internal-mirror"': a_mirror().having(
        "spec.credentialsSecret", {"username": "bob", "password": "secret"}
    ),
    f'spec.credentialsSecret: Invalid value: "Internal": {A_SECRET} in the controller\'s namespace: a-z, 0-9, inner'
    ' hyphens and dots, at most 253 characters; for example "credentialsSecret: internal-mirror"': (
        a_mirror().logging_in_with("Internal")
    ),
    f"spec.replicas: Invalid value: 0: {REPLICAS}": a_mirror().replicated(0),
    f'spec.replicas: Invalid value: "2": {REPLICAS}': a_mirror().having("spec.replicas", "2"),
    f'spec.ttl: Invalid value: "7d": {DURATION}; days are not a unit: write 168h; for example "ttl: 168h"': (
        a_mirror().keeping("7d")
    ),
    f'spec.ttl: Invalid value: "168": {DURATION}; the unit is missing: write 168h or 168s; for example "ttl: 168h"': (
        a_mirror().keeping("168")
    ),
    "spec.ttl: Invalid value: 0: must be a Go duration, as a string (0s sets no limit); "
    'for example "ttl: 168h"': a_mirror().having("spec.ttl", 0),
    'spec.volumeClaimTemplate: Invalid value: "20Gi": must be a PersistentVolumeClaim; for example'
    ' "volumeClaimTemplate: {spec: {resources: {requests: {storage: 20Gi}}}}"': a_mirror().having(
        "spec.volumeClaimTemplate", "20Gi"
    ),
    f"{METADATA}.name: Forbidden: the StatefulSet names each claim; remove this field": a_mirror().having(
        f"{METADATA}.name", "cache"
    ),
    f"{METADATA}.labels.team: Invalid value: true: must be a string;"
    " write it in quotes": a_mirror().with_claims_labelled({"team": True}),
    f"{METADATA}.labels.team: Invalid value: \"a b\": must be a label value: letters, digits and inner '-', '_', '.',"
    " at most 63 characters, or empty; use an annotation for other text": (
        a_mirror().with_claims_labelled({"team": "a b"})
    ),
    f'{METADATA}.labels["the team"]: Invalid value: "the team": must be a key of letters, digits and inner \'-\','
    " '_', '.', at most 63 characters; an optional prefix is a DNS name and a slash, as in example.com/team": (
        a_mirror().with_claims_labelled({"the team": "a"})
    ),
    f'{CLAIM}.accessModes[0]: Unsupported value: "RWO": {MODES}': a_mirror().accessed("RWO"),
    f"{CLAIM}.accessModes: Forbidden: a cache writes to its volume; use ReadWriteOnce": (
        a_mirror().accessed("ReadOnlyMany")
    ),
    f"{CLAIM}.accessModes: Forbidden: ReadWriteOncePod excludes all other modes; remove the others": (
        a_mirror().accessed("ReadWriteOncePod", "ReadWriteOnce")
    ),
    f'{CLAIM}.resources.requests.storage: Invalid value: "20 Gi": {QUANTITY}': a_mirror().storing("20 Gi"),
    f"{CLAIM}.resources.requests.storage: Invalid value: 0: must be greater than zero, as in 20Gi": (
        a_mirror().storing(0)
    ),
    f"{CLAIM}.resources.requests.storage: Invalid value: 20: is 20 bytes; write 20Gi": a_mirror().storing(20),
    f'{CLAIM}.resources.requests.storage: Invalid value: "100m": is 0.1 bytes; write 100Gi': a_mirror().storing("100m"),
    f'{CLAIM}.resources.limits.storage: Invalid value: ".5": is 0.5 bytes; write .5Gi': a_mirror().limited_to(".5"),
    "spec.cache.resources.limits.memory: Invalid value: 512: is 512 bytes; write 512Mi": (
        a_mirror().placing_caches(resources={"limits": {"memory": 512}})
    ),
    'spec.agent.resources.requests.memory: Invalid value: "+64k": is 64000 bytes; write 64Mi': (
        a_mirror().placing_agents(resources={"requests": {"memory": "+64k"}})
    ),
    'spec.agent.resources.limits.memory: Invalid value: "0.5Ki": is 512 bytes; write 64Mi': (
        a_mirror().placing_agents(resources={"limits": {"memory": "0.5Ki"}})
    ),
    f'{CLAIM}.resources.requests.cpu: Forbidden: a volume has no resource except "storage"; remove this one': (
        a_mirror().having(f"{CLAIM}.resources.requests.cpu", "1")
    ),
    f"{CLAIM}.volumeMode: Forbidden: a cache writes files; remove it, or use Filesystem": a_mirror().having(
        f"{CLAIM}.volumeMode", "Block"
    ),
    f"{CLAIM}.volumeName: Forbidden: each cache pod needs a volume of its own; remove this field, or select volumes"
    " with spec.selector": a_mirror().having(f"{CLAIM}.volumeName", "pv-1"),
    f"{CLAIM}.dataSource.name: Required value: set it, or remove {CLAIM}.dataSource": (
        a_mirror().having(f"{CLAIM}.dataSource", {"kind": "VolumeSnapshot"})
    ),
    'spec.cache.tolerations[0].effect: Unsupported value: "NoSched": must be one of'
    " 'NoSchedule', 'PreferNoSchedule' or 'NoExecute'": a_mirror().placing_caches(
        tolerations=[{"key": "infra", "effect": "NoSched"}]
    ),
    'spec.cache.tolerations[0]: Invalid value: {"key": ..., "operator": ..., "value": ...}: must have no value with'
    " operator: Exists; remove it, or write operator: Equal": a_mirror().placing_caches(
        tolerations=[{"key": "infra", "operator": "Exists", "value": "x"}]
    ),
    'spec.cache.resources: Invalid value: {"requests": ..., "limits": ...}: must not request more memory than its limit'
    ' (2Gi, 1Gi); raise the limit; for example "resources: {requests: {cpu: 50m, memory: 64Mi}}"': (
        a_mirror().placing_caches(resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}})
    ),
    "spec.cache.nodeSelector.infra: Invalid value: true: must be a string; write it in quotes": (
        a_mirror().placing_caches(nodeSelector={"infra": True})
    ),
    "spec.agent.labels.app: Forbidden: the controller sets this key itself; remove it, or use another key": (
        a_mirror().placing_agents(labels={"app": "mine"})
    ),
    f'metadata.name: Invalid value: "docker.io": {NAME}': a_mirror().named("docker.io"),
    f'metadata.name: Required value: {NAME}; for example "name: docker"': a_mirror().without("metadata.name"),
    'metadata.labels.mirror: Invalid value: "other": must be "docker", the name of the mirror; correct it, or'
    " remove the label": a_mirror().labelled({"mirror": "other"}),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_error_has_this_message(message: str) -> None:
    assert [str(error) for error in validate(MESSAGES[message].raw())] == [message]
