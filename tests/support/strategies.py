"""Generate valid values in all their spellings, and arbitrary input, for property tests."""

from __future__ import annotations

import ipaddress
import string
from typing import TYPE_CHECKING, Any, get_args

from hypothesis import strategies as st

from common import names
from common.field_types import AccessMode
from common.pod_field_types import TaintEffect, TrafficDistribution
from common.upstream import Upstream
from tests.support.mirrors import MirrorBuilder, a_mirror

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.types import Json

_LOWER = string.ascii_lowercase + string.digits
_ANY_CASE = string.ascii_letters + string.digits


def _worded(alphabet: str, inner: str, longest: int) -> st.SearchStrategy[str]:
    """Generate words with a letter or a digit at both ends."""
    return st.text(alphabet + inner, min_size=1, max_size=longest).map(lambda text: text.strip(inner) or alphabet[0])


def dns_labels(longest: int = names.DNS_LABEL_MAX) -> st.SearchStrategy[str]:
    """Generate lower-case DNS labels."""
    return _worded(_LOWER, "-", longest)


def dns_names() -> st.SearchStrategy[str]:
    """Generate lower-case DNS names that are not IP addresses."""
    labels = st.lists(dns_labels(8) | dns_labels(), max_size=3)
    last = dns_labels(8).map("x{}".format)  # a numeric last label would make an address
    return st.tuples(labels, last).map(lambda parts: ".".join([*parts[0], parts[1]]))


def mirror_names() -> st.SearchStrategy[str]:
    """Generate names of RegistryMirrors, including long ones and ones like the headless Service's."""
    plain = dns_labels(names.NAME_MAX)
    suffixed = st.tuples(dns_labels(8), st.sampled_from(["-headless-0", "-0", "-1"])).map("".join)
    return st.one_of(plain.filter(names.is_mirror_name), suffixed)


def object_names() -> st.SearchStrategy[str]:
    """Generate names of Secrets and StorageClasses, whose labels may exceed 63 characters."""
    return st.lists(dns_labels(120), min_size=1, max_size=2).map(".".join)


def hosts() -> st.SearchStrategy[str]:
    """Generate hosts of upstreams: DNS names, IPv4 addresses, IPv6 addresses without brackets."""
    ipv4 = st.ip_addresses(v=4).map(str)
    # Python versions print an embedded IPv4 address differently.
    ipv6 = st.ip_addresses(v=6).map(lambda address: str(ipaddress.IPv6Address(int(address))))
    return st.one_of(dns_names(), ipv4, ipv6)


def upstreams() -> st.SearchStrategy[Upstream]:
    """Generate upstreams without default ports."""
    return st.builds(
        lambda scheme, host, port: Upstream(scheme, host, None if port == _PORTS[scheme] else port),
        st.sampled_from(sorted(_PORTS)),
        hosts(),
        st.none() | st.integers(1, 65535),
    )


_PORTS = {"https": 443, "http": 80}


def upstream_urls() -> st.SearchStrategy[str]:
    """Generate valid upstreamUrls with and without scheme, port and slash, in either case."""
    return st.builds(
        _spelled,
        upstreams(),
        with_scheme=st.booleans(),
        with_port=st.booleans(),
        end=st.sampled_from(["", "/"]),
        case=st.sampled_from([str, str.upper, str.title]),
    )


def _spelled(upstream: Upstream, *, with_scheme: bool, with_port: bool, end: str, case: Callable[[str], str]) -> str:
    scheme = f"{upstream.scheme}://" if with_scheme or upstream.scheme == "http" else ""
    host = Upstream(upstream.scheme, upstream.host).authority
    port = upstream.port or (_PORTS[upstream.scheme] if with_port else None)
    return case(f"{scheme}{host}" + (f":{port}" if port else "") + end)


def numbers() -> st.SearchStrategy[str]:
    """Generate unsigned decimal numbers like 1, 1.5, 1. and .5."""
    digits = st.text(string.digits, min_size=1, max_size=12)
    fraction = st.tuples(digits, digits).map(".".join)
    return st.one_of(digits, fraction, digits.map("{}.".format), digits.map(".{}".format))


def quantities() -> st.SearchStrategy[str]:
    """Generate quantities in all forms, including zero and negative ones."""
    suffixes = ["", "n", "u", "m", "k", *"MGTPE", *(f"{letter}i" for letter in "KMGTPE"), "e3", "E-3", "e+21"]
    return st.tuples(st.sampled_from(["", "", "+", "-"]), numbers(), st.sampled_from(suffixes)).map("".join)


def amounts() -> st.SearchStrategy[str | int]:
    """Generate amounts of storage that are large enough."""
    units = ["Mi", "Gi", "Ti", "G", "e9"]
    spelled = st.tuples(st.integers(1, 9999).map(str), st.sampled_from(["", ".5"]), st.sampled_from(units))
    return st.one_of(spelled.map("".join), st.integers(2**20, 2**40))


def durations() -> st.SearchStrategy[str]:
    """Generate valid Go durations."""
    parts = st.tuples(st.integers(0, 999).map(str), st.sampled_from(["h", "m", "s", "ms", "us", "µs", "μs", "ns"]))
    whole = st.lists(parts.map("".join), min_size=1, max_size=4).map("".join)
    return st.tuples(st.sampled_from(["", "+"]), whole).map("".join)


def label_values() -> st.SearchStrategy[str]:
    """Generate values of labels, including the empty one."""
    return st.just("") | _worded(_ANY_CASE, "-_.", names.DNS_LABEL_MAX)


def label_keys() -> st.SearchStrategy[str]:
    """Generate keys of labels and annotations, with and without a prefix."""
    name = _worded(_ANY_CASE, "-_.", names.DNS_LABEL_MAX)
    prefix = st.lists(dns_labels(8), min_size=1, max_size=2).map(".".join)
    return name | st.tuples(prefix, name).map("/".join)


def label_maps() -> st.SearchStrategy[dict[str, str]]:
    """Generate valid labels."""
    return st.dictionaries(label_keys(), label_values(), max_size=3)


def _some(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Json]:
    """Generate objects with any of these fields, each of which may be null."""
    return st.fixed_dictionaries({}, optional={key: st.none() | values for key, values in fields.items()})


def _requirements() -> st.SearchStrategy[Json]:
    chosen = st.fixed_dictionaries(
        {
            "key": label_keys(),
            "operator": st.sampled_from(["In", "NotIn"]),
            "values": st.lists(label_values(), min_size=1, max_size=2),
        }
    )
    existing: st.SearchStrategy[Json] = st.fixed_dictionaries(
        {"key": label_keys(), "operator": st.sampled_from(["Exists", "DoesNotExist"])},
        optional={"values": st.just([])},
    )
    return chosen | existing


def _selectors() -> st.SearchStrategy[Json]:
    return _some({"matchLabels": label_maps(), "matchExpressions": st.lists(_requirements(), max_size=2)})


def _access_modes() -> st.SearchStrategy[list[str]]:
    shared = [mode for mode in get_args(AccessMode) if mode != "ReadWriteOncePod"]
    writable = st.lists(st.sampled_from(shared), max_size=3).filter(lambda modes: set(modes) != {"ReadOnlyMany"})
    return writable | st.just(["ReadWriteOncePod"])


def _claims() -> st.SearchStrategy[Json]:
    storage = _some({"storage": amounts()})
    spec = {
        "accessModes": _access_modes(),
        "resources": _some({"requests": storage, "limits": storage}),
        "storageClassName": st.just("") | object_names(),
        "selector": _selectors(),
        "volumeAttributesClassName": object_names(),
        "volumeMode": st.just("Filesystem"),
        "dataSource": st.fixed_dictionaries({"kind": label_values(), "name": object_names()}),
    }
    metadata = {"labels": label_maps(), "annotations": st.dictionaries(label_keys(), st.text(max_size=9), max_size=3)}
    kind = st.just("PersistentVolumeClaim")
    return _some({"apiVersion": st.just("v1"), "kind": kind, "metadata": _some(metadata), "spec": _some(spec)})


def _affinities() -> st.SearchStrategy[Json]:
    term = _some({"matchExpressions": st.lists(_requirements(), max_size=2)})
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    nodes = {required: st.fixed_dictionaries({"nodeSelectorTerms": st.lists(term, min_size=1, max_size=2)})}
    pods = st.fixed_dictionaries(
        {"topologyKey": label_keys()},
        optional={"labelSelector": _selectors(), "namespaceSelector": _selectors(), "namespaces": st.just(["default"])},
    )
    weighted = st.fixed_dictionaries({"weight": st.integers(1, 100), "podAffinityTerm": pods})
    neighbours = _some(
        {
            required: st.lists(pods, max_size=2),
            "preferredDuringSchedulingIgnoredDuringExecution": st.lists(weighted, max_size=2),
        }
    )
    return _some({"nodeAffinity": _some(nodes), "podAffinity": neighbours, "podAntiAffinity": neighbours})


def _tolerations() -> st.SearchStrategy[Json]:
    effect = st.none() | st.sampled_from(get_args(TaintEffect))
    equal = st.fixed_dictionaries({"key": label_keys(), "value": label_values(), "effect": effect})
    existing = st.fixed_dictionaries({"operator": st.just("Exists"), "effect": effect}, optional={"key": label_keys()})
    timed = st.fixed_dictionaries(
        {"key": label_keys(), "effect": st.just("NoExecute"), "tolerationSeconds": st.integers(0, 2**31 - 1)}
    )
    return equal | existing | timed


def _pods() -> dict[str, st.SearchStrategy[Any]]:
    own = {"app", "mirror", "component"}
    free = label_keys().filter(lambda key: key not in own)
    resources = _some({name: amounts() for name in ("cpu", "memory", "ephemeral-storage")})
    return {
        "resources": _some({"requests": resources}) | _some({"limits": resources}),
        "priorityClassName": object_names(),
        "labels": st.dictionaries(free, label_values(), max_size=3),
        "annotations": st.dictionaries(free, st.text(max_size=9), max_size=3),
    }


def _caches() -> st.SearchStrategy[Json]:
    return _some(
        {
            **_pods(),
            "nodeSelector": label_maps(),
            "tolerations": st.lists(_tolerations(), max_size=2),
            "affinity": _affinities(),
            "trafficDistribution": st.sampled_from(get_args(TrafficDistribution)),
        }
    )


def specs() -> st.SearchStrategy[Json]:
    """Generate valid specs with missing, null and unknown fields."""
    optional = {
        "masqueradeUrl": dns_names().map("{}.example".format),
        "credentialsSecret": object_names(),
        "additionalUpstreams": additional_upstreams(),
        "volumeClaimTemplate": _claims(),
        "replicas": st.integers(1, 10),
        "ttl": durations(),
        "cache": _caches(),
        "agent": _some(_pods()),
        "notYetInvented": st.text(max_size=9),
    }
    required = st.fixed_dictionaries({"upstreamUrl": upstream_urls().filter(_has_free_masquerade)})
    return st.builds(dict.__or__, _some(optional), required)


def additional_upstreams() -> st.SearchStrategy[list[Json]]:
    """Generate lists of upstreams with different hosts, which no other strategy generates."""
    hosts = st.lists(st.integers(0, 999), max_size=4, unique=True)
    entry = _some({"credentialsSecret": object_names()})
    return st.builds(
        lambda numbers, entries: [
            {**each, "upstreamUrl": f"additional-{number}.example.com"}
            for number, each in zip(numbers, entries, strict=False)
        ],
        hosts,
        st.lists(entry, min_size=4, max_size=4),
    )


def _has_free_masquerade(url: str) -> bool:
    """Return True if the host is not reserved, so that masqueradeUrl is optional."""
    return not url.lower().rstrip("/:0123456789").endswith(("localhost", "localdomain", "svc", "local", "kubernetes"))


def mirrors() -> st.SearchStrategy[MirrorBuilder]:
    """Generate valid RegistryMirrors."""
    return st.builds(_mirror, mirror_names(), specs(), st.none() | label_maps())


def _mirror(name: str, spec: Json, labels: dict[str, str] | None) -> MirrorBuilder:
    plain = a_mirror().named(name).having("spec", spec)
    return plain if labels is None else plain.labelled(labels).without("metadata.labels.mirror")


def texts() -> st.SearchStrategy[str]:
    """Generate any text, including lone surrogates and control characters."""
    return st.text(st.characters(codec=None), max_size=20)


def json_values() -> st.SearchStrategy[Any]:
    """Generate any JSON, and the non-standard values that Python decodes: NaN, infinity, long numbers."""
    huge = st.sampled_from(["9" * 600, "\x00", "\ud800", "a" * 100_000, "@" * 999, 10**30, -(10**4000), 1e308])
    scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts(), huge)
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts(), inner, max_size=4), max_leaves=12
    )


def nested(levels: int) -> Any:
    """Return objects and lists nested to that depth."""
    node: Any = "at the bottom"
    for level in range(levels):
        node = [node] if level % 2 else {"inner": node}
    return node


_FIELDS = (
    *("metadata", "metadata.name", "metadata.labels", "spec", "spec.upstreamUrl", "spec.masqueradeUrl", "spec.ttl"),
    *("spec.replicas", "spec.credentialsSecret", "spec.volumeClaimTemplate", "spec.volumeClaimTemplate.metadata"),
    *(f"spec.volumeClaimTemplate.metadata.{field}" for field in ("name", "labels", "annotations")),
    *("spec.volumeClaimTemplate.spec", "spec.volumeClaimTemplate.spec.resources", "status", "status.storage"),
    *("spec.additionalUpstreams", "spec.additionalUpstreams.0"),
    *(f"spec.volumeClaimTemplate.spec.resources.{field}" for field in ("requests", "limits")),
    *(f"spec.volumeClaimTemplate.spec.{field}" for field in ("accessModes", "selector", "volumeMode", "volumeName")),
    *(f"spec.volumeClaimTemplate.spec.{field}" for field in ("storageClassName", "dataSource", "dataSourceRef")),
    *("spec.cache", "spec.cache.affinity", "spec.cache.affinity.nodeAffinity", "spec.cache.affinity.podAffinity"),
    *(f"spec.cache.{field}" for field in ("nodeSelector", "tolerations", "trafficDistribution")),
    *(f"spec.{pods}.{field}" for pods in ("cache", "agent") for field in ("resources", "labels", "annotations")),
    *("spec.agent", "spec.agent.priorityClassName", "spec.cache.resources.requests", "spec.agent.resources.limits"),
)


def damaged_mirrors() -> st.SearchStrategy[Json]:
    """Generate mirrors with arbitrary values in some fields."""
    return st.dictionaries(st.sampled_from(_FIELDS), json_values(), max_size=4).map(_damaged)


def _damaged(damage: dict[str, Any]) -> Json:
    builder = a_mirror()
    # Longest paths first, because a shorter one replaces its children.
    for path in sorted(damage, key=len, reverse=True):
        builder = builder.having(path, damage[path])
    return builder.raw()
