"""Define the settings of the controller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from pydantic import model_validator

from common.settings import MAX_WAIT, Domains, LogLevel, Port, Settings
from common.settings_table import setting
from controller.model.certificate_lifetimes import DEFAULT, Lifetimes
from controller.setting_formats import (
    Duration,
    Image,
    ImagePart,
    ImageTag,
    Namespace,
    NodePath,
    NodeRequirements,
    ObjectName,
    ObjectNames,
    repository_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

ORIGINAL_HOSTESS: Final = "ocadotechnology/mirror-hostess"
# Variables of mirror-operator that have no effect here, with what to use instead.
FORMER: Final = {
    "ADDRESSING_SCHEME": "write http:// or https:// into spec.upstreamUrl of each mirror",
    "IMAGESWAP_NAMESPACE": "remove it; nodes use the mirror without changed image names",
    "DOCKER_REGISTRY": "set CACHE_IMAGE and HOSTESS_IMAGE",
    "SS_DS_LABELS": "set spec.cache.labels and spec.agent.labels of each mirror",
    "SS_DS_TEMPLATE_LABELS": "set spec.cache.labels and spec.agent.labels of each mirror",
    "SS_DS_TOLERATIONS": "set spec.cache.tolerations of each mirror; agents tolerate all taints",
}


def former_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of mirror-operator that are set, with what to use instead."""
    return {name: advice for name, advice in FORMER.items() if environment.get(name, "").strip()}


class ControllerSettings(Settings):
    """Settings of the controller. The seed's variables keep their names and defaults."""

    namespace: Namespace = setting(
        "NAMESPACE",
        "default",
        "name of a namespace",
        "Namespace of everything that belongs to mirrors. `deploy/` sets the controller's own namespace.",
    )
    docker_certificate_secret: ObjectName | None = setting(
        "DOCKER_CERTIFICATE_SECRET",
        None,
        "name of a Secret",
        "Secret with `tls.crt`, `tls.key` and optionally `ca.crt`: the serving certificate of all caches."
        " By default the controller issues one for each mirror.",
    )
    seconds_between_streams: float = setting(
        "SECONDS_BETWEEN_STREAMS",
        30,
        f"seconds, above 0, at most {MAX_WAIT}",
        "Longest wait before a lost watch or a missing CRD is retried.",
        gt=0,
        le=MAX_WAIT,
    )
    hostess_full_image: Image | None = setting(
        "HOSTESS_IMAGE",
        None,
        "image, with a tag or digest",
        "Image of the node agent. It replaces the three variables `HOSTESS_DOCKER_...`. `deploy/` sets it.",
    )
    hostess_docker_registry: ImagePart = setting(
        "HOSTESS_DOCKER_REGISTRY", "docker.io", "host[:port]", "Registry of the node agent's image."
    )
    hostess_docker_image: ImagePart = setting(
        "HOSTESS_DOCKER_IMAGE",
        ORIGINAL_HOSTESS,
        "repository",
        "Repository of the node agent's image."
        " If its last part is `mirror-hostess`, it is the original agent, which only writes `/etc/hosts`.",
    )
    hostess_docker_tag: ImageTag = setting("HOSTESS_DOCKER_TAG", "1.1.0", "tag", "Tag of the node agent's image.")
    hostess_node_selector: NodeRequirements = setting(
        "HOSTESS_NODE_SELECTOR",
        (),
        "label selector, such as `a=b,c!=d,e in (f,g),!h`",
        "Linux nodes that run the agent; by default all. Virtual nodes are left out, unless the selector names their"
        " label: `eks.amazonaws.com/compute-type=fargate`, `type=virtual-kubelet`, `liqo.io/type=virtual-node`.",
    )
    # No default: the API server refuses pods that name a missing PriorityClass.
    hostess_priority_class: ObjectName | None = setting(
        "HOSTESS_PRIORITY_CLASS",
        None,
        "name of a PriorityClass",
        "PriorityClass of agents and caches, which must exist. `deploy/` sets `registrymirror-mirrors`, whose pods"
        " evict no others. A mirror can set other classes.",
    )
    containerd_certs_dir: NodePath = setting(
        "CONTAINERD_CERTS_DIR",
        "/etc/containerd/certs.d",
        "absolute path, at least three levels deep",
        "Folder in which the nodes' containerd finds registry configuration."
        " The agent mounts the whole folder above it. It cannot be below a path that the agent uses otherwise, such as"
        " `/etc/containers`.",
    )
    # An agent that crashed restarts, and a node reboots, within this time.
    node_cleanup_deadline: float = setting(
        "NODE_CLEANUP_DEADLINE",
        120,
        f"seconds, 0 to {MAX_WAIT}",
        "Time for the nodes to be cleaned after a mirror is deleted."
        " Then the mirror is removed without the remaining nodes.",
        ge=0,
        le=MAX_WAIT,
    )
    image_pull_secrets: ObjectNames = setting(
        "IMAGE_PULL_SECRETS",
        (),
        "names of Secrets, comma separated",
        "Secrets for pulling the images of caches and agents.",
    )
    ca_certificate_bundle: ObjectName | None = setting(
        "CA_CERTIFICATE_BUNDLE",
        None,
        "name of a ConfigMap",
        "ConfigMap with `ca-certificates.crt`: CAs that caches trust beside the system's CAs.",
    )
    cache_image: Image = setting(
        "CACHE_IMAGE",
        "registry.example.com/registry-mirror/cache:0.1.0",
        "image, with a tag or digest",
        "Image of the caches. `deploy/` sets it.",
    )
    count_repositories: bool = setting(
        "COUNT_REPOSITORIES",
        False,
        "`true` or `false`",
        "If true, caches count requests by repository. Each repository is one more time series.",
    )
    https_proxy: str = setting(
        "HTTPS_PROXY",
        "",
        "URL",
        "Proxy of the caches for `https` upstreams. The controller does not use it.",
    )
    http_proxy: str = setting("HTTP_PROXY", "", "URL", "The same for `http` upstreams.")
    no_proxy: str = setting("NO_PROXY", "", "hosts and CIDRs, comma separated", "Hosts that are reached without proxy.")
    # The reasons of these defaults are in controller/model/certificate_lifetimes.py.
    ca_lifetime: Duration = setting(
        "CA_LIFETIME", DEFAULT.ca, "duration", "Lifetime of a CA. Nodes must learn of each new CA."
    )
    ca_lead: Duration = setting(
        "CA_LEAD",
        DEFAULT.ca_lead,
        "duration",
        "Time before its end at which a CA is renewed: at least CERTIFICATE_LIFETIME plus CERTIFICATE_OVERLAP.",
    )
    certificate_lifetime: Duration = setting(
        "CERTIFICATE_LIFETIME", DEFAULT.certificate, "duration", "Lifetime of a serving certificate."
    )
    certificate_lead: Duration = setting(
        "CERTIFICATE_LEAD",
        DEFAULT.certificate_lead,
        "duration",
        "Time before its end at which a serving certificate is renewed. The controller may be down for that long.",
    )
    certificate_overlap: Duration = setting(
        "CERTIFICATE_OVERLAP",
        DEFAULT.overlap,
        "duration",
        "Time for which old and new CA are both trusted at each step of a rotation."
        " It must exceed the time in which a kubelet updates a mounted Secret.",
    )
    certificate_warning: Duration = setting(
        "CERTIFICATE_WARNING",
        DEFAULT.warning,
        "duration",
        "Time before its end at which a certificate causes a warning. It must be shorter than CERTIFICATE_LEAD.",
    )
    external_webhook_certificate: bool = setting(
        "EXTERNAL_WEBHOOK_CERTIFICATE",
        False,
        "`true` or `false`",
        "If true, another program provides the webhook's Secret and `caBundle`."
        " If that Secret has a `ca.crt`, a certificate that it has not signed does not replace a valid one.",
    )
    secret_opt_in: bool = setting(
        "SECRET_OPT_IN",
        False,
        "`true` or `false`",
        "If true, a Secret is used only for the upstreams in its annotation `k8s.osp.tech/upstreams`, comma separated.",
    )
    masquerade_domains: Domains = setting(
        "MASQUERADE_DOMAINS",
        (),
        "DNS names, comma separated",
        "Domains that may contain a masqueradeUrl; by default all that are not reserved."
        " Other mirrors become `InvalidSpec`. Set the same value for the webhook.",
    )
    metrics_port: Port = setting("METRICS_PORT", 8080, "port", "Port of `/healthz`, `/readyz` and `/metrics`.")
    log_level: LogLevel = setting("LOG_LEVEL", "INFO", "`DEBUG`, `INFO`, `WARNING` or `ERROR`", "Lowest level logged.")
    kubeconfig: str | None = setting(
        "KUBECONFIG",
        None,
        "path",
        "Kubeconfig for running outside of a cluster. By default the pod's service account is used.",
    )
    identity: str | None = setting(
        "POD_NAME", None, "text", "Name of this replica in the lease. By default the host name is used."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = "\n".join(self.lifetimes.problems())
        if problems:
            raise ValueError(problems)
        return self

    @property
    def lifetimes(self) -> Lifetimes:
        """Return the lifetimes and lead times of certificates."""
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
        """Return the node agent's image: HOSTESS_IMAGE, or the three variables of mirror-operator."""
        parts = f"{self.hostess_docker_registry}/{self.hostess_docker_image}:{self.hostess_docker_tag}"
        return self.hostess_full_image or parts

    @property
    def hostess_is_original(self) -> bool:
        """Return True if the image is the original agent, also under another registry or path."""
        return repository_of(self.hostess_image).rpartition("/")[2] == ORIGINAL_HOSTESS.rpartition("/")[2]
