"""Generate the CustomResourceDefinition from the model: `python -m common.crd > deploy/crd.yaml`.

Schema and CEL rules protect the API server while the webhook is down. Otherwise the webhook answers first.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, cast

import yaml

from common import names
from common.model import RegistryMirrorSpec
from common.status import UNOBSERVED, RegistryMirrorStatus

if TYPE_CHECKING:
    from pydantic import BaseModel

    from common.types import Json

# Keywords of pydantic that a structural schema does not allow. `default`: only the webhook sets defaults.
_DROPPED: Final = frozenset({"title", "default", "examples", "additionalProperties"})

# oldSelf keeps labels and finalizers of older invalid objects writable. Kubernetes does not ratchet rules of the
# root, because every label changes the root.
_ROOT_RULES: Final = [
    {
        "rule": "has(self.spec) || (oldSelf.hasValue() && !has(oldSelf.value().spec))",
        "optionalOldSelf": True,
        "message": "spec is required; set at least spec.upstreamUrl, for example quay.io",
    },
    {
        "rule": f"oldSelf.hasValue() || size(self.metadata.name) <= {names.NAME_MAX}"
        f" && !self.metadata.name.contains('.') && !self.metadata.name.endsWith('{names.HEADLESS_SUFFIX}')",
        "optionalOldSelf": True,
        "message": f"metadata.name must be a DNS label of at most {names.NAME_MAX} characters, without dots and"
        f" without {names.HEADLESS_SUFFIX} at the end; choose another name",
    },
]
_CLAIM_RULES: Final = [
    {
        "rule": "!has(self.volumeName)",
        "message": "volumeName is not supported, because each cache pod needs its own volume; use selector",
    },
    {
        "rule": "has(self.storageClassName) == has(oldSelf.storageClassName)"
        " && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
        "message": "storageClassName cannot change after creation; create another mirror",
    },
    {
        "rule": "!has(self.accessModes) || !has(oldSelf.accessModes) || self.accessModes == oldSelf.accessModes",
        "message": "accessModes cannot change after creation; create another mirror",
    },
]
_READY: Final = ".status.conditions[?(@.type=='Ready')]"
_COLUMNS: Final = [
    ("Upstream", "string", ".status.upstream", "Registry that the cache pulls from"),
    ("Masquerade", "string", ".status.masqueradeUrl", "Host name of the mirror on the nodes"),
    (
        "Ready",
        "string",
        f"{_READY}.status",
        "True if the cache serves, and all nodes with room for an agent use it",
    ),
    ("Reason", "string", f"{_READY}.reason", "Reason of the Ready condition"),
    ("Cache", "string", ".status.summary.cache", "Cache pods that can serve pulls, of those wanted"),
    ("Nodes", "string", ".status.summary.nodes", "Nodes that use the mirror, of those that run an agent"),
    ("Age", "date", ".metadata.creationTimestamp", "Time since creation"),
]
# Columns of `kubectl get -o wide`.
_WIDE_COLUMNS: Final = [
    ("Pulling", "integer", ".status.nodes.pulling", "Nodes that pulled through the mirror in the last 24 hours"),
    ("Storage", "string", ".status.storage", "Storage that all claims have at least"),
    ("TTL", "string", ".spec.ttl", "Time without a pull after which a blob is removed"),
    ("Message", "string", f"{_READY}.message", "Message of the Ready condition"),
]


def structural(model: type[BaseModel]) -> Json:
    """Return the structural schema (apiextensions.k8s.io/v1) of a model, with all references resolved."""
    schema = model.model_json_schema(by_alias=True)
    return cast("Json", _structural(schema, schema.get("$defs", {})))


def _structural(node: Any, definitions: Json) -> Any:
    if isinstance(node, list):
        return [_structural(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    node = _resolved(node, definitions)
    kept = {
        key: _child(key, value, definitions) for key, value in node.items() if key not in _DROPPED and key != "$defs"
    }
    if "const" in kept:  # a Literal with one value; structural schemas have enum only
        kept["enum"] = [kept.pop("const")]
    values = node.get("additionalProperties")
    return kept | {"additionalProperties": _structural(values, definitions)} if isinstance(values, dict) else kept


def _child(key: str, value: Any, definitions: Json) -> Any:
    if key == "properties":  # keys below are field names, possibly `title` or `default`
        return {name: _structural(schema, definitions) for name, schema in value.items()}
    return _structural(value, definitions)


def _resolved(node: Json, definitions: Json) -> Json:
    """Follow the reference of one level and drop its `null` alternative: optional fields are not nullable."""
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[1]]
        return _resolved({**target, **{key: value for key, value in node.items() if key != "$ref"}}, definitions)
    if "anyOf" in node and "x-kubernetes-int-or-string" not in node:
        (only,) = [alternative for alternative in node["anyOf"] if alternative != {"type": "null"}]
        return _resolved({**only, **{key: value for key, value in node.items() if key != "anyOf"}}, definitions)
    return node


def definition() -> Json:
    """Return the CustomResourceDefinition."""
    spec = structural(RegistryMirrorSpec)
    spec["properties"]["volumeClaimTemplate"]["properties"]["spec"]["x-kubernetes-validations"] = _CLAIM_RULES
    # Tools that wait take a mirror without status for a finished one.
    status = {**structural(RegistryMirrorStatus), "default": {"observedGeneration": UNOBSERVED}}
    schema = {
        "type": "object",
        "description": "A pull-through cache of a registry inside the cluster. All nodes pull its images through it.",
        "properties": {
            "apiVersion": {"type": "string", "description": f"Always {names.API_VERSION}."},
            "kind": {"type": "string", "description": f"Always {names.KIND}."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
        "x-kubernetes-validations": _ROOT_RULES,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Cluster",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.SINGULAR,
                "shortNames": [names.SHORT_NAME],
                "categories": [names.CATEGORY],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {
                        "status": {},
                        "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                    },
                    "additionalPrinterColumns": [
                        *(_column(*column) for column in _COLUMNS),
                        *({**_column(*column), "priority": 1} for column in _WIDE_COLUMNS),
                    ],
                }
            ],
        },
    }


def _column(name: str, kind: str, path: str, description: str) -> Json:
    return {"name": name, "type": kind, "jsonPath": path, "description": description}


def as_yaml() -> str:
    """Return the text of deploy/crd.yaml."""
    return _HEADER + yaml.safe_dump(definition(), sort_keys=False, allow_unicode=True, width=120)


_HEADER: Final = "# Generated from common/model.py and common/status.py by `make crd`; a test compares the two.\n"

if __name__ == "__main__":
    sys.stdout.write(as_yaml())
