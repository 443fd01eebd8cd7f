"""Admission warnings: what is legal and would surprise, one whole sentence each."""

from __future__ import annotations

import pytest

from common.admission_warnings import warnings_for
from common.model import RegistryMirrorSpec
from tests.support.mirrors import CLAIM, MirrorBuilder, a_mirror

HUB = "is no registry; https://registry-1.docker.io is used, whose images nodes know as docker.io"
CLEAR = "in clear: whoever is on the way can read and change them"
FOR_EVER = "spec.ttl: 0s never frees space; when the volume is full, nodes pull from the upstream again"
EVERYBODY = "spec.credentialsSecret: every pod of the cluster can pull the private images that these credentials open"
SAME_NAME = (
    "spec.masqueradeUrl: is the upstream's own name, so that everything on a node reaches the mirror under it and not"
    " the upstream, until the mirror does not answer and the node's agent takes the entry out"
)
TINY = "is less than any image needs (it counts bytes; m is a thousandth); 20Gi holds some 50 images"


def _advice(mirror: MirrorBuilder) -> list[str]:
    return warnings_for(RegistryMirrorSpec.model_validate(mirror.raw()["spec"]))


@pytest.mark.parametrize(
    "mirror",
    [
        a_mirror(),
        a_mirror().of("registry-1.docker.io"),
        a_mirror().of("https://QUAY.io:443/"),
        a_mirror().keeping("1ns").storing("20Gi").replicated(10).known_as("local.docker.io"),
        a_mirror().storing("1Mi").on_class(""),
    ],
    ids=lambda mirror: str(mirror.raw()["spec"])[:60],
)
def test_what_surprises_nobody_is_not_commented(mirror: MirrorBuilder) -> None:
    assert _advice(mirror) == []


@pytest.mark.parametrize("host", ["docker.io", "hub.docker.io", "hub.docker.com", "index.docker.io"])
@pytest.mark.parametrize("spelling", ["{}", "https://{}/", "http://{}", "{}:443"])
def test_a_name_that_is_no_registry_is_told_with_what_is_used(host: str, spelling: str) -> None:
    assert _advice(a_mirror().of(spelling.format(host))) == [f"spec.upstreamUrl: {host} {HUB}"]


@pytest.mark.parametrize(
    ("mirror", "advice"),
    [
        (a_mirror().of("http://quay.io"), [f"spec.upstreamUrl: http:// sends images {CLEAR}"]),
        (
            a_mirror().of("http://quay.io").logging_in_with("internal"),
            [
                f"spec.upstreamUrl: http:// sends images and the credentials of spec.credentialsSecret {CLEAR}",
                EVERYBODY,
            ],
        ),
        (a_mirror().keeping("0s"), [FOR_EVER]),
        (a_mirror().keeping("0h0m"), [FOR_EVER]),
        (a_mirror().keeping("0.1ns"), [FOR_EVER]),  # Go counts whole nanoseconds
        (a_mirror().logging_in_with("internal"), [EVERYBODY]),
        (a_mirror().known_as("quay.io"), [SAME_NAME]),
        (a_mirror().of("registry-1.docker.io").known_as("registry-1.docker.io"), [SAME_NAME]),
        (a_mirror().storing("100m"), [f"{CLAIM}.resources.requests.storage: 100m {TINY}"]),
        (a_mirror().storing(20), [f"{CLAIM}.resources.requests.storage: 20 {TINY}"]),
    ],
)
def test_a_surprise_is_told_in_these_words(mirror: MirrorBuilder, advice: list[str]) -> None:
    assert _advice(mirror) == advice
