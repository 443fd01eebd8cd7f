"""Test the refresh of the pod's token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kubernetes.aio import client
from kubernetes.aio.config import ConfigException

from controller import clock
from controller.kubeclient.config import TOKEN_INTERVAL, PodToken

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """Count seconds since boot, as the test sets them."""

    now = 1000.0


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> Clock:
    boot = Clock()
    monkeypatch.setattr(clock, "since_boot", lambda: boot.now)
    return boot


def configured(path: Path, boot: Clock) -> client.Configuration:
    """Return the configuration of a pod that has just read its first token."""
    configuration = client.Configuration(api_key={"BearerToken": "Bearer first"})
    configuration.refresh_api_key_hook = PodToken(path, boot.now)  # type: ignore[assignment]
    return configuration


async def sent(configuration: client.Configuration) -> str | None:
    """Return the token that the client would send."""
    return await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")


async def test_token_is_read_once_a_minute(boot: Clock, tmp_path: Path) -> None:
    path = tmp_path / "token"
    configuration = configured(path, boot)
    path.write_text("second\n")
    boot.now += TOKEN_INTERVAL - 1
    assert await sent(configuration) == "Bearer first"
    boot.now += 1
    assert await sent(configuration) == "Bearer second"
    path.write_text("third")
    assert await sent(configuration) == "Bearer second"
    boot.now += TOKEN_INTERVAL
    assert await sent(configuration) == "Bearer third"


async def test_unreadable_token_raises_and_is_retried(boot: Clock, tmp_path: Path) -> None:
    path = tmp_path / "token"
    configuration = configured(path, boot)
    boot.now += TOKEN_INTERVAL
    with pytest.raises(OSError, match="token"):
        await sent(configuration)
    path.write_text("")
    with pytest.raises(ConfigException, match="is empty"):
        await sent(configuration)
    path.write_text("second")
    assert await sent(configuration) == "Bearer second"
