"""Check that settings report all errors, one per line, without secrets."""

from __future__ import annotations

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, Field, model_validator

from common import settings
from common.settings import Domains, LogLevel, Names, Port, Settings, SettingsError, dns_label, object_name
from tests.support import strategies

CANARY = "tweety-hunter2"


class Example(Settings):
    """Settings with one field of each type."""

    namespace: Annotated[str, AfterValidator(dns_label)] = Field("default", alias="NAMESPACE")
    certificate: str = Field(alias="TLS_CERT_FILE")
    bundle: Annotated[str, AfterValidator(object_name)] | None = Field(None, alias="BUNDLE")
    port: Port = Field(8443, alias="PORT")
    level: LogLevel = Field("INFO", alias="LOG_LEVEL")
    names: Names = Field((), alias="NAMES")
    domains: Domains = Field((), alias="DOMAINS")
    http_proxy: str = Field("", alias="HTTP_PROXY")

    @model_validator(mode="after")
    def _together(self) -> Example:
        if self.port == 80 and self.http_proxy:
            raise ValueError("PORT=80 and HTTP_PROXY exclude each other")
        return self


def _read(**environment: str) -> Example:
    return settings.read(Example, {"TLS_CERT_FILE": "/tls.crt", **environment})


def _errors(**environment: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        settings.read(Example, environment)
    return str(caught.value).splitlines()


def test_unset_variable_has_default() -> None:
    assert _read() == Example.model_validate({"TLS_CERT_FILE": "/tls.crt"})


def test_variable_is_parsed() -> None:
    read = _read(
        PORT="80", LOG_LEVEL="debug", NAMES=" a, b ,,c", DOMAINS="Example.com,*.b.net,.c.org.", BUNDLE="x" * 64
    )
    assert (read.port, read.level, read.names, read.bundle) == (80, "DEBUG", ("a", "b", "c"), "x" * 64)
    assert read.domains == ("example.com", "b.net", "c.org")


@pytest.mark.parametrize("nothing", ["", " ", "\n"])
def test_empty_variable_counts_as_unset(nothing: str) -> None:
    assert _read(PORT=nothing, NAMESPACE=nothing, NAMES=nothing, BUNDLE=nothing, LOG_LEVEL=nothing) == _read()
    assert _errors(TLS_CERT_FILE=nothing) == ["TLS_CERT_FILE: is not set; it is required"]


def test_field_names_are_not_variables() -> None:
    """`http_proxy` is set on many machines."""
    assert _read(http_proxy="http://other", port="1", namespace="other", level="junk") == _read()


def test_all_errors_are_reported_together() -> None:
    assert _errors(NAMESPACE="A.b", PORT="0", LOG_LEVEL="loud", BUNDLE="a b", DOMAINS="a.net, b c") == [
        'NAMESPACE="A.b": expected a DNS label: a-z, 0-9 and inner hyphens, at most 63 characters',
        "TLS_CERT_FILE: is not set; it is required",
        'BUNDLE="a b": expected the name of an object: a-z, 0-9, hyphens and dots, at most 253 characters',
        'PORT="0": Input should be greater than or equal to 1',
        "LOG_LEVEL=\"loud\": Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'",
        'DOMAINS="a.net, b c": expected DNS names separated by commas',
    ]


@pytest.mark.parametrize("value", ["80a", "8443.5", "65536", "-1", "1e3", "٣"])
def test_invalid_port_is_one_line(value: str) -> None:
    (line,) = _errors(PORT=value, TLS_CERT_FILE="/tls.crt")
    assert line.startswith("PORT=")


def test_combined_rule_hides_environment() -> None:
    lines = _errors(TLS_CERT_FILE="/tls.crt", PORT="80", HTTP_PROXY=f"http://bob:{CANARY}@proxy", OTHER=CANARY)
    assert lines == ["PORT=80 and HTTP_PROXY exclude each other"]


@given(
    st.dictionaries(
        st.sampled_from(["NAMESPACE", "BUNDLE", "PORT", "LOG_LEVEL", "NAMES", "DOMAINS", "X"]), strategies.texts()
    )
)
def test_any_environment_parses_or_reports_errors(environment: dict[str, str]) -> None:
    """The text before an @ is hidden, as in the URL of a proxy."""
    given_secrets = {name: f"http://bob:{CANARY}{value}@{value}" for name, value in environment.items()}
    for values in (environment, given_secrets):
        error = _error_of({"TLS_CERT_FILE": "/tls.crt", **values})
        if error:
            assert all(line.partition("=")[0] in values for line in str(error).splitlines())
            assert CANARY not in str(error)
            assert error.__suppress_context__  # pydantic's own error would print the values


def _error_of(environment: dict[str, str]) -> SettingsError | None:
    try:
        settings.read(Example, environment)
    except SettingsError as error:
        return error
    return None
