"""RegistryMirror as its user writes it: the one source of validation, of defaults and of the CRD's schema.

Descriptions end in `kubectl explain`, so they are written for the person who reads them there.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from common.field_types import (
    AccessModes,
    AnnotationKey,
    ClassName,
    LabelKey,
    LabelValue,
    MasqueradeUrl,
    NoClaimName,
    NoVolumeName,
    Operator,
    Replicas,
    Resource,
    SecretName,
    Storage,
    Ttl,
    UpstreamUrl,
    VolumeMode,
)

DEFAULT_ACCESS_MODES: Final = ("ReadWriteOnce",)
DEFAULT_STORAGE: Final = "20Gi"  # the seed's: room for some 50 images of today's usual size
DEFAULT_REPLICAS: Final = 2  # one can be drained, rolled or lost while the other serves
DEFAULT_TTL: Final = "168h"  # what the registry itself assumes: a week


class Part(BaseModel):
    """A piece of the resource: camelCase as in Kubernetes, frozen, unknown fields left to the API server."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,  # an error that ends in a log must not carry what someone wrote into upstreamUrl
    )


class ClaimMetadata(Part):
    """Labels and annotations for the claims. A name has no place here: the StatefulSet names each claim itself."""

    name: NoClaimName = Field(None, description="Not supported: the StatefulSet names the claims. Leave it out.")
    labels: dict[LabelKey, LabelValue] | None = Field(None, description="Labels of each claim.")
    annotations: dict[AnnotationKey, str] | None = Field(None, description="Annotations of each claim.")


class Resources(Part):
    """Requests and limits of a claim."""

    requests: dict[Resource, Storage] | None = Field(
        None,
        description=(
            "What each claim asks for. `storage` is the size of each cache pod's volume: a quantity such as 20Gi. It"
            " may grow where the StorageClass allows expansion, and go down only to what was granted (status.storage)."
            " Default: 20Gi."
        ),
    )
    limits: dict[Resource, Storage] | None = Field(
        None, description="The most a claim may be given. Cannot change once created."
    )


class LabelSelectorRequirement(Part):
    """One condition on labels."""

    key: LabelKey = Field(description="Label key that the selector applies to.")
    operator: Operator = Field(description="In, NotIn, Exists or DoesNotExist.")
    values: list[LabelValue] | None = Field(None, description="Values for In and NotIn.")


class LabelSelector(Part):
    """Chooses PersistentVolumes by their labels."""

    match_labels: dict[LabelKey, LabelValue] | None = Field(None, description="Labels that a volume must carry.")
    match_expressions: list[LabelSelectorRequirement] | None = Field(
        None, description="Conditions that a volume must meet."
    )


class DataSource(Part):
    """An object that new volumes are filled from."""

    api_group: str | None = Field(None, description="API group of the object; empty for the core group.")
    kind: str = Field(description="Kind of the object, such as VolumeSnapshot.")
    name: str = Field(description="Name of the object.")


class DataSourceRef(DataSource):
    """An object that new volumes are filled from, in any namespace."""

    namespace: str | None = Field(None, description="Namespace of the object; the claim's own where absent.")


class ClaimSpec(Part):
    """Spec of a PersistentVolumeClaim, as far as a cache can use it."""

    access_modes: AccessModes | None = Field(
        None,
        description="How the volume may be mounted. Default: [ReadWriteOnce]. Cannot change once created.",
    )
    resources: Resources | None = Field(None, description="How much storage each cache pod gets.")
    storage_class_name: ClassName | None = Field(
        None,
        description=(
            "StorageClass of the claims. Where absent it is the cluster's default; empty it is none, and only prepared"
            " volumes are bound. Cannot change once created."
        ),
    )
    selector: LabelSelector | None = Field(
        None, description="Labels of the volumes to bind. Cannot change once created."
    )
    volume_attributes_class_name: ClassName | None = Field(
        None, description="VolumeAttributesClass of the claims. Cannot change once created."
    )
    volume_mode: VolumeMode | None = Field(
        None, description="Filesystem, or left out: a cache writes files and cannot use a Block device."
    )
    volume_name: NoVolumeName = Field(
        None,
        description="Not supported: every cache pod has a volume of its own. Use selector to bind prepared volumes.",
    )
    data_source: DataSource | None = Field(
        None, description="What new volumes are filled from. Cannot change once created."
    )
    data_source_ref: DataSourceRef | None = Field(
        None, description="What new volumes are filled from, of any kind. Cannot change once created."
    )


class VolumeClaimTemplate(Part):
    """A PersistentVolumeClaim, of which each cache pod gets one."""

    # A whole claim is what people paste, and kubectl refuses the fields that a schema does not know.
    api_version: Literal["v1"] | None = Field(None, description="May be left out; else v1.")
    kind: Literal["PersistentVolumeClaim"] | None = Field(
        None, description="May be left out; else PersistentVolumeClaim."
    )
    metadata: ClaimMetadata | None = Field(None, description="Labels and annotations of the claims.")
    spec: ClaimSpec | None = Field(None, description="What each claim asks for.")


class RegistryMirrorSpec(Part):
    """What to mirror, and how."""

    upstream_url: UpstreamUrl = Field(
        description=(
            "The registry to mirror: host[:port], for example quay.io. https is assumed; https:// and http:// may be"
            " written. No path, user information, query or fragment. docker.io, hub.docker.io, hub.docker.com and"
            " index.docker.io mean Docker Hub, https://registry-1.docker.io."
        ),
    )
    masquerade_url: MasqueradeUrl | None = Field(
        None,
        description=(
            "Host name under which nodes reach the mirror: a DNS name without scheme, port or path, for example"
            " local.docker.io. Where absent it is mirror-<upstream host>, worked out by the controller and shown in"
            " status.masqueradeUrl."
        ),
    )
    credentials_secret: SecretName | None = Field(
        None,
        description=(
            "Secret in the controller's namespace whose keys username and password log in to the upstream. A missing or"
            " incomplete Secret means pulls without credentials until it is there. Every pod of the cluster can then"
            " pull the private images that these credentials open."
        ),
    )
    volume_claim_template: VolumeClaimTemplate | None = Field(
        None,
        description="PersistentVolumeClaim of each cache pod. Default: accessModes [ReadWriteOnce], 20Gi of storage.",
    )
    replicas: Replicas = Field(
        DEFAULT_REPLICAS,
        description="Number of cache pods, 1 to 10, each with a volume of its own. Default: 2.",
    )
    ttl: Ttl = Field(
        DEFAULT_TTL,
        description="How long a cached blob is kept, as a Go duration such as 168h. 0s keeps for ever. Default: 168h.",
    )
