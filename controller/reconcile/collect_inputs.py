"""Collect the inputs of one mirror from the cluster cache."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from common import names, upstream
from common.defaults import dict_at
from controller.certificates.mirror_certificate import MirrorCertificate
from controller.certificates.rotation import never
from controller.model.inputs import Credentials, CredentialsState, Inputs, KeyPair, MissingInput, ServingCertificate
from controller.objects import docker_config
from controller.objects.ownership import Ownership, ownership_of
from controller.objects.resources import DAEMON_SET
from controller.objects.well_known import BUNDLE_FILE, PASSWORD, USERNAME
from controller.status import reasons

if TYPE_CHECKING:
    from datetime import datetime

    from common.types import Json
    from common.upstream import Upstream
    from controller.certificates.rotation import HeldFor
    from controller.informer.cluster_cache import ClusterCache
    from controller.model.mirror import Mirror, Source
    from controller.settings import ControllerSettings


# Annotation of a Secret, read with SECRET_OPT_IN: upstreams that may get its credentials, separated by commas.
UPSTREAMS_ANNOTATION: Final = f"{names.GROUP}/upstreams"
_NO_CERTIFICATE: Final = ServingCertificate("", KeyPair("", ""))


def collect_inputs(
    mirror: Mirror, settings: ControllerSettings, state: ClusterCache, now: datetime, held_for: HeldFor = never
) -> Inputs | MissingInput:
    """Return the inputs, or the input without which no cache can be built."""
    tls = MirrorCertificate(mirror, settings, state, now, held_for).serving()
    name = settings.ca_certificate_bundle
    missing = tls if isinstance(tls, MissingInput) else None
    if missing is None and name and state.bundle(name) is None:
        where = f"ConfigMap {settings.namespace}/{name} (CA_CERTIFICATE_BUNDLE)"
        missing = MissingInput(
            reasons.CA_BUNDLE_MISSING.name, f"{where} does not exist or has no key {BUNDLE_FILE}. Create it."
        )
    holder = state.masquerade_holder(mirror.name)
    inputs = Inputs(
        credentials=tuple(credentials_of(each, settings, state) for each in mirror.sources),
        tls=_NO_CERTIFICATE if isinstance(tls, MissingInput) else tls,
        masquerade_holder=holder,
        hides_registry=state.registry_holder(mirror.name) is not None,
        images_holders=state.images_holders(mirror.name),
        withdrawing=holder is not None and _has_agents(mirror, state),
    )
    return inputs if missing is None else replace(missing, rest=inputs)


def _has_agents(mirror: Mirror, state: ClusterCache) -> bool:
    current = state.children[DAEMON_SET].get(mirror.object_name)
    return current is not None and ownership_of(current, mirror) is Ownership.OWNED


def credentials_of(source: Source, settings: ControllerSettings, state: ClusterCache) -> Credentials:
    """Return user name and password from the Secret of an upstream, or the reason for having none."""
    if source.secret is None:
        return Credentials(CredentialsState.NOT_REQUIRED)
    secret = state.secrets.get(source.secret)
    if secret is None:
        return Credentials(CredentialsState.SECRET_MISSING)
    if settings.secret_opt_in and not _opted_in(secret, source.upstream):
        return Credentials(CredentialsState.SECRET_NOT_OPTED_IN)
    username, password = _account(secret, source.upstream)
    if not username or not password:
        lacking = PASSWORD if username else USERNAME if password else ""
        return Credentials(CredentialsState.SECRET_INCOMPLETE, lacking=lacking)
    return Credentials(CredentialsState.FOUND, username, password)


def _account(secret: Json, registry: Upstream) -> tuple[str, str]:
    """Return user name and password in base64; empty if the Secret lacks one."""
    if secret.get("type") == docker_config.TYPE:
        return docker_config.account_of(secret, registry)
    data = dict_at(secret, "data")
    return data.get(USERNAME) or "", data.get(PASSWORD) or ""


def _opted_in(secret: Json, wanted: Upstream) -> bool:
    """Return True if the Secret's annotation lists the upstream."""
    listed = dict_at(secret, "metadata", "annotations").get(UPSTREAMS_ANNOTATION)
    return any(_parsed(each) == wanted for each in str(listed or "").split(","))


def _parsed(text: str) -> Upstream | None:
    try:
        return upstream.parse(text.strip())
    except ValueError:
        return None
