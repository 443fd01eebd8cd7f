"""List every reason of a condition and of an Event. Print the list as Markdown: `python -m controller.status.reasons`.

A reason that several conditions share has one entry for each.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Final

from common import agent_protocol
from common.cache_protocol import CredentialsResult, UpstreamReason
from controller.model.condition import (
    ACCEPTED,
    CACHE_AVAILABLE,
    CERTIFICATE_VALID,
    CREDENTIALS_AVAILABLE,
    NODES_CONFIGURED,
    READY,
    RECONCILED,
    STALLED,
    STORAGE_RESIZED,
    UPSTREAM_REACHABLE,
    Reason,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENT: Final = "Event"

# Take status, name, meaning and action.
_ready = partial(Reason, READY)
_stalled = partial(Reason, STALLED)
_accepted = partial(Reason, ACCEPTED)
_reconciled = partial(Reason, RECONCILED)
_cache = partial(Reason, CACHE_AVAILABLE)
_upstream = partial(Reason, UPSTREAM_REACHABLE)
_credentials = partial(Reason, CREDENTIALS_AVAILABLE)
_nodes = partial(Reason, NODES_CONFIGURED)
_certificate = partial(Reason, CERTIFICATE_VALID)
_storage = partial(Reason, STORAGE_RESIZED)
_event = partial(Reason, EVENT)

IS_READY = _ready("True", "Ready", "The cache serves. The message says what the nodes do.")

SPEC_VALID = _accepted("True", "Valid", "The spec is valid.")
SPEC_INVALID = _accepted(
    "False", "InvalidSpec", "The spec is invalid; existing objects stay unchanged.", "Correct the spec."
)

IS_RECONCILED = _reconciled("True", "Reconciled", "An earlier failure is over.")
OBJECT_TERMINATING = _reconciled(
    "False",
    "ObjectTerminating",
    "An object of the mirror was deleted, and a finalizer holds it.",
    "Find out why the controller of that finalizer does not remove it.",
)
RECONCILE_FAILED = _reconciled(
    "False",
    "ReconcileFailed",
    "The API server keeps answering with an error.",
    "Read the error in the message; often an admission webhook does not answer.",
)
APPLY_FAILED = _reconciled(
    "False",
    "ApplyFailed",
    "The API server refuses an object of the mirror.",
    "Read its error in the message; often a quota or an admission policy refuses it.",
)
INTERNAL_ERROR = _reconciled(
    "False", "InternalError", "The controller has a bug.", "Report it with the log event `reconcile crashed`."
)

ALL_REPLICAS_READY = _cache("True", "AllReplicasReady", "All cache pods are ready.")
SOME_REPLICAS_READY = _cache(
    "True", "SomeReplicasReady", "At least one cache pod is ready.", "Describe the other cache pods."
)
ROLLING_OUT = _cache("True", "RollingOut", "Cache pods are ready, and some still run an older spec.", "Wait.")
STORE_UNWRITABLE = _cache(
    "True",
    "StoreUnwritable",
    "Cache pods serve and cannot store: a volume is read-only, or full of files of another program.",
    "Repair the volume, or request more storage in the spec.",
)
NO_REPLICA_READY = _cache(
    "False",
    "NoReplicaReady",
    "No cache pod is ready. Nodes pull from the upstream.",
    "The message repeats the first reason: of the StatefulSet, a pod or a claim.",
)
SWITCHING_UPSTREAM = _cache(
    "False",
    "SwitchingUpstream",
    "`spec.upstreamUrl` was changed, and no cache pod serves it yet. Nodes pull its images from the upstream.",
    "Wait two minutes; if it lasts, read the log of the cache pods.",
)
ADDING_UPSTREAM = _cache(
    "True",
    SWITCHING_UPSTREAM.name,
    "An additional upstream was changed or added, and no cache pod serves it yet. Nodes pull its images from the"
    " upstream.",
    SWITCHING_UPSTREAM.action,
)
CACHE_OBJECT_NOT_OWNED = _cache(
    "False",
    "ObjectNotOwned",
    "An object with a name that the cache needs belongs to another owner.",
    "Delete that object, or create the mirror under another name.",
)
CA_PENDING = _cache("False", "CAPending", "The controller is creating the CA of the mirrors.", "Wait.")
CA_FAILED = _cache(
    "False",
    "CAFailed",
    "The controller cannot create or store the CA of the mirrors.",
    "Read the API server's error in the message.",
)
CERTIFICATE_SECRET_MISSING = _cache(
    "False",
    "CertificateSecretMissing",
    "The Secret in DOCKER_CERTIFICATE_SECRET is missing or lacks a key.",
    "Create the Secret with `tls.crt` and `tls.key`.",
)
CERTIFICATE_SECRET_INVALID = _cache(
    "False",
    "CertificateSecretInvalid",
    "Certificate and key in the Secret of DOCKER_CERTIFICATE_SECRET do not match.",
    "Replace both.",
)
CA_BUNDLE_MISSING = _cache(
    "False",
    "CABundleMissing",
    "The ConfigMap in CA_CERTIFICATE_BUNDLE is missing or lacks its key.",
    "Create the ConfigMap with `ca-certificates.crt`.",
)

REACHABLE = _upstream("True", UpstreamReason.REACHABLE, "The upstream answers as a registry.")
NOT_ASKED = _upstream(
    "Unknown",
    UpstreamReason.NOT_ASKED,
    "No cache pod has asked the upstream yet, or none answers the controller.",
    "If it lasts, describe the cache pods, and check network policies between controller and caches.",
)

NAME_NOT_FOUND = _upstream(
    "False",
    UpstreamReason.NAME_NOT_FOUND,
    "No name server resolves the host name.",
    "Check `spec.upstreamUrl` and the cluster's DNS.",
)
CONNECTION_REFUSED = _upstream(
    "False",
    UpstreamReason.CONNECTION_REFUSED,
    "The upstream refuses connections.",
    "Check the port, and firewalls between cluster and upstream.",
)
CONNECTION_FAILED = _upstream(
    "False",
    UpstreamReason.CONNECTION_FAILED,
    "The upstream's address cannot be reached.",
    "Check routes and firewalls, or set HTTPS_PROXY.",
)
CONNECTION_BROKEN = _upstream(
    "False",
    UpstreamReason.CONNECTION_BROKEN,
    "The upstream closes the connection without an answer.",
    "Check the port and the upstream's log.",
)
TIMED_OUT = _upstream(
    "False",
    UpstreamReason.TIMED_OUT,
    "The upstream does not answer in time.",
    "Check the network between cluster and upstream.",
)
UNTRUSTED_CERTIFICATE = _upstream(
    "False",
    UpstreamReason.UNTRUSTED_CERTIFICATE,
    "The upstream's certificate is not trusted.",
    "Add its CA to CA_CERTIFICATE_BUNDLE, or that of a proxy that inspects TLS.",
)
TLS_FAILED = _upstream(
    "False", UpstreamReason.TLS_FAILED, "The TLS handshake fails.", "Check the port, or use `http://`."
)
PROXY_FAILED = _upstream(
    "False",
    UpstreamReason.PROXY_FAILED,
    "The proxy does not answer, or refuses.",
    "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY.",
)
FORBIDDEN = _upstream(
    "False", UpstreamReason.FORBIDDEN, "The upstream answers 403.", "Ask its operator to admit this cluster."
)
RATE_LIMITED = _upstream(
    "False",
    UpstreamReason.RATE_LIMITED,
    "The upstream answers 429.",
    "Wait, or set `spec.credentialsSecret`. The message names the end of a long pause.",
)
SERVER_ERROR = _upstream(
    "False", UpstreamReason.SERVER_ERROR, "The upstream answers 5xx.", "Wait, or ask its operator."
)
NOT_A_REGISTRY = _upstream(
    "False",
    UpstreamReason.NOT_A_REGISTRY,
    "The upstream does not answer as a registry.",
    "Check host and port in `spec.upstreamUrl`.",
)
UNAUTHORIZED = _upstream(
    "False",
    UpstreamReason.UNAUTHORIZED,
    "The upstream answers 401 without Basic or Bearer.",
    "Use an upstream with one of these schemes.",
)
NO_TOKEN = _upstream(
    "False", UpstreamReason.NO_TOKEN, "The token service answers without a token.", "Ask the upstream's operator."
)

CREDENTIALS_NOT_REQUIRED = _credentials("True", "NotRequired", "The mirror names no Secret.")
CREDENTIALS_FOUND = _credentials("True", "Found", "The Secret has username and password.")
CREDENTIALS_ACCEPTED = _credentials("True", CredentialsResult.ACCEPTED, "The upstream accepts the credentials.")
CREDENTIALS_REFUSED = _credentials(
    "False",
    CredentialsResult.REFUSED,
    "The upstream refuses username and password.",
    "Correct the Secret; caches use the new values within two minutes.",
)
CREDENTIALS_REQUIRED = _credentials(
    "False",
    CredentialsResult.REQUIRED,
    "The upstream requires credentials, and the mirror names no Secret.",
    "Create a Secret with `username` and `password`, and set `spec.credentialsSecret`.",
)
CREDENTIALS_NOT_VERIFIED = _credentials(
    "Unknown",
    CredentialsResult.NOT_VERIFIED,
    "The upstream gives anonymous tokens for single images only.",
    "If pulls fail, set `spec.credentialsSecret`.",
)
SECRET_MISSING = _credentials(
    "False",
    "SecretMissing",
    "The Secret in `spec.credentialsSecret` does not exist. The cache pulls anonymously.",
    "Create it in the controller's namespace.",
)
SECRET_INCOMPLETE = _credentials(
    "False",
    "SecretIncomplete",
    "The Secret lacks `username` or `password` for the upstream, or one is empty. The cache pulls anonymously.",
    "Set what is missing. A Secret of type `kubernetes.io/dockerconfigjson` needs an entry of the upstream's host,"
    " with `http://` for an upstream with it.",
)
SECRET_NOT_OPTED_IN = _credentials(
    "False",
    "SecretNotOptedIn",
    "SECRET_OPT_IN is set, and the Secret does not list this upstream.",
    "Add the upstream to the annotation `k8s.osp.tech/upstreams` of the Secret.",
)

ALL_NODES_READY = _nodes("True", "AllNodesReady", "All nodes use the mirror, or an older mirror of the same upstream.")
ORIGINAL_AGENT = _nodes(
    "True",
    "OriginalAgent",
    "The original mirror-hostess runs on all nodes. Only images named after masqueradeUrl use the mirror.",
    "Use the project's agent, so that no image name changes.",
)
NODES_USE_UPSTREAM = _nodes(
    "True",
    "NodesUseUpstream",
    "All nodes are configured, and pull from the upstream until a cache pod serves it.",
    "See the reason of `CacheAvailable`.",
)
AGENTS_UNSCHEDULABLE = _nodes(
    "True",
    "AgentsUnschedulable",
    "All nodes use the mirror except some that have no room for their agent.",
    "Make room on the nodes in the message, or leave them out with HOSTESS_NODE_SELECTOR.",
)
NO_AGENT_SCHEDULED = _nodes(
    "Unknown",
    "NoAgentScheduled",
    "No node has room for its agent. All nodes pull from the upstream.",
    "Make room on the nodes in the message.",
)
NO_NODES = _nodes("Unknown", "NoNodes", "No node matches the agent's node selector.", "Check HOSTESS_NODE_SELECTOR.")

NODES_PENDING = _nodes(
    "False", "NodesPending", "Some nodes are not configured yet.", "If it lasts, describe the DaemonSet and its pods."
)
NODES_NOT_COUNTED = _nodes(
    "False", "NodesNotCounted", "The DaemonSet changed, and Kubernetes has not counted its nodes yet.", "Wait."
)
NODES_BLOCKED = _nodes(
    "False", "NodesBlocked", "Nodes are blocked for several reasons.", "Follow the message, node by node."
)
NODES_CLEANING = _nodes(
    "False",
    "Cleaning",
    "The mirror is being deleted and waits for its nodes.",
    "Repair the nodes that the message names.",
)
AGENT_OBJECT_NOT_OWNED = _nodes(
    "False",
    "ObjectNotOwned",
    "The DaemonSet's name is taken by an object of another owner.",
    "Delete that object, or create the mirror under another name.",
)
MASQUERADE_CONFLICT = _nodes(
    "False",
    "MasqueradeConflict",
    "An older mirror has the same masqueradeUrl, or it is the host of another mirror's upstream.",
    "Set another `spec.masqueradeUrl`, or delete the older mirror of the same name.",
)
RUNTIME_IGNORES_CERTS = _nodes(
    "False",
    agent_protocol.RUNTIME_IGNORES_CERTS,
    "The container runtime does not read the folder with hosts.toml.",
    "Set containerd's `config_path` as the message says, and restart containerd.",
)
RUNTIME_NOT_VERIFIED = _nodes(
    "Unknown",
    agent_protocol.RUNTIME_NOT_VERIFIED,
    "All files are written. The runtime may ignore them: it did not restart after a change of its configuration, or"
    " agents cannot read all of that.",
    "Follow the message: restart containerd, or make that part of the configuration readable for the agent.",
)
NODE_NETWORK_NOT_PROBED = _nodes(
    "Unknown",
    agent_protocol.NODE_NETWORK_NOT_PROBED,
    "All files are written, and the mirror answers the agents. No dialer runs, so it may not answer the nodes.",
    "Follow the message, describe the DaemonSet `registrymirror-dialer` and its pods, or apply `deploy/` again.",
)
RUNTIME_USES_MIRRORS = _nodes(
    "False",
    agent_protocol.RUNTIME_USES_MIRRORS,
    "containerd's configuration has `registry.mirrors` or `registry.configs`, and it ignores hosts.toml.",
    "containerd refuses to start with config_path beside registry.mirrors or registry.configs."
    " First move these entries to hosts.toml files, one for each registry."
    " Then set config_path and restart containerd.",
)
EXISTING_HOSTS_TOML = _nodes(
    "False",
    agent_protocol.EXISTING_HOSTS_TOML,
    "The node has a hosts.toml of the administrator for this upstream. The agent leaves it unchanged.",
    "Remove it if nothing else needs it. CAs and client certificates beside it stay in use."
    " Keep one in `_default`: create the folder that the message names. containerd then ignores `_default` for this"
    " registry, also without the mirror.",
)
EXISTING_REGISTRIES_CONF = _nodes(
    "False",
    agent_protocol.EXISTING_REGISTRIES_CONF,
    "A file of the administrator configures this upstream for CRI-O. The agent leaves it unchanged.",
    "Add the mirror to that file, or remove the registry from it.",
)
EXISTING_HOSTS_ENTRY = _nodes(
    "False",
    agent_protocol.EXISTING_HOSTS_ENTRY,
    "A line of the node's hosts file gives masqueradeUrl another address, so pulls would not reach the mirror.",
    "Remove the line that the message names.",
)
RESERVED_NAME = _nodes(
    "False",
    agent_protocol.RESERVED_NAME,
    "masqueradeUrl is the name of a node or of the API server.",
    "Set another `spec.masqueradeUrl`.",
)
HOSTS_FILE_UNWRITABLE = _nodes(
    "False",
    agent_protocol.HOSTS_FILE_UNWRITABLE,
    "The agent cannot write `/etc/hosts` of the node.",
    "Make it writable; check free space and its size.",
)
NODE_FILES_UNWRITABLE = _nodes(
    "False",
    agent_protocol.NODE_FILES_UNWRITABLE,
    "The agent cannot write files on the node.",
    "Make the folder in the message writable; check free space.",
)
MIRROR_UNREACHABLE = _nodes(
    "False",
    agent_protocol.MIRROR_UNREACHABLE,
    "Cache pods are ready, and the node gets no answer from them.",
    "Check kube-proxy, firewall rules and network policies on the node.",
)
AGENT_STUCK = _nodes(
    "False",
    agent_protocol.AGENT_STUCK,
    "The agent hangs, often in a file system of the node.",
    "The kubelet restarts it; check the node's disks.",
)

CERTIFICATE_IS_VALID = _certificate("True", "Valid", "Nodes accept the certificate.")
EXPIRES_SOON = _certificate("True", "ExpiresSoon", "The certificate expires soon.", "Replace it before that date.")
EXPIRED = _certificate("False", "Expired", "The certificate expired. Nodes pull from the upstream.", "Replace it.")
NOT_YET_VALID = _certificate(
    "False",
    "NotYetValid",
    "The certificate is valid only later. Nodes pull from the upstream.",
    "Replace it, or check the clocks.",
)
NAME_MISSING = _certificate(
    "False", "NameMissing", "The certificate does not contain masqueradeUrl.", "Replace it with one that does."
)
UNREADABLE = _certificate("False", "Unreadable", "The certificate cannot be parsed.", "Replace it.")
CERTIFICATE_UNKNOWN = tuple(
    _certificate("Unknown", each.name, each.meaning, each.action)
    for each in (CERTIFICATE_SECRET_MISSING, CERTIFICATE_SECRET_INVALID)
)

STORAGE_GRANTED = _storage("True", "Granted", "All claims have the storage of the spec.")
CLAIMS_PENDING = _storage("Unknown", "ClaimsPending", "A claim is not bound to a volume yet.", "Describe the claim.")
RESIZING = _storage("False", "Resizing", "A volume is growing.", "Wait; if it lasts, describe the claim.")
RESIZE_REFUSED = _storage(
    "False",
    "ResizeRefused",
    "The API server refuses the resize.",
    "Set `allowVolumeExpansion: true` in the StorageClass, or restore the size in the spec.",
)
CLAIM_FOREIGN = _storage(
    "False",
    "ClaimForeign",
    "A claim without this mirror's labels is too small. The controller leaves it unchanged.",
    "Resize the claim yourself, or restore the size in the spec.",
)

# A user has to act: tools that follow kstatus report a failure, instead of progress.
STALLED_REASONS = tuple(
    _stalled("True", each.name, each.meaning, each.action)
    for each in (SPEC_INVALID, MASQUERADE_CONFLICT, CACHE_OBJECT_NOT_OWNED)
)

CREATED = _event("Normal", "Created", "The controller created a missing object again.")
UPDATED = _event("Normal", "Updated", "The controller updated an object after a change of the mirror.")
REPAIRED = _event("Normal", "Repaired", "An object differed from the spec, and the controller repaired it.")
REPLACED = _event("Normal", "Replaced", "The controller replaces an object with an immutable field.")
ADOPTED = _event("Normal", "Adopted", "The controller adopted an object that no controller owned.")
PRUNED = _event("Normal", "Pruned", "The controller deleted an object that the mirror does not need.")
CONFLICTING_WRITER = _event(
    "Warning",
    "ConflictingWriter",
    "Another writer keeps changing an object. The controller repairs it less often.",
    "Find that writer in the object's `managedFields`, and stop it.",
)
MUTATED_BY_ADMISSION = _event(
    "Warning",
    "MutatedByAdmission",
    "An admission webhook or policy changes an object that the controller writes.",
    "Exclude objects with the label `mirror` from it.",
)
CLEANUP_INCOMPLETE = _event(
    "Warning", "CleanupIncomplete", "The API server refused a deletion.", "Delete the objects in the message."
)
NODES_CLEANED = _event("Normal", "NodesCleaned", "The agents removed a deleted mirror from all nodes.")
NODES_KEPT = _event("Normal", "NodesKept", "A mirror was deleted with `orphan`; its nodes stay unchanged.")
NODES_NOT_CLEANED = _event(
    "Warning",
    "NodesNotCleaned",
    "Some nodes did not confirm their cleanup before the deadline.",
    "Agents of other mirrors clean these nodes later. Without one, remove the marked lines in `/etc/hosts` and the"
    " files in `certs.d`.",
)


# Reasons of agents that cannot tell if their node uses the mirror.
UNVERIFIED: Final = frozenset(each.name for each in (RUNTIME_NOT_VERIFIED, NODE_NETWORK_NOT_PROBED))


def every() -> Iterator[Reason]:
    """Return all reasons in the order of this module."""
    for value in globals().values():
        if isinstance(value, Reason):
            yield value
        elif value is CERTIFICATE_UNKNOWN or value is STALLED_REASONS:
            yield from value


INTRODUCTION: Final = """\
# Conditions and Events

<!-- Generated from controller/status/reasons.py by `make docs-tables`. Do not edit. -->

`kubectl describe rm NAME` shows the conditions and Events of a mirror. The message of a condition names objects and
nodes. `Ready` is False if any condition except `UpstreamReachable` is False. It repeats the first one's reason.
`Ready` is Unknown while `NodesConfigured` has the reason `RuntimeNotVerified` or `NodeNetworkNotProbed`.
While the upstream is down, `Ready` stays True and has the reason of `UpstreamReachable`. It also stays True while
nodes have no room for an agent, with the reason of `NodesConfigured`, and until the cache pods serve an added
upstream, with the reason of `CacheAvailable`.
"""
EVENTS: Final = """\
A condition that needs attention, or no longer needs it, also posts an Event with its reason. It is a Warning if the
condition needs attention. Events are in the namespace `default`.
"""


def markdown() -> str:
    """Return docs/conditions.md."""
    tables: dict[str, list[Reason]] = {}
    for reason in every():
        tables.setdefault(reason.type, []).append(reason)
    return INTRODUCTION + "".join(_section(type_, reasons) for type_, reasons in tables.items())


def _section(type_: str, reasons: list[Reason]) -> str:
    introduction = f"\n{EVENTS}" if type_ == EVENT else ""
    rows = "".join(f"| {each.status} | `{each.name}` | {each.meaning} | {each.action} |\n" for each in reasons)
    first = "Type" if type_ == EVENT else "Status"
    title = "Events" if type_ == EVENT else type_
    return f"\n## {title}\n{introduction}\n| {first} | Reason | Meaning | What to do |\n|---|---|---|---|\n{rows}"


if __name__ == "__main__":
    sys.stdout.write(markdown())
