"""Validate and warn about spec.additionalUpstreams: each entry like the first upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.admission_warnings import warnings_for
from common.model import RegistryMirrorSpec
from common.validation import validate
from tests.support.mirrors import MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from common.types import Json

ENTRY = "spec.additionalUpstreams[0]"
URL = '; for example "upstreamUrl: quay.io"'
HUB = "docker.io"


def _lines(builder: MirrorBuilder) -> list[str]:
    return [str(error) for error in validate(builder.raw())]


def test_twenty_upstreams_are_valid() -> None:
    """The list may have twenty entries, with and without credentials."""
    builder = a_mirror().also_of(
        {"upstreamUrl": HUB, "credentialsSecret": "docker-login"},
        *(f"http://registry-{number}.example.com:5000" for number in range(19)),
    )
    assert _lines(builder) == []
    assert _lines(builder.having("spec.additionalUpstreams", [])) == []


MESSAGES: dict[str, MirrorBuilder] = {
    f'{ENTRY}.upstreamUrl: Invalid value: "https://***@ghcr.io": must not contain user information; put username and'
    f" password in a Secret and name it in credentialsSecret{URL}": a_mirror().also_of("https://bob:secret@ghcr.io"),
    f"{ENTRY}.upstreamUrl: Required value: a registry, as a string host[:port]{URL}": a_mirror().also_of({}),
    f"{ENTRY}.upstreamUrl: Invalid value: 5: must be a registry, as a string host[:port]{URL}": a_mirror().also_of(
        {"upstreamUrl": 5}
    ),
    f'{ENTRY}: Invalid value: "ghcr.io": must be a registry, as an object with upstreamUrl; for example "-'
    ' upstreamUrl: quay.io"': a_mirror().having("spec.additionalUpstreams", ["ghcr.io"]),
    'spec.additionalUpstreams: Invalid value: "ghcr.io": must be a list of at most 20 registries; for example'
    ' "additionalUpstreams: [{upstreamUrl: quay.io}]"': a_mirror().having("spec.additionalUpstreams", "ghcr.io"),
    f'{ENTRY}.credentialsSecret: Invalid value: {{"username": ...}}: must be the name of a Secret, as a string; for'
    ' example "credentialsSecret: internal-mirror"': a_mirror().also_of(
        {"upstreamUrl": "ghcr.io", "credentialsSecret": {"username": "bob"}}
    ),
    f'{ENTRY}.upstreamUrl: Duplicate value: "https://QUAY.io:443/": spec.upstreamUrl has the images named quay.io/...'
    " already; remove one of the two": a_mirror().also_of("https://QUAY.io:443/"),
    'spec.masqueradeUrl: Invalid value: "ghcr.io": is a name of https://ghcr.io, an additional upstream, and images'
    " named ghcr.io/... would come from spec.upstreamUrl; choose a name that no registry has; for example"
    ' "masqueradeUrl: mirror.example.com"': a_mirror().also_of("ghcr.io").known_as("ghcr.io"),
    'spec.masqueradeUrl: Required value: the default "mirror-quay.io" is a name of https://mirror-quay.io, an'
    " additional upstream, and images named mirror-quay.io/... would come from spec.upstreamUrl; choose a name that no"
    ' registry has; set another name; for example "masqueradeUrl: mirror.example.com"': a_mirror().also_of(
        "mirror-quay.io"
    ),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_message_is_complete(message: str) -> None:
    """Each mistake has path, value, reason and fix, as in the first upstream."""
    assert _lines(MESSAGES[message]) == [message]


def test_more_than_twenty_are_refused() -> None:
    """There is one line, whatever the entries are."""
    (line,) = _lines(a_mirror().also_of(*(f"registry-{number}.example.com" for number in range(21))))
    assert line.startswith("spec.additionalUpstreams: Invalid value: [{...}, ")
    assert "must be a list of at most 20 registries" in line


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ghcr.io", "https://ghcr.io:443"),
        ("docker.io", "hub.docker.com"),
        ("docker.io", "registry-1.docker.io"),
        ("index.docker.io", "https://registry-1.docker.io/"),
        ("ghcr.io", "http://ghcr.io"),
        ("ghcr.io", "http://ghcr.io:443"),  # images named ghcr.io:443/... would have two registries
    ],
)
def test_image_names_have_one_upstream(one: str, other: str) -> None:
    """Two spellings of one registry are duplicates, in either order, and of the first upstream too."""
    for first, second in ((one, other), (other, one)):
        (line,) = _lines(a_mirror().also_of("gcr.io", first, second))
        assert line.startswith("spec.additionalUpstreams[2].upstreamUrl: Duplicate value: ")
        assert "spec.additionalUpstreams[1].upstreamUrl has the images named " in line
        (line,) = _lines(a_mirror().of(first).also_of("gcr.io", second))
        assert line.startswith("spec.additionalUpstreams[1].upstreamUrl: Duplicate value: ")


@pytest.mark.parametrize("other", ["ghcr.io:5000", "http://ghcr.io:5000", "docker.io", "quay.io:5000"])
def test_other_port_is_another_registry(other: str) -> None:
    """Runtimes tell a host from the same host with a port."""
    assert _lines(a_mirror().also_of("ghcr.io", other)) == []


def test_all_mistakes_are_collected() -> None:
    """Mistakes of all entries and of other fields come at once, one line per field."""
    builder = a_mirror().also_of(
        "ghcr.io", "quay.io/v2", {"upstreamUrl": "quay.io", "credentialsSecret": "A"}, "gcr.io"
    )
    found = [line.partition(": ")[0] for line in _lines(builder.keeping("7d").known_as("gcr.io"))]
    assert sorted(found) == [
        "spec.additionalUpstreams[1].upstreamUrl",
        "spec.additionalUpstreams[2].credentialsSecret",
        "spec.additionalUpstreams[2].upstreamUrl",
        "spec.masqueradeUrl",
        "spec.ttl",
    ]


def test_list_can_change() -> None:
    """No part of the list is immutable."""
    old, new = a_mirror().also_of("ghcr.io", "gcr.io"), a_mirror().of("ghcr.io").also_of("quay.io")
    assert validate(new.raw(), old.raw()) == validate(old.raw(), new.raw()) == []


def test_warnings_name_the_entry() -> None:
    """Each upstream gets the warnings of the first one, with its own path."""
    entries: list[str | Json] = [
        {"upstreamUrl": "http://Reg.example.com", "credentialsSecret": "login"},
        "hub.docker.com",
    ]
    spec = RegistryMirrorSpec.model_validate(a_mirror().also_of(*entries).raw()["spec"])
    warned = [warning.split("; ")[0] for warning in warnings_for(spec)]
    for line, start in zip(
        warned,
        [
            f"{ENTRY}.upstreamUrl: http:// sends images and the credentials of {ENTRY}.credentialsSecret unencrypted",
            f"{ENTRY}.upstreamUrl: images named Reg.example.com/... do not use the mirror",
            f"{ENTRY}.credentialsSecret: every pod of the cluster can pull all private images",
            "spec.additionalUpstreams[1].upstreamUrl: hub.docker.com is not a registry",
        ],
        strict=True,
    ):
        assert line.startswith(start)
