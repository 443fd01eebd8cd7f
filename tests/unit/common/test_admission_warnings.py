"""Assert the admission warnings for valid specs with surprising effects."""

from __future__ import annotations

import pytest

from common.admission_warnings import warnings_for
from common.model import RegistryMirrorSpec
from tests.support.mirrors import CLAIM, MirrorBuilder, a_mirror

HUB = "is not a registry; the mirror uses https://registry-1.docker.io for images named docker.io/..."
UNENCRYPTED = "unencrypted; use https:// if the registry supports it"
SHARED = (
    "spec.credentialsSecret: every pod of the cluster can pull all private images that these credentials can read; use"
    " an account with access to shared images only"
)
SAME_NAME = (
    "spec.masqueradeUrl: is the upstream's own name, so all programs on the nodes reach the mirror instead of the"
    " upstream while the mirror answers; choose another name"
)
OTHER_NAME = (
    "spec.masqueradeUrl: is the name of another registry, so nodes get its images from the mirror's upstream; choose a"
    " name that no registry has"
)
SERVICE_NAME = (
    "spec.masqueradeUrl: may be a host from which registries serve tokens or content, so nodes reach the mirror instead"
    " of it; choose a name that no registry has"
)
SERVICES = ["auth.docker.io", "registry.docker.io", "production.cloudflare.docker.com", "gitlab.com"]
HUB_ALIASES = ["docker.io", "hub.docker.io", "hub.docker.com", "index.docker.io", "registry.hub.docker.com"]
HUB_NAMES = [*HUB_ALIASES, "registry-1.docker.io"]
OTHER_SPELLING = (
    "spec.upstreamUrl: images named {}/... do not use the mirror, because nodes compare names letter by letter; name"
    " them {}/..."
)
SMALL = "is too small for most images; 20Gi holds about 50 images"


def _warnings(mirror: MirrorBuilder) -> list[str]:
    return warnings_for(RegistryMirrorSpec.model_validate(mirror.raw()["spec"]))


@pytest.mark.parametrize(
    "mirror",
    [
        a_mirror(),
        a_mirror().of("registry-1.docker.io"),
        a_mirror().of("HTTPS://quay.io:443/"),
        a_mirror().keeping("1ns").storing("20Gi").replicated(10).known_as("local.docker.io"),
        a_mirror().storing("100Mi").on_class(""),
    ],
    ids=lambda mirror: str(mirror.raw()["spec"])[:60],
)
def test_usual_spec_has_no_warning(mirror: MirrorBuilder) -> None:
    assert _warnings(mirror) == []


@pytest.mark.parametrize("host", HUB_ALIASES)
@pytest.mark.parametrize("spelling", ["{}", "https://{}/", "http://{}", "{}:443"])
def test_docker_hub_alias_is_warned_about(host: str, spelling: str) -> None:
    assert _warnings(a_mirror().of(spelling.format(host))) == [f"spec.upstreamUrl: {host} {HUB}"]


@pytest.mark.parametrize(
    ("mirror", "expected"),
    [
        (a_mirror().of("http://quay.io"), [f"spec.upstreamUrl: http:// sends images {UNENCRYPTED}"]),
        (
            a_mirror().of("http://quay.io").logging_in_with("internal"),
            [
                f"spec.upstreamUrl: http:// sends images and the credentials of spec.credentialsSecret {UNENCRYPTED}",
                SHARED,
            ],
        ),
        (a_mirror().logging_in_with("internal"), [SHARED]),
        (a_mirror().known_as("quay.io"), [SAME_NAME]),
        (a_mirror().of("quay.io").known_as("ghcr.io"), [OTHER_NAME]),
        *((a_mirror().of("registry-1.docker.io").known_as(name), [SAME_NAME]) for name in HUB_NAMES),
        *((a_mirror().of("registry-1.docker.io").known_as(name), [SERVICE_NAME]) for name in SERVICES),
        (a_mirror().of("quay.io").known_as("auth.docker.io"), [SERVICE_NAME]),
        (a_mirror().of("quay.io").known_as("notdocker.io"), []),
        (a_mirror().of("https://QUAY.io/"), [OTHER_SPELLING.format("QUAY.io", "quay.io")]),
        (a_mirror().of("quay.io:0443"), [OTHER_SPELLING.format("quay.io:0443", "quay.io")]),
        (a_mirror().of("[2001:0DB8::1]"), [OTHER_SPELLING.format("[2001:0DB8::1]", "[2001:db8::1]")]),
        (a_mirror().storing("20Mi"), [f"{CLAIM}.resources.requests.storage: 20Mi {SMALL}"]),
        (a_mirror().storing(2**20), [f"{CLAIM}.resources.requests.storage: 1048576 {SMALL}"]),
    ],
)
def test_warning_has_this_message(mirror: MirrorBuilder, expected: list[str]) -> None:
    assert _warnings(mirror) == expected
