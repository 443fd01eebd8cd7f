"""What is legal but would surprise: told as admission warnings, which kubectl prints beside its own answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common import duration, upstream

if TYPE_CHECKING:
    from common.model import RegistryMirrorSpec


def warnings_for(spec: RegistryMirrorSpec) -> list[str]:
    """One sentence for each surprise in a valid spec."""
    written = upstream.as_written(spec.upstream_url)
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
            duration.parse(spec.ttl).total_seconds() == 0,
            "spec.ttl: 0s never frees space; when the volume is full, nodes pull from the upstream again",
        ),
        (
            spec.credentials_secret is not None,
            "spec.credentialsSecret: every pod of the cluster can pull the private images that these credentials open",
        ),
    ]
    return [sentence for applies, sentence in found if applies]
