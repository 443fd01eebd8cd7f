"""What is legal but would surprise: told as admission warnings, which kubectl prints beside its own answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from common import duration, quantity, upstream

if TYPE_CHECKING:
    from common.model import RegistryMirrorSpec

_TOO_SMALL: Final = 2**20  # bytes: no image has a layer that fits, so a unit was forgotten or mistyped (20, 100m)


def warnings_for(spec: RegistryMirrorSpec) -> list[str]:
    """One sentence for each surprise in a valid spec."""
    written = upstream.parse_literal(spec.upstream_url)
    asked = upstream.parse(spec.upstream_url)
    found = [
        (
            asked != written,
            (
                f"spec.upstreamUrl: {written.host} is no registry; {asked.url} is used,"
                f" whose images nodes know as {asked.image_host}"
            ),
        ),
        (
            asked.scheme == "http",
            "spec.upstreamUrl: http:// sends images"
            + (" and the credentials of spec.credentialsSecret" if spec.credentials_secret else "")
            + " in clear: whoever is on the way can read and change them",
        ),
        (
            spec.masquerade_url == asked.host,
            (
                "spec.masqueradeUrl: is the upstream's own name, so that everything on a node reaches the mirror under"
                " it and not the upstream, until the mirror does not answer and the node's agent takes the entry out"
            ),
        ),
        (
            duration.parse(spec.ttl) == 0,
            "spec.ttl: 0s never frees space; when the volume is full, nodes pull from the upstream again",
        ),
        (
            spec.credentials_secret is not None,
            "spec.credentialsSecret: every pod of the cluster can pull the private images that these credentials open",
        ),
    ]
    return [sentence for applies, sentence in found if applies] + _about_storage(spec)


def _about_storage(spec: RegistryMirrorSpec) -> list[str]:
    claim = spec.volume_claim_template and spec.volume_claim_template.spec
    requests = (claim and claim.resources and claim.resources.requests) or {}
    path = "spec.volumeClaimTemplate.spec.resources.requests.storage"
    return [
        f"{path}: {amount} is less than any image needs (it counts bytes; m is a thousandth); 20Gi holds some 50 images"
        for amount in requests.values()
        if quantity.parse(amount) < _TOO_SMALL
    ]
