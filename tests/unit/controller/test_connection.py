"""The token of a pod, which is read anew whatever the wall clock says."""

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
    """Seconds since boot, moved by hand."""

    now = 1000.0

    def read(self) -> float:
        """What the clock says."""
        return self.now


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(clock, "since_boot", moved.read)
    return moved


def reading(path: Path, boot: Clock) -> client.Configuration:
    """What a pod is configured with that has read its first token just now."""
    configuration = client.Configuration(api_key={"BearerToken": "Bearer first"})
    configuration.refresh_api_key_hook = PodToken(path, boot.now)  # type: ignore[assignment]
    return configuration


async def sent(configuration: client.Configuration) -> str | None:
    """What the client would send, by its own way to the hook."""
    return await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")


async def test_a_token_is_read_anew_once_a_minute(boot: Clock, tmp_path: Path) -> None:
    path = tmp_path / "token"
    configuration = reading(path, boot)
    path.write_text("second\n")
    boot.now += TOKEN_INTERVAL - 1
    assert await sent(configuration) == "Bearer first"
    boot.now += 1
    assert await sent(configuration) == "Bearer second"
    path.write_text("third")
    assert await sent(configuration) == "Bearer second"
    boot.now += TOKEN_INTERVAL
    assert await sent(configuration) == "Bearer third"


async def test_a_token_that_cannot_be_read_is_said_and_asked_for_again(boot: Clock, tmp_path: Path) -> None:
    path = tmp_path / "token"
    configuration = reading(path, boot)
    boot.now += TOKEN_INTERVAL
    with pytest.raises(OSError, match="token"):
        await sent(configuration)
    path.write_text("")
    with pytest.raises(ConfigException, match="is empty"):
        await sent(configuration)
    path.write_text("second")
    assert await sent(configuration) == "Bearer second"
