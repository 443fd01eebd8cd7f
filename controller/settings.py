"""The controller's settings: the seed's names and defaults, and few more."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from common import duration
from common.field_types import LabelKey, LabelValue
from common.settings import MAX_WAIT, Domains, LogLevel, Names, Port, Settings, dns_label, object_name
from controller.model.certificate_lifetimes import DEFAULT, Lifetimes

ORIGINAL_HOSTESS: Final = "ocadotechnology/mirror-hostess"
_PARENTS_MIN: Final = 2  # of a path that lies in a folder right under /


def _labels(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
    if any(not key or not separator for key, separator, _ in pairs):
        raise ValueError("expected labels as key=value, separated by commas")
    return tuple((key, label) for key, _, label in pairs)


def _secret_names(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(object_name, value))


def _absolute(value: str) -> str:
    path = PurePosixPath(value)
    if (
        not value.isprintable()
        or value != value.strip()
        or not path.is_absolute()
        or ".." in path.parts
        or str(path) != value
        or ":" in value
        or value == path.root
    ):
        raise ValueError("expected the absolute path of one folder of the node, without . or .. or a colon in it")
    return value


def _certs_dir(value: str) -> str:
    if len(PurePosixPath(_absolute(value)).parents) <= _PARENTS_MIN:
        raise ValueError(
            "expected a folder at least three levels deep, as /etc/containerd/certs.d is: the agent gets the folder"
            " above it whole, and that must not be / or one such as /etc or /var"
        )
    return value


def _image_part(value: str) -> str:
    if not re.fullmatch(r"[\w.:@\[\]-]+(/[\w.:@-]+)*", value, re.ASCII):
        raise ValueError("expected a part of an image's name: no spaces, quotes or the like, and no slash at its ends")
    return value


def _image_tag(value: str) -> str:
    if not re.fullmatch(r"\w[\w.-]{0,127}", value, re.ASCII):
        raise ValueError("expected an image's tag: letters, digits, '_', '.' and '-', at most 128 characters")
    return value


def _probe_period(value: float) -> float:
    if value != 0 and not 1 <= value <= MAX_WAIT:
        raise ValueError(f"expected seconds from 1 to {MAX_WAIT}, or 0 for never")
    return value


def _duration(value: object) -> object:
    return timedelta(microseconds=duration.parse(value) // 1000) if isinstance(value, str) else value


ObjectName = Annotated[str, AfterValidator(object_name)]
Namespace = Annotated[str, AfterValidator(dns_label)]
Labels = Annotated[tuple[tuple[LabelKey, LabelValue], ...], BeforeValidator(_labels)]
ImagePart = Annotated[str, AfterValidator(_image_part)]
ImageTag = Annotated[str, AfterValidator(_image_tag)]
ProbePeriod = Annotated[float, AfterValidator(_probe_period)]
NodePath = Annotated[str, AfterValidator(_certs_dir)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]


class ControllerSettings(Settings):
    """What `python -m controller` reads from its environment."""

    namespace: Namespace = Field("default", alias="NAMESPACE")
    docker_certificate_secret: ObjectName | None = Field(None, alias="DOCKER_CERTIFICATE_SECRET")
    seconds_between_streams: float = Field(30, alias="SECONDS_BETWEEN_STREAMS", gt=0, le=MAX_WAIT)
    hostess_docker_registry: ImagePart = Field("docker.io", alias="HOSTESS_DOCKER_REGISTRY")
    hostess_docker_image: ImagePart = Field(ORIGINAL_HOSTESS, alias="HOSTESS_DOCKER_IMAGE")
    hostess_docker_tag: ImageTag = Field("1.1.0", alias="HOSTESS_DOCKER_TAG")
    hostess_node_selector: Labels = Field((), alias="HOSTESS_NODE_SELECTOR")
    # An existing PriorityClass: pods that name one which is missing are refused, and so none is named by default.
    hostess_priority_class: ObjectName | None = Field(None, alias="HOSTESS_PRIORITY_CLASS")
    containerd_certs_dir: NodePath = Field("/etc/containerd/certs.d", alias="CONTAINERD_CERTS_DIR")
    # Seconds. Long enough for an agent that the kubelet starts again after some crashes, and for a node that reboots;
    # one that is gone for good must not hold a mirror, and whoever waits for it, much longer.
    node_cleanup_deadline: float = Field(120, alias="NODE_CLEANUP_DEADLINE", ge=0, le=MAX_WAIT)
    image_pull_secrets: Annotated[Names, AfterValidator(_secret_names)] = Field((), alias="IMAGE_PULL_SECRETS")
    ca_certificate_bundle: ObjectName | None = Field(None, alias="CA_CERTIFICATE_BUNDLE")
    registry_image: ImagePart = Field("docker.io/library/registry:3.1.1", alias="REGISTRY_IMAGE")
    https_proxy: str = Field("", alias="HTTPS_PROXY")
    http_proxy: str = Field("", alias="HTTP_PROXY")
    no_proxy: str = Field("", alias="NO_PROXY")
    # Seconds between questions to an upstream that answers: an administrator looks after minutes, and 500 upstreams are
    # then asked less than twice a second. 0: never.
    upstream_probe_seconds: ProbePeriod = Field(300, alias="UPSTREAM_PROBE_SECONDS")
    # Each default has its reason beside it in controller/lifetimes.py.
    ca_lifetime: Duration = Field(DEFAULT.ca, alias="CA_LIFETIME")
    ca_lead: Duration = Field(DEFAULT.ca_lead, alias="CA_LEAD")
    certificate_lifetime: Duration = Field(DEFAULT.certificate, alias="CERTIFICATE_LIFETIME")
    certificate_lead: Duration = Field(DEFAULT.certificate_lead, alias="CERTIFICATE_LEAD")
    certificate_overlap: Duration = Field(DEFAULT.overlap, alias="CERTIFICATE_OVERLAP")
    certificate_warning: Duration = Field(DEFAULT.warning, alias="CERTIFICATE_WARNING")
    external_webhook_certificate: bool = Field(default=False, alias="EXTERNAL_WEBHOOK_CERTIFICATE")
    secret_opt_in: bool = Field(default=False, alias="SECRET_OPT_IN")
    masquerade_domains: Domains = Field((), alias="MASQUERADE_DOMAINS")
    metrics_port: Port = Field(8080, alias="METRICS_PORT")
    log_level: LogLevel = Field("INFO", alias="LOG_LEVEL")
    kubeconfig: str | None = Field(None, alias="KUBECONFIG")
    identity: str | None = Field(None, alias="POD_NAME")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = "\n".join(self.lifetimes.problems())
        if problems:
            raise ValueError(problems)
        return self

    @property
    def lifetimes(self) -> Lifetimes:
        """How long certificates live, and how early and how slowly they are replaced."""
        return Lifetimes(
            self.ca_lifetime,
            self.ca_lead,
            self.certificate_lifetime,
            self.certificate_lead,
            self.certificate_overlap,
            self.certificate_warning,
        )

    @property
    def hostess_image(self) -> str:
        """The node agent's image, from the seed's three variables."""
        return f"{self.hostess_docker_registry}/{self.hostess_docker_image}:{self.hostess_docker_tag}"

    @property
    def hostess_is_original(self) -> bool:
        """Whether the node agent is the seed's own, which says nothing about its node and cleans nothing."""
        return f"/{self.hostess_docker_image}".endswith(f"/{ORIGINAL_HOSTESS}")
