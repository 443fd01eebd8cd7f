"""Gathers the facts about one mirror from what the controller has seen of the cluster. Reads stores, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from common import names, upstream
from common.defaults import dict_at
from controller.certificates import Pair, issue_leaf, matches, usable_authority, usable_leaf
from controller.desired import files
from controller.desired.stateful_set import BUNDLE_FILE
from controller.facts import Credentials, CredentialsState, Facts, Lacking, Tls
from controller.kinds import DAEMON_SET
from controller.standing import Standing, standing
from controller.state import MIRRORS_AUTHORITY, State, text_of

if TYPE_CHECKING:
    from datetime import datetime

    from common.upstream import Upstream
    from controller.mirror import Mirror
    from controller.settings import ControllerSettings

Json = dict[str, Any]

# On a Secret, with SECRET_OPT_IN: the upstreams that may be sent its credentials, separated by commas.
UPSTREAMS_ANNOTATION: Final = f"{names.GROUP}/upstreams"


def gather(mirror: Mirror, settings: ControllerSettings, state: State, now: datetime) -> Facts | Lacking:
    """The facts, or what is lacking for a cache to be built at all."""
    named = settings.docker_certificate_secret
    tls = _given_tls(named, state) if named else _issued_tls(mirror, settings, state, now)
    if isinstance(tls, Lacking):
        return tls
    bundle = settings.ca_certificate_bundle
    content = state.bundle(bundle) if bundle else None
    if bundle and content is None:
        where = f"ConfigMap {settings.namespace}/{bundle} (CA_CERTIFICATE_BUNDLE)"
        return Lacking(
            "CABundleMissing", f"{where} is missing, or has no key {BUNDLE_FILE}; create it, and the cache follows."
        )
    holder = state.precedence.holder(mirror.name)
    return Facts(
        credentials=credentials_of(mirror, settings, state),
        tls=tls,
        bundle=content,
        masquerade_holder=holder,
        images_holder=state.images_holder(mirror.name),
        withdrawing=holder is not None and not settings.hostess_is_original and _has_agents(mirror, state),
    )


def _has_agents(mirror: Mirror, state: State) -> bool:
    live = state.children[DAEMON_SET].get(mirror.object_name)
    return live is not None and standing(live, mirror) is Standing.OURS


def credentials_of(mirror: Mirror, settings: ControllerSettings, state: State) -> Credentials:
    """User name and password of a mirror, as far as its Secret has them."""
    name = mirror.spec.credentials_secret
    if name is None:
        return Credentials(CredentialsState.NOT_REQUIRED)
    secret = state.secrets.get(name)
    if secret is None:
        return Credentials(CredentialsState.SECRET_MISSING)
    if settings.secret_opt_in and not _opted_in(secret, mirror.upstream):
        return Credentials(CredentialsState.SECRET_NOT_OPTED_IN)
    username, password = text_of(secret, "username"), text_of(secret, "password")
    if not username or not password:
        return Credentials(CredentialsState.SECRET_INCOMPLETE)
    return Credentials(CredentialsState.FOUND, username, password)


def _opted_in(secret: Json, wanted: Upstream) -> bool:
    """Whether who made the Secret allows it to be sent to this upstream."""
    listed = dict_at(secret, "metadata", "annotations").get(UPSTREAMS_ANNOTATION)
    return any(_parsed(each) == wanted for each in str(listed or "").split(","))


def _parsed(text: str) -> Upstream | None:
    try:
        return upstream.parse(text.strip())
    except ValueError:
        return None


def _given_tls(name: str, state: State) -> Tls | Lacking:
    certificate, key = state.secret_text(name, files.CERTIFICATE), state.secret_text(name, files.KEY)
    if certificate is None or key is None:
        return Lacking(
            "CertificateSecretMissing",
            f"Secret {name} (DOCKER_CERTIFICATE_SECRET) is missing, or lacks {files.CERTIFICATE} or {files.KEY};"
            " create it, and the cache follows.",
        )
    pair = Pair(certificate, key)
    if not matches(pair):
        return Lacking(
            "CertificateSecretInvalid",
            f"Secret {name} (DOCKER_CERTIFICATE_SECRET): {files.CERTIFICATE} and {files.KEY} are no certificate and key"
            " that belong together; caches that run keep what they have.",
        )
    # Where no authority is given the certificate itself is what nodes trust, as the seed has it.
    return Tls(state.secret_text(name, files.AUTHORITY) or certificate, pair, name)


def _issued_tls(mirror: Mirror, settings: ControllerSettings, state: State, now: datetime) -> Tls | Lacking:
    authority = pair_in(state, MIRRORS_AUTHORITY)
    if authority is None or not usable_authority(authority, now):
        return Lacking("AuthorityPending", "The certificate authority of the mirrors is being made.")
    hosts = (mirror.masquerade, *names.service_hosts(mirror.name, settings.namespace))
    present = pair_in(state, mirror.object_name)
    if present is not None and usable_leaf(present, authority, hosts, now):
        return Tls(authority.certificate, present)
    return Tls(authority.certificate, issue_leaf(authority, hosts, now))


def pair_in(state: State, secret: str) -> Pair | None:
    """Certificate and key of a Secret; None where it lacks one of them."""
    live = state.secrets.get(secret)
    certificate, key = text_of(live, files.CERTIFICATE), text_of(live, files.KEY)
    return None if certificate is None or key is None else Pair(certificate, key)
