"""Read the controller's settings."""

from __future__ import annotations

from datetime import timedelta

import pytest

from common.settings import SettingsError, read
from common.version import VERSION
from controller.model.certificate_lifetimes import DEFAULT, Lifetimes
from controller.settings import FORMER, ControllerSettings, former_variables
from tests.support.controller import settings


def test_defaults_equal_the_seed() -> None:
    found = settings()
    assert found.namespace == "default"
    assert found.docker_certificate_secret is None
    assert found.seconds_between_streams == 30
    assert found.hostess_image == "docker.io/ocadotechnology/mirror-hostess:1.1.0"
    assert found.image_pull_secrets == ()
    assert found.ca_certificate_bundle is None
    assert found.cache_image == f"registry.example.com/registry-mirror/cache:{VERSION}"
    assert (found.https_proxy, found.http_proxy, found.no_proxy) == ("", "", "")
    assert (found.metrics_port, found.log_level, found.kubeconfig) == (8080, "INFO", None)
    assert found.containerd_certs_dir == "/etc/containerd/certs.d"
    assert (found.hostess_node_selector, found.masquerade_domains) == ((), ())


def test_empty_variable_counts_as_unset() -> None:
    names = ("NAMESPACE", "DOCKER_CERTIFICATE_SECRET", "IMAGE_PULL_SECRETS", "METRICS_PORT", "KUBECONFIG")
    assert settings(**dict.fromkeys(names, " ")) == settings()


def test_agent_image_has_three_variables() -> None:
    found = settings(
        HOSTESS_DOCKER_REGISTRY="registry.example:5000/team",
        HOSTESS_DOCKER_IMAGE="hostess",
        HOSTESS_DOCKER_TAG="v2",
    )
    assert found.hostess_image == "registry.example:5000/team/hostess:v2"


@pytest.mark.parametrize("end", ["", ":v2", "@sha256:" + "a" * 64, ":v2@sha256:" + "a" * 64])
def test_agent_image_is_one_value(end: str) -> None:
    image = f"registry.example:5000/team/hostess{end}"
    found = settings(HOSTESS_IMAGE=image, HOSTESS_DOCKER_TAG="v1", CACHE_IMAGE=image)
    assert (found.hostess_image, found.cache_image) == (image, image)
    assert not found.hostess_is_original
    assert settings(HOSTESS_IMAGE=f"docker.io:443/ocadotechnology/mirror-hostess{end}").hostess_is_original


@pytest.mark.parametrize(
    ("image", "original"),
    [
        ("ocadotechnology/mirror-hostess", True),
        ("proxied/ocadotechnology/mirror-hostess", True),
        ("registry-mirror/hostess", False),
        ("mirror-hostess", True),
        ("platform/base/mirror-hostess", True),
        ("ocadotechnology/our-mirror-hostess", False),
        ("ocadotechnology/mirror-hostess/ours", False),
    ],
)
def test_original_agent_is_recognized(image: str, *, original: bool) -> None:
    assert settings(HOSTESS_DOCKER_IMAGE=image).hostess_is_original is original


@pytest.mark.parametrize(
    ("text", "secrets"), [("a", ("a",)), ("a,b.c", ("a", "b.c")), (" a , b ,", ("a", "b")), (",", ())]
)
def test_pull_secrets_are_comma_separated(text: str, secrets: tuple[str, ...]) -> None:
    assert settings(IMAGE_PULL_SECRETS=text).image_pull_secrets == secrets


def test_node_selector_is_comma_separated() -> None:
    found = settings(HOSTESS_NODE_SELECTOR="type=real, example.com/pool=cache,empty=,")
    assert [(each.key, each.operator, each.values) for each in found.hostess_node_selector] == [
        ("type", "In", ["real"]),
        ("example.com/pool", "In", ["cache"]),
        ("empty", "In", [""]),
    ]


def test_node_selector_has_syntax_of_kubernetes() -> None:
    found = settings(HOSTESS_NODE_SELECTOR="a==b,c!=d, e in (f,g) ,h notin (i),j,!k,l>1")
    assert [(each.key, each.operator, each.values) for each in found.hostess_node_selector] == [
        ("a", "In", ["b"]),
        ("c", "NotIn", ["d"]),
        ("e", "In", ["f", "g"]),
        ("h", "NotIn", ["i"]),
        ("j", "Exists", None),
        ("k", "DoesNotExist", None),
        ("l", "Gt", ["1"]),
    ]


def test_domains_are_read_as_by_webhook() -> None:
    """Otherwise the controller rejects admitted mirrors."""
    assert settings(MASQUERADE_DOMAINS="*.Example.com,.internal").masquerade_domains == ("example.com", "internal")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NAMESPACE", "Not A Label"),
        ("NAMESPACE", "x" * 64),
        ("DOCKER_CERTIFICATE_SECRET", "no/name"),
        ("CA_CERTIFICATE_BUNDLE", "UPPER"),
        ("IMAGE_PULL_SECRETS", "a,B"),
        *(("SECONDS_BETWEEN_STREAMS", value) for value in ("0", "-1", "soon", "nan", "inf", "3601")),
        *(("METRICS_PORT", value) for value in ("0", "65536", "http", "80.5")),
        ("LOG_LEVEL", "LOUD"),
        *(("CONTAINERD_CERTS_DIR", value) for value in ("relative", "/a/b/../c", "/a/b/c/", "//a/b/c")),
        # The folder above is mounted
        *(("CONTAINERD_CERTS_DIR", value) for value in ("/", "/certs.d", "/etc/certs.d")),
        *(("NODE_CLEANUP_DEADLINE", value) for value in ("-1", "2m", "3601")),
        # The default config_path of containerd 2.2
        ("CONTAINERD_CERTS_DIR", "/etc/containerd/certs.d:/etc/docker/certs.d"),
        *(("HOSTESS_NODE_SELECTOR", value) for value in ("a b", "=x", "a b=c", "a=b c", "a=" + "x" * 64)),
        *(
            ("HOSTESS_NODE_SELECTOR", value)
            for value in ("a in ()", "a in b", "!a=b", "a>b", "a in (b", "a,b)", "!", "a/=b")
        ),
        ("HOSTESS_PRIORITY_CLASS", "Not A Name"),
        *(
            ("CACHE_IMAGE", value)
            for value in ("two words", "/registry", "registry/", "a//b", "a/B", "a:", "a@sha256:0")
        ),
        *(("HOSTESS_IMAGE", value) for value in ("a:b:c", "a/b:" + "x" * 129, "a@sha512:" + "0" * 64)),
        ("HOSTESS_DOCKER_REGISTRY", "docker.io/"),
        *(("HOSTESS_DOCKER_TAG", value) for value in ("1 2", "a/b", "x" * 129)),
        ("MASQUERADE_DOMAINS", "not a domain"),
        *(("CA_LIFETIME", value) for value in ("10y", "3650d", "-1h", "7", "9999999h")),
        *(("CERTIFICATE_OVERLAP", value) for value in ("15", "15min")),
        ("EXTERNAL_WEBHOOK_CERTIFICATE", "perhaps"),
    ],
)
def test_wrong_value_names_its_variable(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(**{variable: value})
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{variable}=")
    assert line.partition(": ")[2]


def test_lifetimes_are_durations() -> None:
    found = settings(
        CA_LIFETIME="1h30m",
        CA_LEAD="1h",
        CERTIFICATE_LIFETIME="30m",
        CERTIFICATE_LEAD="10m",
        CERTIFICATE_OVERLAP="1500ms",
        CERTIFICATE_WARNING="0s",
    )
    seconds = (5400, 3600, 1800, 600, 1.5, 0)
    assert found.lifetimes == Lifetimes(*(timedelta(seconds=each) for each in seconds))
    assert settings().lifetimes == DEFAULT


def test_inconsistent_lifetimes_are_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        settings(CA_LEAD="90000h", CERTIFICATE_LEAD="9000h")
    assert [line.partition(" must be ")[0] for line in str(caught.value).splitlines()] == [
        "CA_LEAD",
        "CERTIFICATE_LEAD",
    ]


def test_all_mistakes_are_reported() -> None:
    wrong = {"NAMESPACE": "A", "METRICS_PORT": "x", "LOG_LEVEL": "LOUD", "SECONDS_BETWEEN_STREAMS": "-1"}
    with pytest.raises(SettingsError) as caught:
        settings(**wrong)
    assert {line.partition("=")[0] for line in str(caught.value).splitlines()} == set(wrong)


def test_other_variables_are_ignored() -> None:
    found = read(ControllerSettings, {"PATH": "/bin", "http_proxy": "http://shell:1", "namespace": "X Y"})
    assert found == settings()


def test_variables_of_mirror_operator_are_named() -> None:
    environment = {"SS_DS_LABELS": "a=b", "ADDRESSING_SCHEME": " ", "NAMESPACE": "default"}
    assert former_variables(environment) == {"SS_DS_LABELS": FORMER["SS_DS_LABELS"]}
    assert not FORMER.keys() & {field.alias for field in ControllerSettings.model_fields.values()}
