"""What a person reads, whole: the important mistakes, one table. `spec.` and the like are part of the product."""

from __future__ import annotations

import pytest

from common.validation import validate
from tests.support.mirrors import CLAIM, MirrorBuilder, a_mirror

METADATA = "spec.volumeClaimTemplate.metadata"
URL = '; for example "upstreamUrl: quay.io"'
MASQUERADE = '; for example "masqueradeUrl: local.docker.io"'
DNS_NAME = (
    "must be a DNS name: letters, digits and inner hyphens in parts of at most 63, separated by dots, with none at the"
    " end; and no IP address"
)
NAME = (
    "must be a DNS label (a-z, 0-9, inner hyphens, no dots) of at most 36 characters that does not end in"
    ' "-headless": it becomes part of other names, as in "registry-mirror-docker"'
)
DURATION = "is no duration: numbers with the units h, m, s, ms, us or ns, as in 168h or 1h30m"
A_SECRET = "must be the name of a Secret"
QUANTITY = "is no quantity: a number and one of the suffixes Ki Mi Gi Ti Pi Ei, k M G T P E, as in 20Gi"
MODES = "must be one of 'ReadWriteOnce', 'ReadWriteMany', 'ReadWriteOncePod' or 'ReadOnlyMany'"
REPLICAS = 'must be an integer from 1 to 10, without quotes; for example "replicas: 2"'

MESSAGES: dict[str, MirrorBuilder] = {
    f"spec.upstreamUrl: Required value: the registry to mirror, as a string host[:port]{URL}": a_mirror().having(
        "spec", {}
    ),
    "spec: Required value: an object that says what to mirror; "
    'for example "spec: {upstreamUrl: quay.io}"': a_mirror().without("spec"),
    'spec: Invalid value: "quay.io": must be an object that says what to mirror; '
    'for example "spec: {upstreamUrl: quay.io}"': a_mirror().having("spec", "quay.io"),
    'spec.upstreamUrl: Invalid value: "https://***@quay.io": must not carry user information: put username and'
    f" password in a Secret and name it in credentialsSecret{URL}": a_mirror().of("https://bob:secret@quay.io"),
    'spec.upstreamUrl: Invalid value: "quay.io/v2/": must not have a path: the registry mirrors the whole host and'
    f" would drop the path in silence{URL}": a_mirror().of("quay.io/v2/"),
    'spec.upstreamUrl: Invalid value: "https://": must name a host: an IP address, or a DNS name without underscores'
    f" and without a dot at its end{URL}": a_mirror().of("https://"),
    'spec.upstreamUrl: Invalid value: "quay.io:99999": must have a port from 1 to 65535 after the colon, or'
    f" none{URL}": a_mirror().of("quay.io:99999"),
    'spec.upstreamUrl: Invalid value: "oci://quay.io": has an unknown scheme: https:// (which may be left out) and'
    f" http:// are understood{URL}": a_mirror().of("oci://quay.io"),
    'spec.upstreamUrl: Invalid value: ["quay.io"]: must be the registry to mirror, as a string'
    f" host[:port]{URL}": a_mirror().having("spec.upstreamUrl", ["quay.io"]),
    f'spec.masqueradeUrl: Invalid value: "local.docker.io.": {DNS_NAME}{MASQUERADE}': a_mirror().known_as(
        "local.docker.io."
    ),
    'spec.masqueradeUrl: Invalid value: "Local.docker.io": must be in lower case: '
    f"local.docker.io{MASQUERADE}": a_mirror().known_as("Local.docker.io"),
    'spec.masqueradeUrl: Invalid value: "https://local.docker.io": must be a host name alone: no scheme, no port, no'
    f" path{MASQUERADE}": a_mirror().known_as("https://local.docker.io"),
    'spec.masqueradeUrl: Invalid value: "localhost": is reserved (localhost): nodes need it to reach themselves or the'
    ' cluster; for example "masqueradeUrl: mirror.example.com"': a_mirror().known_as("localhost"),
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
    f'spec.ttl: Invalid value: "7d": {DURATION}; there is no unit for days: write 168h; for example "ttl: 168h"': (
        a_mirror().keeping("7d")
    ),
    f'spec.ttl: Invalid value: "168": {DURATION}; a unit is needed: 168h, or 168s; for example "ttl: 168h"': (
        a_mirror().keeping("168")
    ),
    "spec.ttl: Invalid value: 0: must be a Go duration, as a string (0s keeps for ever); "
    'for example "ttl: 168h"': a_mirror().having("spec.ttl", 0),
    'spec.volumeClaimTemplate: Invalid value: "20Gi": must be a PersistentVolumeClaim; for example'
    ' "volumeClaimTemplate: {spec: {resources: {requests: {storage: 20Gi}}}}"': a_mirror().having(
        "spec.volumeClaimTemplate", "20Gi"
    ),
    f"{METADATA}.name: Forbidden: the StatefulSet names each claim itself; leave it out": a_mirror().having(
        f"{METADATA}.name", "cache"
    ),
    f"{METADATA}.labels.team: Invalid value: true: must be a string (in quotes, where YAML would read something"
    " else)": a_mirror().with_claims_labelled({"team": True}),
    f"{METADATA}.labels.team: Invalid value: \"a b\": must be a label's value: letters, digits and inner '-', '_',"
    " '.', at most 63 characters, or empty; what holds more can be an annotation": (
        a_mirror().with_claims_labelled({"team": "a b"})
    ),
    f'{METADATA}.labels["the team"]: Invalid value: "the team": must have a key of letters, digits and inner \'-\','
    " '_', '.', at most 63 characters, with a DNS name and a slash before it where wanted, as in example.com/team": (
        a_mirror().with_claims_labelled({"the team": "a"})
    ),
    f'{CLAIM}.accessModes[0]: Unsupported value: "RWO": {MODES}': a_mirror().accessed("RWO"),
    f"{CLAIM}.accessModes: Forbidden: a cache writes to its volume; say ReadWriteOnce": (
        a_mirror().accessed("ReadOnlyMany")
    ),
    f"{CLAIM}.accessModes: Forbidden: ReadWriteOncePod stands alone: Kubernetes allows no other mode beside it": (
        a_mirror().accessed("ReadWriteOncePod", "ReadWriteOnce")
    ),
    f'{CLAIM}.resources.requests.storage: Invalid value: "20 Gi": {QUANTITY}': a_mirror().storing("20 Gi"),
    f"{CLAIM}.resources.requests.storage: Invalid value: 0: must be more than nothing, as in 20Gi": (
        a_mirror().storing(0)
    ),
    f'{CLAIM}.resources.requests.cpu: Forbidden: a volume has no other resource than "storage"; leave this one out': (
        a_mirror().having(f"{CLAIM}.resources.requests.cpu", "1")
    ),
    f"{CLAIM}.volumeMode: Forbidden: a cache writes files; leave it out, or say Filesystem": a_mirror().having(
        f"{CLAIM}.volumeMode", "Block"
    ),
    f"{CLAIM}.volumeName: Forbidden: every cache pod has a volume of its own, and one name cannot be all of them;"
    " choose volumes by spec.selector": a_mirror().having(f"{CLAIM}.volumeName", "pv-1"),
    f"{CLAIM}.dataSource.name: Required value: must be set, or the whole of {CLAIM}.dataSource left out": (
        a_mirror().having(f"{CLAIM}.dataSource", {"kind": "VolumeSnapshot"})
    ),
    f'metadata.name: Invalid value: "docker.io": {NAME}': a_mirror().named("docker.io"),
    f'metadata.name: Required value: {NAME}; for example "name: docker"': a_mirror().without("metadata.name"),
    'metadata.labels.mirror: Invalid value: "other": must be "docker", the name of the mirror, or be left out: it is'
    " how everything of a mirror is found": a_mirror().labelled({"mirror": "other"}),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_a_mistake_is_told_in_these_words(message: str) -> None:
    assert [str(problem) for problem in validate(MESSAGES[message].raw())] == [message]
